"""Tests of the table of bf16 against fp32: which runs are matched, their differences, and the verdicts."""

import csv
import io
import math
import re

import numpy as np
import pytest
from scipy import stats
from test_report import RECIPE, a_record, a_run, a_store

from benchmark.report.build import build
from benchmark.report.records.entries import load_entries
from benchmark.report.records.protocols import protocols
from benchmark.report.statistics.families import against
from benchmark.report.statistics.model import fit_pair
from benchmark.report.tables.accuracy import accuracy_table
from benchmark.report.tables.latex import to_latex
from benchmark.report.tables.precision import HEADS, precision_tables
from benchmark.report.tables.text_formats import to_csv, to_markdown

KD = {"bf16": (0.7012, 0.7034, 0.7051), "fp32": (0.7020, 0.7025, 0.7049)}
SP = {"bf16": (0.7101, 0.7080, 0.7044), "fp32": (0.7043, 0.7031, 0.7012)}
CE = {"bf16": (0.6899, 0.6871, 0.6880), "fp32": (0.6881, 0.6890, 0.6877)}
TEACHER = a_run("ce", 0, "resnet56", None)


def precision_record(
    recipe_precision,
    actual_precision,
    top1=0.7,
    method="kd",
    seed=0,
    teacher=TEACHER,
    status="done",
    made=None,
    **changes,
):
    """The record of a run with the recipe's precision and the one it was actually trained in."""
    recipe = changes.pop("recipe", RECIPE).model_copy(update={"precision": recipe_precision})
    record = a_record(a_run(method, seed, teacher=teacher, recipe=recipe, **changes), top1, status)
    return record.model_copy(update={"provenance": record.provenance | {"precision": actual_precision} | (made or {})})


def records_in_both(method, values, **changes):
    """A method's records in both precisions, by seed; recipe "auto" was trained in bf16, "fp32" in fp32."""
    recipe_precision = {"bf16": "auto", "fp32": "fp32"}
    return [
        precision_record(recipe_precision[actual_precision], actual_precision, top1, method, seed, **changes)
        for actual_precision, own in values.items()
        for seed, top1 in enumerate(own)
    ]


def records_of_three_methods():
    """Records of three methods on one pair, one of them without a teacher."""
    return [*records_in_both("kd", KD), *records_in_both("sp", SP), *records_in_both("ce", CE, teacher=None)]


def tables_of(root, records):
    """Slug of a protocol -> its table."""
    entries, complaints = load_entries(a_store(root, records))
    assert not complaints
    return precision_tables(protocols(entries))


def lines_of(root, records):
    """Label of the row -> line of the CSV, of the only table."""
    (table,) = tables_of(root, records).values()
    return {line["row"]: line for line in csv.DictReader(io.StringIO(to_csv(table)))}


def interval_by_loops(pairs):
    """Mean, low and high of (bf16, fp32) differences in percentage points, by loops and scipy's quantile."""
    total, squares = 0.0, 0.0
    for bf16, fp32 in pairs:
        total += 100 * bf16 - 100 * fp32
    mean = total / len(pairs)
    for bf16, fp32 in pairs:
        squares += (100 * bf16 - 100 * fp32 - mean) ** 2
    error = math.sqrt(squares / (len(pairs) - 1)) / math.sqrt(len(pairs))
    return mean, mean - stats.t.ppf(0.975, len(pairs) - 1) * error, mean + stats.t.ppf(0.975, len(pairs) - 1) * error


def numbers(line, *words):
    """Values of some columns of a line of CSV."""
    return [float(line[word]) for word in words]


# ---- numbers
@pytest.mark.parametrize(("row", "values"), [("kd", KD), ("sp", SP), ("student (ce)", CE)])
def test_a_rows_difference_is_that_of_runs_of_the_same_seed(tmp_path, row, values):
    line = lines_of(tmp_path, records_of_three_methods())[row]
    assert numbers(line, "bf16_percent", "fp32_percent") == pytest.approx(
        [100 * sum(values[word]) / 3 for word in ("bf16", "fp32")]
    )
    found = numbers(line, "difference", "low", "high")
    assert found == pytest.approx(interval_by_loops(list(zip(values["bf16"], values["fp32"], strict=True))), abs=1e-6)
    interval = stats.ttest_rel(values["bf16"], values["fp32"]).confidence_interval(0.95)
    assert found[1:] == pytest.approx([100 * interval.low, 100 * interval.high], abs=1e-6)
    assert (line["n"], len(line["records"].split())) == ("3", 6)


def test_the_interval_of_the_mean_of_rows_is_over_seeds(tmp_path):
    line = lines_of(tmp_path, records_of_three_methods())["mean of 3 rows"]
    averaged = []
    for seed in range(3):
        sides = []
        for word in ("bf16", "fp32"):
            total = 0.0
            for values in (KD, SP, CE):
                total += values[word][seed]
            sides.append(total / 3)
        averaged.append(sides)
    assert numbers(line, "difference", "low", "high") == pytest.approx(interval_by_loops(averaged), abs=1e-6)
    every = [
        pair for values in (KD, SP, CE) for pair in zip(values["bf16"], values["fp32"], strict=True)
    ]  # nine differences, treated as independent
    assert numbers(line, "low", "high") != pytest.approx(interval_by_loops(every)[1:], abs=1e-3)
    assert (line["n"], line["method"], len(line["records"].split())) == ("3", "", 18)


def test_the_mean_of_rows_uses_the_seeds_that_all_rows_have(tmp_path):
    few = {word: own[:2] for word, own in SP.items()}
    lines = lines_of(tmp_path, [*records_in_both("kd", KD), *records_in_both("sp", few)])
    averaged = [[(KD[word][seed] + SP[word][seed]) / 2 for word in ("bf16", "fp32")] for seed in range(2)]
    assert [lines[row]["n"] for row in ("kd", "sp", "mean of 2 rows")] == ["3", "2", "2"]
    assert numbers(lines["mean of 2 rows"], "difference", "low", "high") == pytest.approx(interval_by_loops(averaged))


def test_rows_without_a_seed_in_common_have_no_mean(tmp_path):
    records = [
        precision_record(*word, 0.7, method, seed) for method, seed in (("kd", 0), ("sp", 1)) for word in PRECISIONS
    ]
    (table,) = tables_of(tmp_path, records).values()
    last = table.lines[-1]
    assert [cell.text for cell in last.cells] == [*"0––––––"] and last.cells[0].small_print == "no seed in common"


def test_a_single_row_is_not_repeated_as_a_mean(tmp_path):
    assert list(lines_of(tmp_path, records_in_both("kd", KD))) == ["kd"]


def test_a_row_minus_the_plain_student_shows_what_the_mean_of_rows_cancels(tmp_path):
    lines = lines_of(tmp_path, records_of_three_methods())
    line = lines["kd − student (ce)"]
    pairs = [
        (KD["bf16"][seed] - CE["bf16"][seed], KD["fp32"][seed] - CE["fp32"][seed]) for seed in range(3)
    ]  # the gain over the plain student in each precision
    assert numbers(line, "difference") == pytest.approx([interval_by_loops(pairs)[0]], abs=1e-6)
    gains = [100 * sum(side[i] for side in pairs) / 3 for i in range(2)]
    assert numbers(line, "bf16_percent", "fp32_percent") == pytest.approx(gains)
    assert (line["n"], len(line["records"].split())) == ("3", 12)
    (table,) = tables_of(tmp_path / "again", records_of_three_methods()).values()
    shown = next(line for line in table.lines if line.label == "kd − student (ce)")
    assert shown.cells[1].text == f"{gains[0]:+.2f}" and list(lines)[3:] == [
        "mean of 3 rows",
        "kd − student (ce)",
        "sp − student (ce)",
    ]


def gap_model(**columns):
    """(Effects against the first row, their standard error, degrees of freedom): gap = row + seed by normal equations.

    columns: row -> values in both precisions; gaps in points.
    """
    rows, seeds = len(columns), 3
    design, gaps = [], []
    for i, values in enumerate(columns.values()):
        for seed, (bf16, fp32) in enumerate(zip(values["bf16"], values["fp32"], strict=True)):
            design.append([1.0, *(float(i == k) for k in range(1, rows)), *(float(seed == k) for k in range(1, seeds))])
            gaps.append(100 * (bf16 - fp32))
    design, gaps = np.array(design), np.array(gaps)
    normal = np.linalg.inv(design.T @ design)
    found = normal @ design.T @ gaps
    degrees = len(gaps) - design.shape[1]
    sd = math.sqrt(float(((gaps - design @ found) ** 2).sum()) / degrees)
    return found[1:rows], sd * math.sqrt(normal[1, 1]), degrees


def test_what_a_precision_does_to_a_difference_has_dunnetts_interval_by_the_gaps_of_all_rows(tmp_path):
    lines = lines_of(tmp_path, records_of_three_methods())
    effects, error, degrees = gap_model(ce=CE, kd=KD, sp=SP)
    draws = stats.multivariate_t(shape=[[1, 0.5], [0.5, 1]], df=degrees, seed=1).rvs(200_000)
    limit = np.quantile(np.abs(draws).max(1), 0.95)  # of two differences to one row
    for row, effect in zip(("kd", "sp"), effects, strict=True):
        found = numbers(lines[f"{row} − student (ce)"], "difference", "low", "high")
        assert found == pytest.approx([effect, effect - limit * error, effect + limit * error], abs=0.01)
    assert degrees == 4


def test_of_precisions_without_effect_a_difference_is_called_beyond_zero_in_one_of_twenty_studies():
    generator, wrong, lone = np.random.default_rng(3), 0, 0
    for _ in range(150):
        gaps = generator.normal(0, 0.003, (6, 3)) + generator.normal(0, 0.002, 3)
        contrasts = against(fit_pair({i: dict(enumerate(row)) for i, row in enumerate(gaps)}), 0).values()
        wrong += any(contrast.low > 0 or contrast.high < 0 for contrast in contrasts)
        lone += any(stats.ttest_rel(row, gaps[0]).pvalue < 0.05 for row in gaps[1:])
    assert wrong / 150 < 0.09 and lone / 150 > 0.12, (wrong, lone)


def test_a_row_with_one_seed_in_both_precisions_has_an_interval_and_no_verdict(tmp_path):
    single = {word: own[:1] for word, own in KD.items()}
    records = [*records_in_both("kd", single), *records_in_both("sp", SP), *records_in_both("ce", CE, teacher=None)]
    line = lines_of(tmp_path, records)["kd − student (ce)"]
    assert (line["n"], line["interval_within"]) == ("1", "one run") and line["low"] and line["high"]


# ---- verdicts and caption
PRECISIONS = (("auto", "bf16"), ("fp32", "fp32"))


@pytest.mark.parametrize(
    ("differences", "mean", "interval"),
    [
        ((0.001, 0.0012, 0.0011), "met", "yes"),
        ((0.0, 0.009, 0.0), "met", "no"),
        ((-0.0051, -0.0052, -0.0053), "missed", "no"),
        ((0.005, 0.005, 0.005), "met", "yes"),
        ((0.0051,), "missed", "n too small"),
        ((-0.005,), "met", "n too small"),
    ],
)
def test_the_criterion_is_about_the_mean_and_the_interval_has_its_own_verdict(tmp_path, differences, mean, interval):
    values = {"bf16": [round(0.7 + each, 6) for each in differences], "fp32": [0.7] * len(differences)}
    line = lines_of(tmp_path, records_in_both("kd", values))["kd"]
    assert (line["mean_within"], line["interval_within"]) == (mean, interval)


def test_one_seed_has_a_difference_and_no_interval_and_the_caption_says_so(tmp_path):
    (table,) = tables_of(tmp_path, records_in_both("kd", {"bf16": (0.702,), "fp32": (0.701,)})).values()
    assert [cell.text for cell in table.lines[0].cells] == ["1", "70.20", "70.10", "+0.10", "–", "met", "n too small"]
    assert "none with n = 1" in table.caption
    line = next(csv.DictReader(io.StringIO(to_csv(table))))
    assert (line["sd"], line["low"], line["high"]) == ("", "", "")


def test_the_caption_states_the_criterion_and_how_rows_are_averaged(tmp_path):
    (table,) = tables_of(tmp_path, records_of_three_methods()).values()
    assert "Limit: 0.5 points either way" in table.caption
    assert "In the mean of rows opposite changes cancel" in table.caption
    assert "bf16 minus fp32 = row + seed is fitted to all rows" in table.caption and "(Dunnett" in table.caption
    assert "Not the same on both sides" not in table.caption


def test_the_caption_names_what_else_differs_between_the_precisions(tmp_path):
    records = [
        precision_record("auto", "bf16"),
        precision_record("fp32", "fp32", made={"device": "another device", "torch": "2.8.0"}),
    ]
    (table,) = tables_of(tmp_path, records).values()
    assert table.caption.endswith("Not the same on both sides everywhere, beside the precision: device, torch.")


# ---- matching of runs
OTHER = a_run("ce", 1, "resnet56", None)
UNMATCHED = {
    "the same precision picked twice": precision_record("fp32", "bf16"),
    "another teacher": precision_record("fp32", "fp32", teacher=OTHER),
    "the same teacher's recipe in another precision": precision_record(
        "fp32", "fp32", teacher=a_run("ce", 0, "resnet56", None, recipe=RECIPE.model_copy(update={"precision": "fp32"}))
    ),
    "another seed": precision_record("fp32", "fp32", seed=1),
    "another method": precision_record("fp32", "fp32", method="sp"),
    "other knobs": precision_record("fp32", "fp32", knobs={"alpha": 0.5}),
    "another student": precision_record("fp32", "fp32", student="resnet8"),
    "another data set": precision_record("fp32", "fp32", dataset="cifar10"),
    "another judge": precision_record("fp32", "fp32", judge="holdout"),
    "another rate": precision_record("fp32", "fp32", recipe=RECIPE.model_copy(update={"lr": 0.01})),
    "no precision recorded": precision_record("fp32", None),
    "an unknown precision": precision_record("fp32", "fp8"),
    "failed without a recorded precision": precision_record("fp32", None, status="failed"),
}


@pytest.mark.parametrize("unmatched", UNMATCHED.values(), ids=UNMATCHED)
def test_runs_that_differ_in_anything_else_are_not_paired(tmp_path, unmatched):
    assert tables_of(tmp_path, [precision_record("auto", "bf16"), unmatched]) == {}


def test_without_a_run_in_both_precisions_there_is_no_table(tmp_path):
    folder = build(a_store(tmp_path / "results", [precision_record("auto", "bf16")]), tmp_path / "out").parent
    assert not list((folder / "tables").glob("*precision*"))
    assert "bf16 %" not in (folder / "index.html").read_text()


def test_of_several_recipes_with_one_precision_auto_is_used(tmp_path):
    records = [
        precision_record("bf16", "bf16", 0.6),
        precision_record("auto", "bf16", 0.7),
        precision_record("fp32", "fp32", 0.71),
    ]
    line = lines_of(tmp_path, records)["kd"]
    assert float(line["difference"]) == pytest.approx(-1) and line["records"].split() == [r.name for r in records[1:]]


def test_of_several_recipes_with_one_precision_a_run_that_is_done_is_used(tmp_path):
    records = [
        precision_record("bf16", "bf16", 0.6),
        precision_record("auto", "bf16", status="failed"),
        precision_record("fp32", "fp32", 0.71),
    ]
    assert float(lines_of(tmp_path, records)["kd"]["difference"]) == pytest.approx(-11)


def test_seeds_of_several_recipes_are_combined_in_one_line(tmp_path):
    records = [precision_record("auto", "bf16", 0.70), precision_record("bf16", "bf16", 0.71, seed=1)]
    records += [precision_record("fp32", "fp32", 0.69, seed=0), precision_record("fp32", "fp32", 0.72, seed=1)]
    line = lines_of(tmp_path, records)["kd"]
    assert (line["n"], float(line["difference"])) == ("2", pytest.approx(0))


def test_the_recorded_precision_counts_even_if_auto_chose_fp32(tmp_path):
    line = lines_of(tmp_path, [precision_record("auto", "fp32", 0.70), precision_record("bf16", "bf16", 0.71)])["kd"]
    assert float(line["difference"]) == pytest.approx(1)


def test_a_plain_student_is_matched_where_nothing_else_was_trained_in_fp32(tmp_path):
    records = [precision_record("auto", "bf16"), *records_in_both("ce", CE, teacher=None)]
    (table,) = tables_of(tmp_path, records).values()
    assert [(line.label, line.group) for line in table.lines] == [("student (ce)", "resnet56-resnet20")]


def test_a_plain_student_is_matched_without_any_teacher(tmp_path):
    assert list(lines_of(tmp_path, records_in_both("ce", CE, teacher=None))) == ["student (ce)"]


def test_a_teacher_trained_in_both_precisions_is_not_a_row(tmp_path):
    twin = TEACHER.model_copy(update={"recipe": RECIPE.model_copy(update={"precision": "fp32"})})
    made = a_record(TEACHER).provenance | {"precision": "bf16"}
    records = [
        a_record(TEACHER, 0.74).model_copy(update={"provenance": made}),
        a_record(twin, 0.73),
        *records_in_both("kd", KD),
    ]
    assert list(lines_of(tmp_path, records)) == ["kd"]


def test_settings_of_one_method_are_separate_rows(tmp_path):
    low, high = {"alpha": 0.5, "temperature": 4.0}, {"alpha": 0.9, "temperature": 4.0}
    lines = lines_of(tmp_path, [*records_in_both("kd", KD, knobs=low), *records_in_both("kd", SP, knobs=high)])
    assert list(lines) == ["kd, alpha 0.5", "kd, alpha 0.9", "mean of 2 rows"]
    assert numbers(lines["kd, alpha 0.9"], "bf16_percent") == pytest.approx([100 * sum(SP["bf16"]) / 3])


def test_each_pair_has_its_own_mean(tmp_path):
    records = [*records_in_both("kd", KD), *records_in_both("sp", SP), *records_in_both("kd", CE, student="wrn_16_2")]
    (table,) = tables_of(tmp_path, records).values()
    assert [(line.group, line.label) for line in table.lines] == [
        ("resnet56-resnet20", "kd"),
        ("resnet56-resnet20", "sp"),
        ("resnet56-resnet20", "mean of 2 rows"),
        ("resnet56-wrn_16_2", "kd"),
    ]


def test_protocols_that_differ_in_more_than_precision_have_separate_tables(tmp_path):
    heavy = RECIPE.model_copy(update={"weight_decay": 0.001})
    found = tables_of(tmp_path, [*records_in_both("kd", KD), *records_in_both("kd", SP, recipe=heavy)])
    base = "Precision · quick · cifar100 · 6 epochs · batch 64 · judged on test"
    assert {table.title for table in found.values()} == {
        f"{base} · weight_decay {each}" for each in ("0.0005", "0.001")
    }


# ---- failures
def test_a_seed_that_failed_in_one_precision_is_left_out_and_named(tmp_path):
    records = records_in_both("kd", KD)
    records[1] = precision_record("auto", "bf16", seed=1, status="diverged")
    (table,) = tables_of(tmp_path, records).values()
    count = table.lines[0].cells[0]
    assert (count.text, count.small_print) == ("2", "seed 1 left out: bf16 diverged")
    line = next(csv.DictReader(io.StringIO(to_csv(table))))
    assert numbers(line, "difference") == pytest.approx([(-0.08 + 0.02) / 2])


def test_a_row_that_always_failed_in_one_precision_has_no_number_and_is_left_out_of_the_mean(tmp_path):
    failing = [
        precision_record("auto", "bf16", method="lp", status="diverged"),
        precision_record("fp32", "fp32", 0.7, "lp"),
    ]
    lines = lines_of(tmp_path, [*records_in_both("kd", KD), *records_in_both("sp", SP), *failing])
    assert (lines["lp"]["n"], lines["lp"]["difference"], lines["lp"]["mean_within"]) == ("0", "", "–")
    assert lines["mean of 2 rows"]["n"] == "3"


def test_runs_that_failed_in_both_precisions_give_no_table(tmp_path):
    records = [precision_record(*words, status="unfit") for words in PRECISIONS]
    assert tables_of(tmp_path, records) == {}


# ---- the report
def test_the_table_is_in_the_section_of_the_bf16_runs_and_in_three_text_formats(tmp_path):
    folder = build(a_store(tmp_path / "results", records_of_three_methods()), tmp_path / "out").parent
    base = "quick-6-epochs-precision"
    assert {path.name for path in (folder / "tables").glob("*-precision.*")} == {
        f"{base}.{s}" for s in ("md", "csv", "tex")
    }
    page = (folder / "index.html").read_text()
    section = page[page.index('<section id="quick-6-epochs">') :]
    section = section[: section.index("</section>")]
    assert f'id="{base}"' in section and page.count(f'id="{base}"') == 1
    text = re.sub(" +", " ", (folder / f"tables/{base}.md").read_text())
    assert text.startswith("### Precision · quick · cifar100 · 6 epochs · batch 64 · judged on test\n")
    assert "| pair | method | " + " | ".join(HEADS) + " |" in text
    assert "| resnet56-resnet20 | kd | 3 | 70.32 | 70.31 | +0.01 | −0.20 to +0.22 | met | yes |" in text
    assert r"mean of 3 rows & 3 & " in (folder / f"tables/{base}.tex").read_text()


def test_equal_records_give_equal_tables_whatever_the_order(tmp_path):
    records = [*records_of_three_methods(), precision_record("bf16", "bf16", 0.5)]
    one, other = tables_of(tmp_path / "a", records), tables_of(tmp_path / "b", records[::-1])
    texts = [[(slug, to_markdown(t), to_csv(t), to_latex(t)) for slug, t in found.items()] for found in (one, other)]
    assert texts[0] == texts[1]


# ---- the table of accuracy
def test_the_table_of_accuracy_names_the_rows_that_auto_computed_in_another_precision(tmp_path):
    usual = [precision_record("auto", "bf16", top1, "kd", seed) for seed, top1 in enumerate(KD["bf16"])]
    other = [precision_record("auto", "fp32", 0.7, "sp"), precision_record("auto", "fp32", 0.7, "ce", teacher=None)]
    (protocol,) = protocols(load_entries(a_store(tmp_path / "both", usual + other))[0])
    assert "Computed in fp32, not bf16: student (ce), sp." in accuracy_table(protocol).caption
    (protocol,) = protocols(load_entries(a_store(tmp_path / "one", usual))[0])
    assert "Computed in" not in accuracy_table(protocol).caption
