"""Tests of the statistics across pairs of networks, their table and the critical-difference diagram."""

import csv
import io
import re

import numpy as np
import pytest
from scipy import stats
from test_report import a_record, a_run, a_store

from benchmark.report.build import build
from benchmark.report.figures.drawing.colours import styles_of
from benchmark.report.figures.ranks import rank_figure
from benchmark.report.records.entries import load_entries
from benchmark.report.records.protocols import protocols
from benchmark.report.statistics.across import (
    RESAMPLES,
    SEED,
    cliques,
    interquartile_mean,
    mean_difference,
    probability_of_improvement,
    rank_rows,
)
from benchmark.report.tables.across import across_table, overview
from benchmark.report.tables.text_formats import to_csv, to_markdown

# Critical values of the two-tailed Nemenyi test at 5 %, for 2 to 10 rows: table 5a of Demsar (2006).
NEMENYI = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
PAIRS = (("resnet56", "resnet20"), ("resnet110", "resnet32"), ("wrn_40_2", "wrn_16_2"))
LEVELS = {"ce": 0.68, "kd": 0.70, "sp": 0.71, "hint": 0.69}


def records_of_pairs(pairs=PAIRS, levels=LEVELS, seeds=3):
    """Records of every method on every pair; the pairs differ by a point, the seeds by a tenth."""
    found = []
    for place, (teacher, student) in enumerate(pairs):
        for method, level in levels.items():
            for seed in range(seeds):
                own = {"teacher": None} if method == "ce" else {"teacher": teacher}
                wobble = ((7 * place + 3 * seed + len(method)) % 5) / 1000
                found.append(a_record(a_run(method, seed, student, **own), level + place / 100 + wobble))
    return found


def protocol_of(root, records):
    """The only protocol of these records."""
    (found,) = protocols(load_entries(a_store(root, records))[0])
    return found


def share_of_wins(row, other):
    """The mean over pairs of the share of pairings that the row wins, by loops; a tie is half a win."""
    shares = []
    for mine, theirs in zip(row, other, strict=True):
        won = 0.0
        for a in mine:
            for b in theirs:
                won += 1.0 if a > b else 0.5 if a == b else 0.0
        shares.append(won / (len(mine) * len(theirs)))
    return sum(shares) / len(shares)


# ---- statistics
@pytest.mark.parametrize("rows", range(2, 11))
def test_the_critical_difference_is_that_of_demsars_table(rows):
    found = rank_rows(np.random.default_rng(rows).normal(size=(14, rows)))
    assert found.critical_difference == pytest.approx(NEMENYI[rows - 2] * np.sqrt(rows * (rows + 1) / 84), abs=0.001)


def test_ranks_and_friedmans_test_are_those_of_loops_and_the_formula():
    means = np.random.default_rng(1).normal([0.70, 0.71, 0.70, 0.72], 0.008, (14, 4))
    ranks = [[1 + sum(other > value for other in row) for value in row] for row in means]
    averages = [sum(row[i] for row in ranks) / 14 for i in range(4)]
    statistic = 12 * 14 / (4 * 5) * (sum(average**2 for average in averages) - 4 * 25 / 4)
    found = rank_rows(means)
    assert found.averages == pytest.approx(averages)
    assert found.friedman_p == pytest.approx(stats.chi2.sf(statistic, 3))


def test_wins_count_ties_for_all_that_share_them():
    found = rank_rows(np.array([[0.7, 0.8, 0.8], [0.9, 0.1, 0.2]]))
    assert found.wins.tolist() == [1, 1, 1] and found.averages.tolist() == [2, 2.25, 1.75]
    assert rank_rows(np.array([[0.7, 0.8], [0.9, 0.1]])).friedman_p is None


def test_groups_join_rows_within_the_critical_difference_and_are_not_parts_of_each_other():
    assert cliques([1.0, 1.5, 2.2, 3.9], 1.3) == [(0, 1, 2)]
    assert cliques([3.9, 1.0, 2.0, 3.0], 1.3) == [(1, 2), (2, 3), (3, 0)]
    assert cliques([1.0, 4.0], 1.0) == []


def test_the_interquartile_mean_drops_the_lowest_and_highest_quarter():
    strata = [[0.01, 0.02, 0.90, 0.03, 0.01, 0.02], [-0.80, 0.04, 0.02, 0.00, 0.03, 0.01]]
    ordered = sorted(value for each in strata for value in each)
    estimate, low, high = interquartile_mean(strata)
    assert estimate == pytest.approx(sum(ordered[3:9]) / 6)
    assert low < estimate < high and interquartile_mean(strata) == (estimate, low, high)
    assert interquartile_mean([[0.1, 0.2], [0.3]]) is None and interquartile_mean([]) is None


def test_the_probability_of_improvement_is_that_of_loops():
    generator = np.random.default_rng(5)
    row = [np.round(generator.normal(0.702, 0.005, size), 3) for size in (5, 6, 7)]
    other = [np.round(generator.normal(0.700, 0.005, size), 3) for size in (7, 5, 5)]
    estimate, low, high = probability_of_improvement(row, other)
    assert estimate == pytest.approx(share_of_wins(row, other)) and 0 <= low <= estimate <= high <= 1
    assert probability_of_improvement(other, row)[0] == pytest.approx(1 - estimate)


def test_the_bootstrap_resamples_runs_within_each_pair():
    row = [[0.70, 0.71, 0.72, 0.705, 0.69], [0.80, 0.83, 0.84, 0.81, 0.82]]
    other = [[0.705, 0.700, 0.715, 0.70, 0.71], [0.81, 0.82, 0.80, 0.835, 0.79]]
    generator, draws = np.random.default_rng(0), []
    for _ in range(4000):
        samples = [[generator.choice(each, len(each)) for each in side] for side in (row, other)]
        draws.append(share_of_wins(*samples))
    _, low, high = probability_of_improvement(row, other)
    assert (low, high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.06)


def test_the_intervals_are_those_of_scipys_bootstrap_with_the_same_seed():
    row = [[0.70, 0.71, 0.72, 0.69, 0.70], [0.80, 0.83, 0.84, 0.81, 0.82, 0.80]]
    other = [[0.705, 0.70, 0.715, 0.71, 0.70, 0.69], [0.81, 0.82, 0.80, 0.83, 0.79]]
    options = {"n_resamples": RESAMPLES, "method": "percentile", "vectorized": False}
    for strata, statistic, found in (
        (row + other, lambda *each: share_of_wins(each[:2], each[2:]), probability_of_improvement(row, other)),
        (row, lambda *each: stats.trim_mean(np.concatenate(each), 0.25), interquartile_mean(row)),
    ):
        made = stats.bootstrap(strata, statistic, rng=np.random.default_rng(SEED), **options)
        assert found[1:] == pytest.approx(tuple(made.confidence_interval), abs=1e-14)


def test_with_fewer_than_five_runs_of_some_cell_there_is_a_value_and_no_bootstrap_interval():
    five, three = [0.70, 0.71, 0.72, 0.69, 0.70], [0.60, 0.61, 0.62]  # every run of one beats every run of the other
    assert probability_of_improvement([five, five], [five, three])[1:] == (None, None)
    assert probability_of_improvement([five], [three]) == (1, None, None)
    assert interquartile_mean([five, three[:2]])[1:] == (None, None)
    assert interquartile_mean([five, five])[1] is not None


def test_the_interval_of_a_mean_difference_is_scipys_t_interval_over_pairs_from_three_pairs_on():
    differences = [0.011, 0.004, 0.017, -0.002]
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    found = mean_difference(differences)
    assert found == pytest.approx((0.0075, expected.low, expected.high))
    assert mean_difference(differences[:2]) == (pytest.approx(0.0075), None, None)


@pytest.mark.parametrize("pairs", [3, 5, 13])
def test_the_interval_over_pairs_covers_the_mean_of_all_pairs_and_is_too_narrow_where_pairs_depend_on_each_other(pairs):
    generator = np.random.default_rng(pairs)
    own = 0.01 + generator.normal(0, 0.006, (4000, pairs)) + generator.normal(0, 0.003, (4000, pairs))  # pair and runs
    shared = own + generator.normal(0, 0.006, (4000, 1))  # what one network does to all pairs that have it
    covered = {}
    for name, studies in (("independent", own), ("shared", shared)):
        intervals = [mean_difference(study.tolist()) for study in studies]
        covered[name] = np.mean([low <= 0.01 <= high for _, low, high in intervals])
    assert covered["independent"] == pytest.approx(0.95, abs=0.012) and covered["shared"] < 0.92, covered


# ---- the table
def test_a_row_has_its_mean_over_pairs_and_its_difference_to_baseline_and_plain_student(tmp_path):
    protocol = protocol_of(tmp_path, records_of_pairs())
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(to_csv(across_table(protocol))))}
    means = {}
    for method in LEVELS:
        scores = [record.score["top1"] for record in records_of_pairs() if record.run["method"] == method]
        means[method] = 100 * sum(scores) / len(scores)
    assert set(lines) == {"student (ce)", "kd", "sp", "hint"}
    assert float(lines["sp"]["top1_percent"]) == pytest.approx(means["sp"])
    assert float(lines["sp"]["over_baseline"]) == pytest.approx(means["sp"] - means["kd"])
    assert float(lines["kd"]["over_plain"]) == pytest.approx(means["kd"] - means["ce"])
    assert (lines["sp"]["wins"], lines["sp"]["pairs"], lines["sp"]["n"]) == ("3", "3", "9")
    assert float(lines["sp"]["better"]) == 1 and lines["kd"]["better"] == lines["student (ce)"]["iqm"] == ""
    assert lines["kd"]["iqm"] and lines["kd"]["iqm_low"] == lines["sp"]["better_low"] == ""  # three seeds


def test_intervals_over_pairs_are_printed_and_those_of_the_bootstrap_with_five_seeds_only(tmp_path):
    for seeds, printed in ((3, False), (5, True)):
        table = across_table(protocol_of(tmp_path / str(seeds), records_of_pairs(seeds=seeds)))
        line = next(line for line in table.lines if line.label == "hint")
        cells = dict(zip(table.heads, line.cells, strict=True))
        assert [bool(cells[head].small_print) for head in table.heads[-2:]] == [printed] * 2
        scores = {
            (r.run["student"], r.run["method"], r.run["seed"]): r.score["top1"] for r in records_of_pairs(seeds=5)
        }
        gains = [
            np.mean([scores[student, "hint", seed] - scores[student, "kd", seed] for seed in range(seeds)])
            for _, student in PAIRS
        ]
        half_width = stats.t.ppf(0.975, 2) * np.std(gains, ddof=1) / np.sqrt(3)
        low, high = (100 * (np.mean(gains) + sign * half_width) for sign in (-1, 1))
        assert cells["minus kd"].small_print == f"{low:+.2f} to {high:+.2f}".replace("-", "−")
        tidy = next(one for one in csv.DictReader(io.StringIO(to_csv(table))) if one["row"] == "hint")
        assert float(tidy["over_baseline_low"]) == pytest.approx(low)
    two = across_table(protocol_of(tmp_path / "two", records_of_pairs(PAIRS[:2])))
    assert not any(cell.small_print for line in two.lines for cell in line.cells)


def test_the_caption_says_that_the_interval_over_pairs_is_too_narrow_where_they_depend_on_each_other(tmp_path):
    text = across_table(protocol_of(tmp_path, records_of_pairs())).caption
    assert "t interval over pairs" in text and "too narrow where their results depend on each other" in text
    assert "where each cell has 5 seeds" in text


def test_the_caption_has_the_tests_of_the_ranks_and_says_that_pairs_share_networks(tmp_path):
    text = to_markdown(across_table(protocol_of(tmp_path, records_of_pairs()), "sp"))
    assert "3 pairs, which share networks" in text and "Friedman p 0.0" in text and "(Nemenyi)" in text
    assert "minus sp" in text and "minus student (ce)" in text and "P(better than sp)" in text
    line = next(line for line in text.splitlines() if line.startswith("| sp"))
    assert re.sub(" +", " ", line).split("| ")[3:5] == ["1.00 ", "3 "]


def test_a_row_without_a_score_on_some_pair_is_left_out_and_named(tmp_path):
    records = [*records_of_pairs(), a_record(a_run("lp", 0), 0.9)]
    table = across_table(protocol_of(tmp_path, records))
    assert "lp" not in [line.label for line in table.lines] and table.caption.endswith(
        "without a score on some pair: lp."
    )


def test_single_seeds_have_means_and_ranks_and_no_bootstrap(tmp_path):
    (line, *_) = [
        line for line in across_table(protocol_of(tmp_path, records_of_pairs(seeds=1))).lines if line.label == "sp"
    ]
    assert [cell.text for cell in line.cells[-2:]] == ["–", "–"] and line.cells[2].text == "3"


def test_one_pair_or_one_row_has_no_overview(tmp_path):
    assert overview(protocol_of(tmp_path / "pair", records_of_pairs(PAIRS[:1]))) is None
    assert across_table(protocol_of(tmp_path / "row", records_of_pairs(levels={"kd": 0.7}))) is None


def test_where_the_plain_student_is_the_baseline_it_has_one_column(tmp_path):
    table = across_table(protocol_of(tmp_path, records_of_pairs(levels={"ce": 0.68, "sp": 0.70})))
    assert [head for head in table.heads if head.startswith("minus")] == ["minus student (ce)"]
    assert {len(line.cells) for line in table.lines} == {len(table.heads)}


# ---- the diagram
def test_the_diagram_names_every_row_and_the_critical_difference(tmp_path):
    protocol = protocol_of(tmp_path, records_of_pairs())
    figure = rank_figure(protocol, styles_of([protocol]))
    assert figure.title.startswith("Average ranks") and "critical difference of 2.71" in figure.caption
    assert figure.svg.startswith("<?xml") and figure.pdf.startswith(b"%PDF")
    assert rank_figure(protocol_of(tmp_path / "one", records_of_pairs(PAIRS[:1])), {}) is None


def test_the_report_of_several_pairs_has_table_and_diagram_in_equal_bytes(tmp_path):
    contents = []
    for word, records in (("a", records_of_pairs()), ("b", records_of_pairs()[::-1])):
        out = build(a_store(tmp_path / word / "results", records), tmp_path / word / "out").parent
        found = [path for path in out.rglob("*") if "-across" in path.name or "-ranks" in path.name]
        contents.append({path.name: path.read_bytes() for path in found})
    assert contents[0] == contents[1] and len(contents[0]) == 4
