"""Tests of the page's first screen: the leaderboard's numbers, and findings that say what the numbers say."""

import re
import statistics

import pytest
from test_across import records_of_pairs
from test_figures import SCORES, full_records
from test_figures import protocol_of as lone_protocol
from test_report import a_record, a_run

from benchmark.report.figures import protocol_figures
from benchmark.report.figures.drawing.colours import styles_of
from benchmark.report.page.front import front
from benchmark.report.page.sections import Section
from benchmark.report.tables.comparisons import baseline_contrasts


def front_of(tmp_path, records):
    """The first screen of the only protocol of these records."""
    protocol = lone_protocol(tmp_path, records)
    return front([Section(protocol, (), tuple(protocol_figures(protocol, styles_of([protocol]))))])


@pytest.fixture
def far_apart(tmp_path):
    """The first screen of three rows, one of them five points better than the others."""
    scores = {"ce": (0.60, 0.601, 0.602), "kd": (0.602, 0.6, 0.601), "sp": (0.65, 0.651, 0.652)}
    runs = [(m, s) for m in scores for s in range(3)]
    made = [a_record(a_run(m, s, teacher=None if m == "ce" else "resnet56"), scores[m][s]) for m, s in runs]
    return front_of(tmp_path, made)


def test_teacher_and_plain_student_lead_the_board_and_methods_follow_by_their_means(tmp_path):
    found = front_of(tmp_path, full_records())
    # The teacher's accuracy is that of its kept file, as its students' records say.
    means = {method: statistics.mean(values) for method, values in SCORES.items()}
    expected = [("teacher", 0.7345), ("student (ce)", means["ce"]), ("kd", means["kd"]), ("sp", means["sp"])]
    assert [(line.label, line.top1) for line in found.lines] == [(name, f"{100 * v:.2f}") for name, v in expected]
    gains = [line.gain for line in found.lines]
    assert gains == ["", "", *(f"{100 * (means[m] - means['ce']):+.2f}" for m in ("kd", "sp"))]
    assert [line.cost for line in found.lines] == ["", "1.00 ×", "1.55 ×", "1.80 ×"]  # 10 ms, 15.5 ms and 18 ms


def test_a_finding_names_what_is_better_by_more_than_chance_and_by_how_much(far_apart):
    assert far_apart.findings[0].startswith(
        "1 of 2 rows with a teacher is better than the plain student by more than chance explains: "
        "sp (+5.00 points, 95 % interval +"
    )
    assert [line.mark for line in far_apart.lines] == ["", "", "▲", ""]


def test_one_seed_tells_nothing_and_what_was_not_measured_or_published_is_no_finding(tmp_path):
    found = front_of(tmp_path, [a_record(a_run("ce", 0, teacher=None), 0.6), a_record(a_run("sp"), 0.9)])
    assert found.findings[0].startswith("No difference can be told from chance yet")
    assert len(found.findings) == 2 and "closes" in found.findings[1]
    assert all(line.mark == "" and line.interval == "" for line in found.lines)


def test_the_share_of_the_gap_to_the_teacher_is_that_of_the_means_on_the_board(tmp_path, far_apart):
    share = 100 * (0.651 - 0.601) / (0.7345 - 0.601)
    text = f"The best mean closes {share:.0f} % of the 13.35 points from student to teacher."
    assert text in far_apart.findings
    worse = front_of(tmp_path / "worse", [a_record(a_run("ce", 0, teacher=None), 0.8), a_record(a_run("sp"), 0.9)])
    assert not any("closes" in sentence for sentence in worse.findings)  # the teacher is no better than the student


def test_names_with_commas_are_told_apart_in_a_finding(tmp_path):
    scores = {"ce": 0.60, "kd, hard": 0.65, "sp": 0.66}
    made = [
        a_record(a_run(m, s, teacher=None if m == "ce" else "resnet56"), scores[m] + s / 1000)
        for m in scores
        for s in range(3)
    ]
    assert re.search(r"sp \(\+6\.00 [^;]+\); kd, hard \(\+5\.00\)\.$", front_of(tmp_path, made).findings[0])


def test_over_several_pairs_the_board_has_means_and_counts_of_pairs(tmp_path):
    records = records_of_pairs()
    found = front_of(tmp_path, records)
    pairs = len({(r.run["student"], r.run["teacher"]["student"]) for r in records if r.run["teacher"]})
    assert found.several and found.averaged == f"mean of {pairs} pairs"
    for line in found.lines[2:]:
        scores = [record.score["top1"] for record in records if record.run["method"] == line.label]
        assert line.top1 == f"{100 * statistics.mean(scores):.2f}"


def test_a_finding_over_several_pairs_says_in_how_many_a_method_is_worse(tmp_path):
    pairs = (("resnet56", "resnet20", 0.05), ("resnet110", "resnet32", -0.05), ("wrn_40_2", "wrn_16_2", 0.05))
    made = []
    for teacher, student, gain in pairs:
        for seed in range(3):
            made.append(a_record(a_run("ce", seed, student, teacher=None), 0.6 + seed / 1000))
            made.append(a_record(a_run("kd", seed, student, teacher), 0.6 + gain + seed / 1000))
            made.append(a_record(a_run("sp", seed, student, teacher), 0.6 + abs(gain) + seed / 1000))
    assert front_of(tmp_path, made).findings[0].endswith(": sp (in 3 of 3 pairs); kd (in 2 of 3 pairs, worse in 1).")


def test_counts_over_several_pairs_are_adjusted_for_looking_at_all_of_them_and_the_finding_says_so(tmp_path):
    pairs = (("resnet56", "resnet20", 0.006), ("resnet110", "resnet32", 0.1), ("wrn_40_2", "wrn_16_2", 0.0))
    wobbles = ((0.000, 0.002, -0.002), (0.001, -0.002, 0.001), (-0.001, 0.0, 0.001))
    made = []
    for teacher, student, gain in pairs:
        for seed in range(3):
            noise = {method: own[seed] for method, own in zip(("ce", "kd", "sp"), wobbles, strict=True)}
            made.append(a_record(a_run("ce", seed, student, teacher=None), 0.6 + noise["ce"]))
            made.append(a_record(a_run("kd", seed, student, teacher), 0.6 + gain + noise["kd"]))
            made.append(a_record(a_run("sp", seed, student, teacher), 0.6 + noise["sp"]))
    found = front_of(tmp_path, made)
    contrasts = baseline_contrasts(found.section.protocol, found.section.protocol.baseline_row("ce"))
    alone = [c.verdict for (row, _), c in contrasts.items() if row.label == "kd"]
    assert sorted(alone) == ["better", "better", "cannot be told"]
    ps = sorted(c.p for (row, _), c in contrasts.items() if row.label == "kd")
    assert ps[0] * 3 < 0.05 < ps[1] * 2
    assert "on some pair (Holm’s adjustment over the pairs): kd (in 1 of 3 pairs)." in found.findings[0]
    assert next(line.mark for line in found.lines if line.label == "kd") == "▲ 1"


def test_a_row_with_one_run_is_in_no_finding_and_has_no_mark(tmp_path):
    scores = {"ce": (0.60, 0.601, 0.602), "kd": (0.602, 0.6, 0.601), "sp": (0.75,)}
    runs = [(m, s) for m, own in scores.items() for s in range(len(own))]
    made = [a_record(a_run(m, s, teacher=None if m == "ce" else "resnet56"), scores[m][s]) for m, s in runs]
    found = front_of(tmp_path, made)
    assert found.findings[0] == "None of 2 methods is better than the plain student by more than chance."
    line = next(line for line in found.lines if line.label == "sp")
    assert line.mark == "" and line.interval and "between rows with 3 seeds" in found.trust


def test_the_figure_beside_the_board_is_the_forest_without_published_numbers(far_apart):
    assert far_apart.figure.name.endswith("-forest")


def test_without_scores_there_is_no_first_screen(tmp_path):
    assert front_of(tmp_path, [a_record(a_run(), status="failed")]) is None
