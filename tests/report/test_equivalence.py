"""Tests of two one-sided tests, and of the simulated error rates of the report's rules."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmark.report.error_rates import error_rates_table, read_error_rates
from benchmark.report.statistics.equivalence import equivalence
from benchmark.report.statistics.families import against, best_rows
from benchmark.report.statistics.model import fit_pair
from benchmark.report.statistics.simulation import (
    baseline_verdicts,
    best_of_column,
    error_rates,
    made_up,
    residual_sd,
    seed_spread,
    unequal_variances,
)
from benchmark.report.statistics.summary import Spread
from benchmark.report.tables.text_formats import to_markdown


# ---- two one-sided tests
@pytest.mark.parametrize(
    ("points", "sd", "expected"),
    [
        (0.0, 0.1, "PASS"),
        (0.5, 0.1, "PASS"),
        (0.5, 1.0, "inconclusive"),
        (0.7, 0.1, "inconclusive"),
        (-1.0, 0.1, "FAIL"),
        (1.0, 0.1, "FAIL"),
        (1.0, 1.0, "inconclusive"),
        (0.0, 2.0, "inconclusive"),
    ],
)
def test_the_verdict_is_that_of_the_ninety_percent_interval(points, sd, expected):
    assert equivalence(points / 100, 3, Spread(sd / 100, 18)).verdict == expected


def test_pass_means_that_both_one_sided_tests_reject_at_five_percent():
    values = np.array([0.7031, 0.7050, 0.7042, 0.7061])
    for theirs in np.linspace(0.69, 0.72, 61):
        spread = Spread(float(values.std(ddof=1)), 3)
        found = equivalence(float(values.mean() - theirs), 4, spread)
        lower = stats.ttest_1samp(values, theirs - 0.007, alternative="greater").pvalue
        upper = stats.ttest_1samp(values, theirs + 0.007, alternative="less").pvalue
        assert (found.verdict == "PASS") == (max(lower, upper) <= 0.05), theirs


def test_a_published_spread_widens_the_interval_as_in_welchs_test():
    ours, theirs = [0.70, 0.712, 0.706], [0.701, 0.699, 0.704, 0.703, 0.698]
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.90)
    error = Spread(float(np.std(theirs, ddof=1)) / math.sqrt(5), 4)
    found = equivalence(float(np.mean(ours) - np.mean(theirs)), 3, Spread(float(np.std(ours, ddof=1)), 2), error)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_without_a_spread_there_is_neither_interval_nor_verdict():
    found = equivalence(0.001, 1, None)
    assert (found.low, found.verdict, found.seeds_needed) == (None, "inconclusive", None)


@pytest.mark.parametrize(("difference", "expected"), [(0.002, "PASS"), (-0.0095, "FAIL")])
def test_the_named_number_of_seeds_settles_it_and_one_less_does_not(difference, expected):
    spread = Spread(0.008, 12)
    needed = equivalence(difference, 1, spread).seeds_needed
    assert equivalence(difference, needed, spread).verdict == expected
    assert equivalence(difference, needed - 1, spread).verdict == "inconclusive"


def test_no_number_of_seeds_settles_a_difference_on_the_limit_or_a_wide_published_number():
    assert equivalence(0.007, 3, Spread(0.004, 18)).seeds_needed is None
    assert equivalence(0.004, 3, Spread(0.004, 18), Spread(0.003, 4)).seeds_needed is None


# ---- simulated error rates
def test_the_simulation_says_what_the_report_says_study_by_study():
    values = made_up(3, 0.01, 40)
    said, unequal = baseline_verdicts(values)["Dunnett"], unequal_variances(values)
    hsu = {event: found for _, event, _, found in best_of_column(values, 0.01)}
    spreads, degrees = seed_spread(values)
    for study in np.flatnonzero(~unequal):
        column = {i: dict(enumerate(row)) for i, row in enumerate(values[study])}
        model = fit_pair(column)
        if model.unequal:
            continue
        verdicts = against(model, 0)
        assert [verdicts[i].verdict in ("better", "worse") for i in range(1, 10)] == said[study].tolist()
        best, marked = best_rows(model)
        assert hsu["a best row left unmarked"][study] == (9 not in {best, *marked})
        assert model.residual.sd == pytest.approx(residual_sd(values)[0][study])
        assert (model.between_seeds.sd, model.between_seeds.degrees) == pytest.approx((spreads[study], degrees[study]))


def test_no_rule_errs_more_often_than_it_says():
    rates = error_rates(4000)
    corrected = [
        rate.rate for rate in rates if rate.wrong and rate.rule != "paired t, uncorrected" and rate.rate is not None
    ]
    assert len(corrected) > 15 and max(corrected) <= 0.06
    uncorrected = [rate.rate for rate in rates if rate.wrong and rate.rule == "paired t, uncorrected" and rate.n > 1]
    assert min(uncorrected) > 0.2


def test_single_seeds_give_no_verdict_between_rows():
    rates = [rate.rate for rate in error_rates(50) if rate.n == 1 and rate.rule != "TOST"]
    assert rates and set(rates) == {None}


def test_a_point_is_found_more_often_with_more_seeds():
    found = {
        (r.n, r.effect): r.rate
        for r in error_rates(4000)
        if (r.rule, r.event) == ("Dunnett", "the better row called better")
    }
    assert found[5, 0.01] > found[3, 0.01] > 0.35 and found[5, 0.01] > found[5, 0.005]


def test_the_committed_table_is_what_the_command_writes():
    committed, again = read_error_rates(), error_rates()
    assert [(r.rule, r.event, r.wrong, r.n, r.effect) for r in committed] == [
        (r.rule, r.event, r.wrong, r.n, r.effect) for r in again
    ]
    for one, other in zip(committed, again, strict=True):
        assert (one.rate is None) == (other.rate is None)
        assert one.rate is None or one.rate == pytest.approx(other.rate, abs=0.0006)


def test_the_table_has_a_column_for_each_number_of_seeds_and_marks_errors():
    text = to_markdown(error_rates_table())
    assert "n = 1" in text and "n = 5" in text and "paired t, uncorrected" in text
    cells = {line.split("|")[3].strip(): line for line in text.splitlines() if line.startswith("| Dunnett")}
    assert "apart" in cells["yes"] and "better" in cells["no"] and cells["yes"].split("|")[5].strip() == "–"
