"""Tests of the statistics, against loops, enumerations, worked examples and simulations."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from benchmark.report.statistics import (
    Paired,
    difference_interval,
    holm,
    indistinguishable_from_best,
    mcnemar,
    minimum_detectable_difference,
    paired_difference,
    pooled_sd,
    sign_flip,
)


def seeds(*values):
    """Seed -> value, with seeds from 0."""
    return dict(enumerate(values))


def sign_flip_by_loops(values):
    """The share of sign choices whose sum is at least as far from 0 as the sum of the values, by loops."""
    observed, at_least_as_far, count = abs(round(1e6 * sum(values))), 0, 0
    for signs in product((1, -1), repeat=len(values)):
        total = 0
        for sign, value in zip(signs, values, strict=True):
            total += sign * round(1e6 * value)
        at_least_as_far += abs(total) >= observed
        count += 1
    return at_least_as_far / count


# ---- two rows of a table
def test_a_paired_interval_is_that_of_the_differences():
    a, b = seeds(0.712, 0.705, 0.719, 0.701), seeds(0.700, 0.699, 0.702, 0.700)
    expected = stats.ttest_rel(list(a.values()), list(b.values())).confidence_interval(0.95)
    found = paired_difference(a, b)
    assert (found.mean, found.low, found.high) == pytest.approx((0.009, expected.low, expected.high))
    assert found.sd == pytest.approx(np.std([0.012, 0.006, 0.017, 0.001], ddof=1))
    assert (found.n, found.seeds, found.test) == (4, (0, 1, 2, 3), "sign-flip")
    back = paired_difference(b, a)
    assert (back.mean, back.low, back.p) == pytest.approx((-found.mean, -found.high, found.p))


def test_only_seeds_in_common_are_paired():
    found = paired_difference({0: 0.70, 1: 0.72, 5: 0.9}, {1: 0.70, 0: 0.69, 7: 0.1})
    assert (found.mean, found.seeds) == (pytest.approx(0.015), (0, 1))
    assert paired_difference({0: 0.7}, {1: 0.7}) is None


def test_one_seed_has_a_difference_and_nothing_else():
    assert paired_difference({3: 0.75}, {3: 0.5}) == Paired(0.25, 1, seeds=(3,))


@pytest.mark.parametrize(
    "values",
    [
        (0.004, 0.006),
        (0.01, 0.02, 0.03),
        (0.01, -0.02, 0.03, 0.0),
        (0.0012, 0.0012, -0.0012, 0.0012, 0.0034),
        (0.0, 0.0, 0.0),
        (0.001, -0.001),
        tuple(math.sin(place) / 100 + 0.002 for place in range(10)),
    ],
)
def test_sign_flip_p_is_the_share_of_sign_choices_that_loops_count(values):
    values = [round(value, 6) for value in values]
    assert sign_flip(values) == pytest.approx(sign_flip_by_loops(values))


def test_ties_are_ties_however_the_fractions_are_rounded():
    a, b = seeds(0.7012, 0.6934, 0.7051, 0.6999), seeds(0.7002, 0.6924, 0.7061, 0.6989)
    assert paired_difference(a, b).p == sign_flip_by_loops([0.001, 0.001, -0.001, 0.001]) == 0.625


def test_three_seeds_can_never_reach_five_percent_by_sign_flips():
    assert paired_difference(seeds(0.9, 0.91, 0.92), seeds(0.1, 0.12, 0.11)).p == 0.25


def test_more_than_twelve_differences_are_left_to_the_t_test_which_is_named():
    generator = np.random.default_rng(0)
    a, b = generator.normal(0.7, 0.01, 13), generator.normal(0.69, 0.01, 13)
    found = paired_difference(seeds(*a), seeds(*b))
    assert (found.test, found.p) == ("t", pytest.approx(stats.ttest_rel(a, b).pvalue))
    assert paired_difference(seeds(*a[:12]), seeds(*b[:12])).test == "sign-flip"
    assert paired_difference(seeds(*a), seeds(*a)).p == 1


def test_holm_is_as_in_an_example_worked_by_hand():
    ps = [0.01, 0.04, 0.03, 0.005]  # 0.005 x 4, 0.01 x 3, 0.03 x 2, then 0.04 x 1, which may not fall below 0.06
    assert holm(ps) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1, 1]
    assert holm([0.2]) == [0.2] and holm([]) == []


def test_mcnemar_is_the_enumerated_binomial_sum():
    first = np.array([True] * 9 + [False] * 2 + [True] * 50 + [False] * 7)
    second = np.array([False] * 9 + [True] * 2 + [True] * 50 + [False] * 7)
    found = mcnemar(first, second)
    tail = 0.0
    for count in range(12):
        if count <= 2 or count >= 9:
            tail += math.comb(11, count) / 2**11
    assert (found.first, found.second, found.p) == (9, 2, pytest.approx(tail))
    assert mcnemar(second, first).p == found.p
    assert mcnemar(first, first).p == 1


# ---- a column of a table
def test_rows_not_distinguishable_from_the_best_are_found():
    column = {
        "best": seeds(0.72, 0.73, 0.71),
        "near": seeds(0.71, 0.735, 0.70),
        "far": seeds(0.60, 0.61, 0.60),
        "once": seeds(0.70),
    }
    assert indistinguishable_from_best(column) == {"best", "near"}
    assert indistinguishable_from_best({"once": seeds(0.9), "twice": seeds(0.7, 0.71)}) == set()
    assert indistinguishable_from_best({}) == set() and indistinguishable_from_best({"none": {}}) == set()


def test_pairing_distinguishes_rows_whose_seeds_vary_together():
    best, other = seeds(0.700, 0.720, 0.740), seeds(0.695, 0.714, 0.736)
    assert indistinguishable_from_best({"best": best, "other": other}) == {"best"}
    other_seeds = {seed + 10: value for seed, value in other.items()}
    assert indistinguishable_from_best({"best": best, "other": other_seeds}) == {"best", "other"}


def test_rows_without_two_seeds_in_common_are_compared_by_welch():
    a, b = {0: 0.70, 1: 0.72, 2: 0.69}, {2: 0.66, 3: 0.68, 4: 0.69}
    expected = stats.ttest_ind(list(a.values()), list(b.values()), equal_var=False).confidence_interval(0.95)
    assert difference_interval(a, b) == pytest.approx((expected.low, expected.high))
    assert difference_interval(a, {0: 0.7}) is None and difference_interval(a, {}) is None


def test_the_pooled_sd_weights_by_degrees_of_freedom():
    found = pooled_sd([Paired(0, 3, sd=0.2), Paired(0, 2, sd=0.5), Paired(0, 1)])
    assert found == pytest.approx(math.sqrt((2 * 0.04 + 1 * 0.25) / 3))
    assert pooled_sd([Paired(0.1, 1)]) is None


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_the_detectable_difference_is_found_in_four_of_five_simulated_studies(n):
    generator = np.random.default_rng(n)
    draws = generator.normal(minimum_detectable_difference(0.7, n), 0.7, (40_000, n))
    error = draws.std(axis=1, ddof=1) / math.sqrt(n)
    found = np.abs(draws.mean(axis=1)) > stats.t.ppf(0.975, n - 1) * error
    assert found.mean() == pytest.approx(0.8, abs=0.01)
