"""Tests of the comparisons between methods: pairing by seed, tests, verdicts, and the table."""

import csv
import io
import math

import numpy as np
import pytest
from scipy import stats
from test_report import RECIPE, a_record, a_run, a_store

from benchmark.report.records.entries import load_entries
from benchmark.report.records.predictions import Predictions
from benchmark.report.records.protocols import protocols
from benchmark.report.statistics import holm
from benchmark.report.tables.accuracy import accuracy_table
from benchmark.report.tables.comparisons import HEADS, compare_rows, comparison_table, paired_differences
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


def comparison_of(store, method, against):
    """The comparison of a method with a baseline."""
    found = compare_rows(only_protocol(store), Predictions(store).correct)
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


def test_a_difference_is_that_of_runs_of_the_same_seed(tmp_path):
    one = comparison_of(pair_store(tmp_path), "kd", "ce")
    each = [a - b for a, b in zip(VALUES["kd"], VALUES["ce"], strict=True)]
    low, high = stats.t.interval(0.95, df=2, loc=np.mean(each), scale=np.std(each, ddof=1) / math.sqrt(3))
    assert (one.paired.mean, one.paired.low, one.paired.high) == pytest.approx((np.mean(each), low, high))
    assert one.paired.p == 0.25 and len(one.records.split()) == 6


def test_verdicts_follow_the_interval(tmp_path):
    store = pair_store(tmp_path, VALUES | {"lp": (0.5, 0.51, 0.505)})
    verdicts = {method: comparison_of(store, method, "kd").verdict for method in ("sp", "lp", "hint")}
    assert verdicts == {"sp": "cannot be told", "lp": "worse", "hint": "n too small"}
    assert comparison_of(store, "kd", "lp").verdict == "better"


def test_holm_covers_all_methods_compared_with_one_row_of_a_pair(tmp_path):
    store = pair_store(tmp_path, VALUES | {"lp": (0.5, 0.51, 0.505)})
    column = [comparison_of(store, method, "kd") for method in ("ce", "sp", "lp")]
    assert [one.holm for one in column] == holm([one.paired.p for one in column])
    assert comparison_of(store, "hint", "kd").holm is None


def test_rows_without_a_seed_in_common_are_listed_without_a_difference(tmp_path):
    store = a_store(tmp_path, [a_record(a_run("kd", 0), 0.7), a_record(a_run("sp", 1), 0.8)])
    one = comparison_of(store, "sp", "kd")
    assert (one.paired, one.verdict) == (None, "n too small")
    assert "no seed in common" in to_markdown(comparison_table(only_protocol(store), [one]))


def test_differences_for_figures_are_keyed_by_row_pair_and_baseline(tmp_path):
    protocol = only_protocol(pair_store(tmp_path))
    rows = {row.method: row for row in protocol.rows}
    found = paired_differences(protocol, rows["ce"])
    assert set(found) == {(rows[method], protocol.pairs[0], rows["ce"]) for method in ("kd", "sp", "hint")}
    assert found[rows["kd"], protocol.pairs[0], rows["ce"]] == comparison_of(pair_store(tmp_path), "kd", "ce").paired


# ---- images
def test_single_seeds_are_compared_on_the_images_and_the_caption_calls_it_test_set_noise(tmp_path):
    store = pair_store(tmp_path, {"kd": (0.7,), "hint": (0.71,)})
    kd, hint = np.array([1, 1, 0, 0, 1], bool), np.array([1, 1, 1, 1, 0], bool)
    write_predictions(store, a_run("kd"), top1=np.zeros(5, np.uint8), right=kd)
    write_predictions(store, a_run("hint"), top1=np.zeros(5, np.uint8), right=hint)
    one = comparison_of(store, "hint", "kd")
    assert (one.images.first, one.images.second, one.images.p) == (2, 1, 1.0)
    assert (one.paired.n, one.verdict) == (1, "n too small")
    text = to_markdown(comparison_table(only_protocol(store), [one]))
    assert "1.000 (2 : 1 images, seed 0)" in text and "noise of the test set, not about that of training" in text


def test_prediction_files_without_the_correct_images_give_no_test_on_images_and_the_table_says_so(tmp_path):
    store = pair_store(tmp_path, {"kd": (0.7,), "hint": (0.71,)})
    write_predictions(store, a_run("kd"), top1=np.zeros(5, np.uint8))
    write_predictions(store, a_run("hint"), top1=np.zeros(5, np.uint8), right=np.ones(5, bool))
    one = comparison_of(store, "hint", "kd")
    assert one.images is None and "– (not kept)" in to_markdown(comparison_table(only_protocol(store), [one]))


def test_a_damaged_file_of_predictions_gives_one_complaint(tmp_path):
    store = pair_store(tmp_path)
    store.predictions(a_run("kd").id).write_bytes(b"torn")
    predictions = Predictions(store)
    compare_rows(only_protocol(store), predictions.correct)
    assert len(predictions.complaints) == 1 and a_run("kd").id in predictions.complaints[0]


def test_predictions_of_other_images_are_not_compared(tmp_path):
    store = pair_store(tmp_path)
    write_predictions(store, a_run("kd"), right=np.ones(5, bool))
    write_predictions(store, a_run("sp"), right=np.ones(6, bool))
    assert comparison_of(store, "sp", "kd").images is None


# ---- the table
def test_print_has_the_usual_baselines_and_page_and_csv_have_all(tmp_path):
    store = pair_store(tmp_path)
    protocol, found = only_protocol(store), compare_rows(only_protocol(store))
    table = comparison_table(protocol, found)
    assert {line.cells[0].text for line in table.for_print().lines} == {"student (ce)", "kd"}
    assert table.selector == ("against", ("kd", "student (ce)"))
    assert all(len(line.cells) == len(HEADS) for line in table.lines)
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert len(lines) == 12 and {line["against"] for line in lines} == {"student (ce)", "kd", "sp", "hint"}
    assert comparison_table(protocol, found, "sp").selector == ("against", ("sp", "student (ce)"))
    assert len(table.lines) == 12


def test_csv_is_in_percentage_points_and_names_the_records_of_both_sides(tmp_path):
    store = pair_store(tmp_path)
    table = comparison_table(only_protocol(store), compare_rows(only_protocol(store)))
    (line,) = [
        line
        for line in csv.DictReader(io.StringIO(to_csv(table)))
        if (line["row"], line["against"]) == ("hint", "student (ce)")
    ]
    assert (line["n"], float(line["difference"]), line["low"], line["p"]) == ("1", pytest.approx(2), "", "")
    assert line["records"].split() == [f"{run.id}-1" for run in (a_run("hint"), a_run("ce", teacher=None))]


def test_the_caption_states_the_minimum_detectable_difference(tmp_path):
    text = comparison_table(only_protocol(pair_store(tmp_path)), []).caption
    assert "Minimum detectable difference" in text and "points with n = 3" in text
    single = pair_store(tmp_path / "single", {"kd": (0.7,), "sp": (0.71,)})
    assert "no difference can be told from chance" in comparison_table(only_protocol(single), []).caption


def test_bold_follows_the_paired_interval(tmp_path):
    values = {"kd": (0.700, 0.720, 0.740), "sp": (0.695, 0.714, 0.736)}
    shown = {
        line.label: line.cells[0].bold for line in accuracy_table(only_protocol(pair_store(tmp_path, values))).lines
    }
    assert shown == {"teacher": False, "kd": True, "sp": False}


def test_results_on_test_and_holdout_are_never_compared(tmp_path):
    runs = [a_run(method, judge=judge, recipe=RECIPE) for method in ("kd", "sp") for judge in ("test", "holdout")]
    store = a_store(tmp_path, map(a_record, runs))
    for protocol in protocols(load_entries(store)[0]):
        judges = {
            entry.run.judge for one in compare_rows(protocol) for entry in (*one.cell.scored, *one.baseline.scored)
        }
        assert judges == {dict(protocol.terms)["judge"]}
