"""Tests of the comparisons between methods: simultaneous intervals, tests, verdicts, and the table."""

import csv
import io

import numpy as np
import pytest
from scipy import stats
from test_report import RECIPE, a_record, a_run, a_store

from benchmark.report.records.entries import load_entries
from benchmark.report.records.predictions import Predictions
from benchmark.report.records.protocols import protocols
from benchmark.report.statistics.families import against, all_pairs
from benchmark.report.statistics.model import fit_pair
from benchmark.report.statistics.power import detectable
from benchmark.report.tables.accuracy import accuracy_table
from benchmark.report.tables.comparison_table import comparison_table, heads
from benchmark.report.tables.comparisons import (
    baseline_contrasts,
    compare_rows,
    declared_rows,
    detectable_sentence,
    with_declared,
)
from benchmark.report.tables.text_formats import to_csv, to_markdown

VALUES = {"ce": (0.69, 0.68, 0.70), "kd": (0.701, 0.703, 0.705), "sp": (0.702, 0.701, 0.706), "hint": (0.71,)}


def pair_store(root, values=VALUES, **changes):
    """A store with one pair; values: method -> top-1 by seed."""
    runs = [
        (a_run(method, seed, **({"teacher": None} if method == "ce" else {}), **changes), top1)
        for method, own in values.items()
        for seed, top1 in enumerate(own)
    ]
    return a_store(root, [a_record(run, top1) for run, top1 in runs])


def only_protocol(store):
    """The only protocol of a store."""
    (protocol,) = protocols(load_entries(store)[0])
    return protocol


def comparison_of(store, method, against, declared="kd"):
    """The comparison of a method with a baseline."""
    protocol = only_protocol(store)
    found = with_declared(protocol, compare_rows(protocol, Predictions(store).correct), declared)
    (one,) = [each for each in found if (each.cell.row.method, each.baseline.row.method) == (method, against)]
    return one


def write_predictions(store, run, **arrays):
    """Write a run's file of predictions."""
    np.savez(store.predictions(run.id), **arrays)


# ---- numbers
def test_every_row_is_compared_with_every_other(tmp_path):
    found = compare_rows(only_protocol(pair_store(tmp_path)))
    pairs = {(one.cell.row.method, one.baseline.row.method) for one in found}
    assert pairs == {(a, b) for a in VALUES for b in VALUES if a != b} and len(found) == 12


def test_an_interval_is_simultaneous_over_the_rows_compared_with_the_baseline(tmp_path):
    one = comparison_of(pair_store(tmp_path), "kd", "ce")
    column = {method: dict(enumerate(values)) for method, values in VALUES.items()}
    expected = against(fit_pair(column), "ce")["kd"]
    each = [a - b for a, b in zip(VALUES["kd"], VALUES["ce"], strict=True)]
    assert (one.contrast.low, one.contrast.high) == pytest.approx((expected.low, expected.high))
    assert one.paired.mean == pytest.approx(np.mean(each)) and one.contrast.difference == pytest.approx(np.mean(each))
    low, high = stats.t.interval(0.95, df=one.contrast.degrees, loc=np.mean(each), scale=one.contrast.error)
    assert one.contrast.low < low and one.contrast.high > high  # wider than for one comparison alone
    assert len(one.records.split()) == 6


def test_verdicts_follow_the_simultaneous_interval(tmp_path):
    store = pair_store(tmp_path, VALUES | {"lp": (0.5, 0.51, 0.505)})
    verdicts = {method: comparison_of(store, method, "kd").verdict for method in ("sp", "lp", "hint")}
    assert verdicts == {"sp": "cannot be told", "lp": "worse", "hint": "one run"}
    assert comparison_of(store, "kd", "lp").verdict == "better"


def test_the_named_baseline_and_the_plain_student_have_dunnetts_contrasts_and_all_others_tukeys(tmp_path):
    store = pair_store(tmp_path, VALUES | {"lp": (0.69, 0.70, 0.695)})
    protocol = only_protocol(store)
    assert [row.label for row in declared_rows(protocol)] == ["kd", "student (ce)"]
    assert [row.label for row in declared_rows(protocol, "sp")] == ["sp", "student (ce)"]
    assert [row.label for row in declared_rows(protocol, "nobody")] == ["student (ce)"]
    model = protocol.models[protocol.pairs[0]]
    for declared in ("kd", "sp"):
        for one in with_declared(protocol, compare_rows(protocol), declared):
            row, base = one.cell.row, one.baseline.row
            named = base.method in (declared, "ce")
            assert one.contrast == (against(model, base)[row] if named else all_pairs(model)[row, base])
            assert (one.contrast.source, one.all_pairs_p) == (
                "Dunnett" if named else "Tukey",
                all_pairs(model)[row, base].p,
            )


def test_a_row_with_one_run_has_interval_and_p_and_no_verdict_whichever_side_it_is_on(tmp_path):
    store = pair_store(tmp_path, VALUES | {"hint": (0.9,)})
    for method, base in (("hint", "kd"), ("hint", "ce"), ("hint", "sp"), ("sp", "hint"), ("ce", "hint")):
        one = comparison_of(store, method, base)
        assert one.contrast.p < 0.001 and one.contrast.low * one.contrast.high > 0 and one.verdict == "one run"
    table = comparison_table(only_protocol(store), compare_rows(only_protocol(store)))
    verdicts = {line.cells[-1].text for line in table.lines if "hint" in (line.label, line.cells[0].text)}
    assert verdicts == {"one run"} and "A row with one run has an interval" in table.caption
    cells = {line.label: line.cells[0] for line in accuracy_table(only_protocol(store)).lines}
    assert not cells["hint"].bold and not cells["hint"].mark and cells["kd"].bold


def test_a_pair_with_one_seed_has_differences_and_no_verdict(tmp_path):
    one = comparison_of(pair_store(tmp_path, {"kd": (0.7,), "sp": (0.71,)}), "sp", "kd")
    assert (one.contrast.difference, one.contrast.low, one.verdict) == (pytest.approx(0.01), None, "n too small")


SIX = {"kd": (0.700, 0.702, 0.701, 0.703, 0.699, 0.704), "sp": (0.711, 0.712, 0.713, 0.711, 0.710, 0.716)}


def test_sign_flips_are_shown_only_where_n_allows_them_to_reach_five_percent(tmp_path):
    shown, hidden = pair_store(tmp_path / "six", SIX), pair_store(tmp_path / "three")
    one = comparison_of(shown, "sp", "kd")
    assert one.paired.sign_flip == one.holm == 2 / 64
    table = comparison_table(only_protocol(shown), compare_rows(only_protocol(shown)))
    assert "sign-flip p" in table.heads and "Holm p" in table.heads and "Sign-flip" in table.caption
    assert comparison_of(hidden, "kd", "ce").paired.sign_flip is None
    table = comparison_table(only_protocol(hidden), compare_rows(only_protocol(hidden)))
    assert not {"sign-flip p", "Holm p"} & set(table.heads) and "ign-flip" not in table.caption


def test_holm_p_is_left_out_where_six_seeds_are_too_few_for_the_number_of_rows(tmp_path):
    store = pair_store(tmp_path, SIX | {"hint": tuple(value - 0.01 for value in SIX["kd"])})
    one = comparison_of(store, "sp", "kd")  # 2 x 2 / 64 is above 0.05
    assert (one.paired.sign_flip, one.holm) == (2 / 64, None)


def test_rows_without_a_seed_in_common_are_listed_without_a_difference(tmp_path):
    store = a_store(tmp_path, [a_record(a_run("kd", 0), 0.7), a_record(a_run("sp", 1), 0.8)])
    one = comparison_of(store, "sp", "kd")
    assert (one.contrast, one.paired, one.verdict) == (None, None, "n too small")
    assert "no seed in common" in to_markdown(comparison_table(only_protocol(store), [one]))


def test_rows_that_share_no_seed_are_compared_through_a_third_one(tmp_path):
    values = {"kd": (0.70, 0.71, 0.69, 0.72), "sp": (0.75, 0.76)}
    records = [a_record(a_run(method, seed), top1) for method, own in values.items() for seed, top1 in enumerate(own)]
    records += [a_record(a_run("hint", seed), 0.65) for seed in (2, 3)]
    one = comparison_of(a_store(tmp_path, records), "sp", "hint")
    expected = (0.75 + 0.76 - 0.70 - 0.71) / 2 + (0.69 + 0.72 - 0.65 - 0.65) / 2
    assert one.contrast.difference == pytest.approx(expected) and one.paired is None


def test_differences_for_figures_are_keyed_by_row_and_pair(tmp_path):
    protocol = only_protocol(pair_store(tmp_path))
    rows = {row.method: row for row in protocol.rows}
    found = baseline_contrasts(protocol, rows["ce"])
    assert set(found) == {(rows[method], protocol.pairs[0]) for method in ("kd", "sp", "hint")}
    assert found[rows["kd"], protocol.pairs[0]] == comparison_of(pair_store(tmp_path), "kd", "ce").contrast


# ---- images
def write_correct(store, run, correct):
    """Write a run's file of predictions."""
    np.savez(store.predictions(run.id), top1=np.zeros(len(correct), np.uint8), right=np.array(correct, bool))


def test_single_seeds_are_compared_on_the_images_and_the_caption_calls_it_test_set_noise(tmp_path):
    store = pair_store(tmp_path, {"kd": (0.6,), "hint": (0.8,)})
    write_correct(store, a_run("kd"), [1, 1, 0, 0, 1])
    write_correct(store, a_run("hint"), [1, 1, 1, 1, 0])
    one = comparison_of(store, "hint", "kd")
    assert (one.images.first, one.images.second, one.images.p, one.images.block) == (2, 1, 1.0, 0)
    assert (one.paired.n, one.verdict) == (1, "n too small")
    text = to_markdown(comparison_table(only_protocol(store), [one]))
    assert "1.000 (2 : 1 images, seed 0)" in text and "noise of the test images only" in text


def test_predictions_of_another_attempt_are_not_taken_for_those_of_the_one_that_counts(tmp_path):
    store = pair_store(tmp_path, {"kd": (0.6, 0.6), "hint": (0.8, 0.8)})
    for method, correct in (("kd", [1, 1, 0, 0, 1]), ("hint", [1, 1, 1, 1, 0])):
        write_correct(store, a_run(method, 1), correct)
    write_correct(store, a_run("kd", 0), [1, 1, 0, 0, 0])  # 0.4, the record says 0.6
    write_correct(store, a_run("hint", 0), [1, 1, 1, 1, 0])
    assert comparison_of(store, "hint", "kd").images.block == 1


def test_prediction_files_without_the_correct_images_give_no_test_on_images_and_the_table_says_so(tmp_path):
    store = pair_store(tmp_path, {"kd": (0.7,), "hint": (1.0,)})
    write_predictions(store, a_run("kd"), top1=np.zeros(5, np.uint8))
    write_correct(store, a_run("hint"), [1] * 5)
    one = comparison_of(store, "hint", "kd")
    assert one.images is None and "– (not kept)" in to_markdown(comparison_table(only_protocol(store), [one]))


def test_a_damaged_file_of_predictions_gives_one_complaint(tmp_path):
    store = pair_store(tmp_path)
    store.predictions(a_run("kd").id).write_bytes(b"torn")
    predictions = Predictions(store)
    compare_rows(only_protocol(store), predictions.correct)
    assert len(predictions.complaints) == 1 and a_run("kd").id in predictions.complaints[0]


@pytest.mark.parametrize("name", ["top1", "right"])
@pytest.mark.parametrize(
    "odd", [np.zeros(0), np.array(1), np.ones((5, 1), bool), np.ones(5), np.array(["1"] * 5)], ids=repr
)
def test_predictions_that_are_not_a_whole_number_for_each_image_give_a_complaint_that_says_so(tmp_path, name, odd):
    store, run = pair_store(tmp_path, {"kd": (1.0,)}), a_run("kd")
    np.savez(store.predictions(run.id), **{"top1": np.zeros(5, np.uint8), "right": np.ones(5, bool), name: odd})
    predictions = Predictions(store)
    compare_rows(only_protocol(store), predictions.correct)
    (entry,) = (entry for entry in load_entries(store)[0] if entry.run.id == run.id)
    assert predictions.correct(entry) is None
    (complaint,) = predictions.complaints
    assert f"'{name}' is {odd.dtype} of shape {odd.shape}, not a whole number for each image" in complaint


def test_predictions_of_other_images_are_not_compared(tmp_path):
    store = pair_store(tmp_path, {"kd": (1.0,), "sp": (1.0,)})
    write_correct(store, a_run("kd"), [1] * 5)
    write_correct(store, a_run("sp"), [1] * 6)
    assert comparison_of(store, "sp", "kd").images is None


# ---- the table
def test_print_has_the_usual_baselines_and_page_and_csv_have_all(tmp_path):
    store = pair_store(tmp_path)
    protocol, found = only_protocol(store), compare_rows(only_protocol(store))
    table = comparison_table(protocol, found)
    assert {line.cells[0].text for line in table.for_print().lines} == {"student (ce)", "kd"}
    assert table.selector == ("against", ("kd", "student (ce)"))
    assert all(len(line.cells) == len(heads(False)) == len(table.heads) for line in table.lines)
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert len(lines) == 12 and {line["against"] for line in lines} == {"student (ce)", "kd", "sp", "hint"}
    assert comparison_table(protocol, found, "sp").selector == ("against", ("sp", "student (ce)"))
    assert len(table.lines) == 12


def test_the_table_says_what_each_line_is_by_and_the_caption_what_is_by_which(tmp_path):
    store = pair_store(tmp_path)
    table = comparison_table(only_protocol(store), compare_rows(only_protocol(store)))
    names = {(line.cells[0].text, line.cells[4].small_print) for line in table.lines}
    assert names == {("kd", ""), ("student (ce)", ""), ("sp", "Tukey"), ("hint", "Tukey")}
    assert "against kd or student (ce): all rows against that one (Dunnett)" in table.caption
    assert "against any other row: all pairs of rows (Tukey)" in table.caption


def test_where_variances_differ_other_baselines_have_holms_p_and_the_caption_says_so(tmp_path):
    wild = (0.3, 0.9, 0.5, 0.95, 0.2, 0.8)
    values = {"ce": (0.690, 0.691, 0.689, 0.6905, 0.6895, 0.6902)}
    values |= {m: tuple(v + i / 100 for v in values["ce"][i:] + values["ce"][:i]) for i, m in enumerate(("kd", "sp"))}
    values |= {"lp": wild, "hint": tuple(v + 0.05 for v in values["ce"][2:] + values["ce"][:2])}
    store = pair_store(tmp_path, values)
    table = comparison_table(only_protocol(store), compare_rows(only_protocol(store)))
    sources = {(line.cells[0].text, line.cells[4].small_print) for line in table.lines}
    assert {("kd", "paired t, Bonferroni"), ("sp", "paired t, Holm")} <= sources
    assert "Bonferroni’s for all pairs of rows, p and verdict Holm’s" in table.caption


def test_csv_is_in_percentage_points_and_names_the_records_of_both_sides(tmp_path):
    store = pair_store(tmp_path)
    table = comparison_table(only_protocol(store), compare_rows(only_protocol(store)))
    (line,) = [
        line
        for line in csv.DictReader(io.StringIO(to_csv(table)))
        if (line["row"], line["against"]) == ("hint", "student (ce)")
    ]
    found = against(fit_pair({method: dict(enumerate(own)) for method, own in VALUES.items()}), "ce")["hint"]
    numbers = [float(line[name]) for name in ("difference", "low", "high", "p", "error", "degrees")]
    points = [100 * found.difference, 100 * found.low, 100 * found.high]
    assert numbers == pytest.approx([*points, found.p, 100 * found.error, found.degrees], rel=1e-6)
    assert (line["n"], line["sign_flip_p"], line["source"]) == ("1", "", "Dunnett")
    runs = [a_run("hint"), *(a_run("ce", seed, teacher=None) for seed in range(3))]
    assert line["records"].split() == [f"{run.id}-1" for run in runs]


def test_the_caption_states_what_is_found_in_four_of_five_cases(tmp_path):
    text = comparison_table(only_protocol(pair_store(tmp_path)), []).caption
    assert "points between rows with 3 seeds is found in 80 % of studies" in text and "for this one teacher" in text
    single = pair_store(tmp_path / "single", {"kd": (0.7,), "sp": (0.71,)})
    assert "no difference can be told from chance" in comparison_table(only_protocol(single), []).caption
    assert detectable_sentence(only_protocol(single)) == ""


def test_the_detectable_difference_is_that_of_rows_with_all_their_seeds(tmp_path):
    values = VALUES | {"lp": (0.69, 0.70, 0.695)}
    full = pair_store(tmp_path / "full", {method: own for method, own in values.items() if len(own) == 3})
    first, other = (only_protocol(store) for store in (full, pair_store(tmp_path / "single", values)))
    found = [detectable(protocol.models[protocol.pairs[0]]) for protocol in (first, other)]
    model = other.models[other.pairs[0]]
    sd = model.residual.sd * np.sqrt(2 / 3)
    for each in found:
        assert (each.seeds, each.alone) == (3, pytest.approx(found[0].alone))
        assert 2.5 * sd < each.alone < each.family  # as for two rows with three seeds, not for one with a single run
    assert found[1].family > found[0].family  # one comparison more
    assert "A row with one run" not in detectable_sentence(first) and "A row with one run" in detectable_sentence(other)


def test_bold_is_the_best_mean_and_pairing_by_seed_tells_the_others_from_it(tmp_path):
    values = {"kd": (0.700, 0.720, 0.740), "sp": (0.695, 0.714, 0.736), "lp": (0.701, 0.719, 0.7385)}
    cells = {line.label: line.cells[0] for line in accuracy_table(only_protocol(pair_store(tmp_path, values))).lines}
    assert {label: (cell.bold, cell.mark) for label, cell in cells.items()} == {
        "teacher": (False, ""),
        "kd": (True, ""),
        "sp": (False, ""),
        "lp": (False, "≈"),
    }


def test_results_on_test_and_holdout_are_never_compared(tmp_path):
    runs = [a_run(method, judge=judge, recipe=RECIPE) for method in ("kd", "sp") for judge in ("test", "holdout")]
    store = a_store(tmp_path, map(a_record, runs))
    for protocol in protocols(load_entries(store)[0]):
        judges = {
            entry.run.judge for one in compare_rows(protocol) for entry in (*one.cell.scored, *one.baseline.scored)
        }
        assert judges == {dict(protocol.terms)["judge"]}
