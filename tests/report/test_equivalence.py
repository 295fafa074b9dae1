"""Tests of two one-sided tests, and of the simulated error rates of the report's rules."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmark.report.error_rates import error_rates, error_rates_table, read_error_rates
from benchmark.report.statistics.equivalence import equivalence
from benchmark.report.statistics.families import against, all_pairs, best_rows, verdicts_over_pairs
from benchmark.report.statistics.max_t import max_t_quantile
from benchmark.report.statistics.model import fit_pair
from benchmark.report.statistics.simulation import (
    ROWS,
    all_pairs_verdicts,
    balanced,
    baseline_verdicts,
    best_of_column,
    holm_rejects,
    made_up,
    one_run_difference,
    over_pairs,
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
    unequal = unequal_variances(values)
    said, every = baseline_verdicts(values, unequal)["Dunnett"], all_pairs_verdicts(values, unequal)
    hsu = {event: found for _, event, _, found in best_of_column(values, unequal, 0.01)}
    spreads, degrees = seed_spread(values)
    for study in np.flatnonzero(~unequal):
        column = {i: dict(enumerate(row)) for i, row in enumerate(values[study])}
        model = fit_pair(column)
        if model.unequal:
            continue
        verdicts = against(model, 0)
        assert [verdicts[i].verdict in ("better", "worse") for i in range(1, 10)] == said[study].tolist()
        contrasts = all_pairs(model)
        expected = [contrasts[i, j].verdict in ("better", "worse") for i in range(10) for j in range(i + 1, 10)]
        assert expected == every[study].tolist()
        best, marked = best_rows(model)
        assert hsu["a truly best row is not marked"][study] == (9 not in {best, *marked})
        assert model.residual.sd == pytest.approx(residual_sd(values)[0][study])
        assert (model.between_seeds.sd, model.between_seeds.degrees) == pytest.approx((spreads[study], degrees[study]))


def test_a_row_with_one_run_in_the_simulation_is_the_reports_contrast_without_a_verdict():
    values = made_up(3, 0.0, 20)
    differences, limits = one_run_difference(values, 2)
    for table, difference, limit in zip(values, differences, limits, strict=True):
        column = {i: dict(enumerate(row)) for i, row in enumerate(table[:-1])} | {9: {0: 2 * table[-1, 0]}}
        model = fit_pair(column)
        if not model.unequal:
            found = against(model, 0)[9]
            assert (found.low, found.high) == pytest.approx((difference - limit, difference + limit))
            assert found.verdict == "one run"


def test_an_equal_row_is_better_on_some_pair_in_the_simulation_where_the_reports_adjusted_verdict_says_so():
    values = made_up(5, 0.0, 60).reshape(12, 5, ROWS, 5)
    values[0, 2, 3] += 0.05
    values[1, 4, 1] += 0.012
    found = {rule: said for rule, _, _, said in over_pairs(values)}
    for study, pairs in enumerate(values):
        models = [fit_pair({i: dict(enumerate(row)) for i, row in enumerate(table)}) for table in pairs]
        families = [against(model, 0) for model in models]
        rows = [[family[i] for family in families] for i in range(1, ROWS)]
        if not any(model.unequal for model in models):
            assert found["5 pairs, Holm"][study] == any("better" in verdicts_over_pairs(row) for row in rows)
            assert found["5 pairs, each by itself"][study] == any(c.verdict == "better" for row in rows for c in row)
    assert found["5 pairs, Holm"][0] and found["5 pairs, each by itself"].sum() > found["5 pairs, Holm"].sum()


def test_dunnetts_limit_over_all_baselines_is_wrong_in_far_more_than_one_of_twenty_studies():
    values = made_up(3, 0.0, 4000)
    (sd, degrees), means = residual_sd(values), values.mean(2)
    limit = max_t_quantile(balanced(), degrees) * sd * math.sqrt(2 / 3)
    assert (means.max(1) - means.min(1) > limit).mean() > 0.12


def test_holms_procedure_rejects_as_in_an_example_worked_by_hand():
    ps = np.array([[0.01, 0.04, 0.03, 0.005], [0.02, 0.001, 0.001, 0.9]])  # 4, 3, 2 and 1 times, from the smallest on
    assert holm_rejects(ps).tolist() == [[True, False, False, True], [True, True, True, False]]


PUBLISHED = ("TOST", "TOST, published spread")
UNADJUSTED = ("paired t, uncorrected", "one run, if it were judged", "13 pairs, each by itself")  # not the report's


@pytest.fixture(scope="module")
def rates():
    """The committed rates, which a test below compares with those of another simulation."""
    return read_error_rates()


def test_no_rule_errs_more_often_than_it_says(rates):
    known = [rate for rate in rates if rate.wrong and rate.rate is not None]
    assert {rate.rule for rate in known} == {"Dunnett", "Tukey", "Hsu", "13 pairs, Holm", *PUBLISHED, *UNADJUSTED}
    corrected = [rate.rate for rate in known if rate.rule not in UNADJUSTED]
    assert len(corrected) > 40 and max(corrected) <= 0.055
    least = {rule: min(rate.rate for rate in known if rate.rule == rule) for rule in UNADJUSTED}
    assert least["paired t, uncorrected"] > 0.2 and least["13 pairs, each by itself"] > 0.2
    assert least["one run, if it were judged"] > 0.08


def test_single_seeds_give_no_verdict_between_rows_and_nor_does_a_single_run_beside_others(rates):
    single = [rate.rate for rate in rates if rate.n == 1 and rate.rule not in PUBLISHED]
    beside = [rate.rate for rate in rates if rate.rule == "one run"]
    assert single and set(single) == {None} and len(beside) == 3 and set(beside) == {None}


def test_at_the_margin_neither_verdict_is_given_in_more_than_one_of_twenty_studies(rates):
    own = [rate for rate in rates if rate.effect == 0.007]
    assert {(rate.rule, rate.event) for rate in own} == {(r, e) for r in PUBLISHED for e in ("PASS", "FAIL")}
    assert all(rate.wrong and rate.rate <= 0.055 for rate in own)


def test_a_published_spread_in_the_simulation_is_that_of_the_equivalence_test(rates):
    exact, spread = ({(r.n, r.event): r.rate for r in rates if (r.rule, r.effect) == (rule, 0)} for rule in PUBLISHED)
    assert all(spread[n, "PASS"] < exact[n, "PASS"] for n in (1, 3, 5))  # less is known


def test_a_point_is_found_more_often_with_more_seeds_and_less_often_against_any_baseline(rates):
    found = {(r.rule, r.n, r.effect): r.rate for r in rates if r.event == "the better row called better"}
    assert found["Dunnett", 5, 0.01] > found["Dunnett", 3, 0.01] > 0.35
    assert found["Dunnett", 5, 0.01] > found["Dunnett", 5, 0.005]
    assert found["Dunnett", 3, 0.01] > found["Tukey", 3, 0.01] > 0.2


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
