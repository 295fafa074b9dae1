"""Tests of paired differences, sign flips, Holm, McNemar and power, against loops, enumerations and simulations."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from benchmark.report.statistics.images import mcnemar
from benchmark.report.statistics.paired import Paired, holm, paired_difference, sign_flip, sign_flip_can_reach
from benchmark.report.statistics.power import minimum_detectable_difference


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
    assert found.p == pytest.approx(stats.ttest_rel(list(a.values()), list(b.values())).pvalue)
    assert (found.n, found.blocks, found.sign_flip) == (4, (0, 1, 2, 3), None)
    back = paired_difference(b, a)
    assert (back.mean, back.low, back.p) == pytest.approx((-found.mean, -found.high, found.p))


def test_only_seeds_in_common_are_paired():
    found = paired_difference({0: 0.70, 1: 0.72, 5: 0.9}, {1: 0.70, 0: 0.69, 7: 0.1})
    assert (found.mean, found.blocks) == (pytest.approx(0.015), (0, 1))
    assert paired_difference({0: 0.7}, {1: 0.7}) is None


def test_one_seed_has_a_difference_and_nothing_else():
    assert paired_difference({3: 0.75}, {3: 0.5}) == Paired(0.25, 1, blocks=(3,))


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
    a = seeds(0.7012, 0.6934, 0.7051, 0.6999, 0.7, 0.71)
    b = seeds(0.7002, 0.6924, 0.7061, 0.6989, 0.699, 0.709)
    expected = sign_flip_by_loops([0.001, 0.001, -0.001, 0.001, 0.001, 0.001])
    assert paired_difference(a, b).sign_flip == expected == 14 / 64


def test_a_sign_flip_test_is_given_only_where_it_can_reach_five_percent():
    assert [n for n in range(1, 14) if sign_flip_can_reach(n)] == list(range(6, 13))
    assert [n for n in range(1, 14) if sign_flip_can_reach(n, 9)] == [9, 10, 11, 12]  # 9 / 2^8 = 0.035
    assert paired_difference(seeds(0.9, 0.91, 0.92), seeds(0.1, 0.12, 0.11)).sign_flip is None
    assert paired_difference(seeds(*[0.9] * 6), seeds(*[0.1] * 6)).sign_flip == 2 / 64


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


# ---- power
@pytest.mark.parametrize(("n", "rows"), [(3, 10), (2, 3), (5, 2), (12, 4)])
def test_the_detectable_difference_is_found_in_four_of_five_simulated_studies(n, rows):
    degrees = (rows - 1) * (n - 1)
    limit = stats.t.ppf(0.975, degrees)
    generator = np.random.default_rng(n)
    true = minimum_detectable_difference(0.7 * math.sqrt(2 / n), degrees, limit)
    draws = generator.normal(0, 0.7, (20_000, rows, n)) + generator.normal(0, 2, (20_000, 1, n))
    draws[:, 1] += true
    residuals = draws - draws.mean(2, keepdims=True) - draws.mean(1, keepdims=True) + draws.mean((1, 2), keepdims=True)
    error = np.sqrt((residuals**2).sum((1, 2)) / degrees * 2 / n)
    found = np.abs(draws[:, 1].mean(1) - draws[:, 0].mean(1)) > limit * error
    assert found.mean() == pytest.approx(0.8, abs=0.015)
