"""Statistics for few seeds: mean, spread, intervals, paired differences, tests, and rows that tie with the best.

Results are in the unit of the input: accuracies as fractions.  Distributions and tests are scipy's.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, nct, permutation_test
from scipy.stats import t as student_t

LEVEL = 0.95  # confidence level of every interval
POWER = 0.8  # of the test that defines the minimum detectable difference
MAX_EXACT = 12  # number of differences up to which all sign flips are enumerated: 2^12 = 4,096
RESOLUTION = 1e12  # steps per unit to which differences are rounded, so that equal ones compare equal


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean, standard deviation and interval of n values, in their own unit; sd, low and high are None for n = 1."""

    mean: float
    n: int
    sd: float | None = None  # sample standard deviation, ddof 1
    low: float | None = None  # lower end of the t interval of the mean
    high: float | None = None  # upper end


@dataclass(frozen=True, slots=True)
class Paired(Summary):
    """The summary of differences between runs of the same seed; p is None for a single seed."""

    seeds: tuple[int, ...] = ()
    p: float | None = None  # two-sided, null hypothesis: the mean difference is 0
    test: str = ""  # that gave p: "sign-flip" or "t"


@dataclass(frozen=True, slots=True)
class Discordant:
    """Counts of the images that exactly one of two runs classifies correctly, and McNemar's exact p."""

    first: int  # correct in the first run only
    second: int  # correct in the second run only
    p: float


def summarise(values: Iterable[float]) -> Summary | None:
    """Mean, standard deviation and t interval of the values, independent of their order; None for no values."""
    values = list(values)
    n = len(values)
    if not n:
        return None
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(mean, n)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half_width = t_quantile(n - 1) * sd / math.sqrt(n)
    return Summary(mean, n, sd, mean - half_width, mean + half_width)


# ---- two rows of a table
def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> Paired | None:
    """a minus b over the seeds that both have; each maps seed -> value.  None if they share none.

    Runs of one seed start from the same weights and see the same batches, so effects common to both runs cancel in
    the difference.  The interval assumes normal differences, the sign-flip p only that they are symmetric about 0.
    """
    seeds = tuple(sorted(a.keys() & b.keys()))
    values = [round(RESOLUTION * (a[seed] - b[seed])) / RESOLUTION for seed in seeds]
    summary = summarise(values)
    if summary is None or summary.n == 1:
        return summary and Paired(*astuple(summary), seeds)
    if summary.n <= MAX_EXACT:
        return Paired(*astuple(summary), seeds, sign_flip(values), "sign-flip")
    error = summary.sd / math.sqrt(summary.n)
    p = 2 * float(student_t.sf(abs(summary.mean) / error, summary.n - 1)) if error else float(summary.mean == 0)
    return Paired(*astuple(summary), seeds, p, "t")


def sign_flip(values: Sequence[float]) -> float:
    """The two-sided sign-flip p: the share of all 2^n sign choices whose sum is at least as far from 0; >= 2^(1−n)."""
    units = np.rint(RESOLUTION * np.asarray(values))  # whole numbers, so that equal sums compare equal
    return sign_flip_p(tuple(units if units.sum() >= 0 else -units))


@cache
def sign_flip_p(units: tuple[float, ...]) -> float:
    """The exact p of differences in whole units of 1 / RESOLUTION; cached, as a − b and b − a share it."""
    return float(permutation_test((np.array(units),), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values, in the given order.

    The k-th smallest of m values is multiplied by m − k + 1; the results are made monotone and capped at 1.

    S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).
    """
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Discordant:
    """McNemar's exact binomial test of whether two networks have the same error rate.

    It covers the sampling of test images only, not the variation between trainings.
    first, second: (N,), whether each run classifies each image correctly.
    """
    first_only, second_only = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(binomtest(first_only, first_only + second_only).pvalue) if first_only + second_only else 1.0
    return Discordant(first_only, second_only, p)


def welch_interval(a: Summary, b: Summary) -> tuple[float, float] | None:
    """Welch's interval of a's mean minus b's, for unequal variances; None where either has one value only."""
    if a.sd is None or b.sd is None:
        return None
    difference, parts = a.mean - b.mean, (a.sd**2 / a.n, b.sd**2 / b.n)
    variance = sum(parts)
    if variance == 0:
        return difference, difference
    degrees = variance**2 / (parts[0] ** 2 / (a.n - 1) + parts[1] ** 2 / (b.n - 1))
    half_width = t_quantile(degrees) * math.sqrt(variance)
    return difference - half_width, difference + half_width


def difference_interval(a: Mapping[int, float], b: Mapping[int, float]) -> tuple[float, float] | None:
    """The interval of a minus b: paired where they share two seeds, otherwise Welch's.

    a, b: seed -> value.  None where Welch's is needed and a or b has fewer than two values.
    """
    common = paired_difference(a, b)
    if common and common.sd is not None:
        return common.low, common.high
    first, second = summarise(a.values()), summarise(b.values())
    return welch_interval(first, second) if first and second else None


# ---- a column of a table
def indistinguishable_from_best(column: Mapping[Hashable, Mapping[int, float]]) -> set[Hashable]:
    """The name with the highest mean and all names not distinguishable from it; empty if the best one has n = 1.

    column: name -> seed -> value.  A name is distinguishable if the interval of best minus name lies above 0.
    """
    means = {name: summarise(values.values()) for name, values in column.items() if values}
    if not means:
        return set()
    best = max(means, key=lambda name: means[name].mean)
    if means[best].n == 1:
        return set()
    intervals = {name: difference_interval(column[best], column[name]) for name in means}
    return {name for name, interval in intervals.items() if name == best or (interval and interval[0] <= 0)}


def pooled_sd(differences: Iterable[Paired]) -> float | None:
    """The pooled standard deviation: the root of the mean variance, weighted by n − 1; None without any sd."""
    known = [difference for difference in differences if difference.sd is not None]
    degrees = sum(difference.n - 1 for difference in known)
    if not degrees:
        return None
    return math.sqrt(math.fsum((difference.n - 1) * difference.sd**2 for difference in known) / degrees)


def minimum_detectable_difference(sd: float, n: int) -> float:
    """The true difference that a paired t test over n >= 2 seeds detects in 80 % of cases.

    δ = λ · sd / √n, where λ solves P(T > t) = 0.8 for T of the noncentral t distribution with n − 1 degrees of
    freedom and noncentrality λ, and t is the two-sided 5 % limit at λ = 0.  It assumes that differences are normal
    and that sd is their true standard deviation in every comparison; there is no correction for multiple comparisons.
    """
    return noncentrality(n) * sd / math.sqrt(n)


@cache
def noncentrality(n: int) -> float:
    """λ in `minimum_detectable_difference`."""
    limit = t_quantile(n - 1)
    return float(brentq(lambda shift: nct.sf(limit, n - 1, shift) - POWER, 1, 3 * limit))


def t_quantile(degrees: float) -> float:
    """The two-sided quantile of the t distribution at LEVEL: half the width of an interval in standard errors."""
    return float(student_t.ppf((1 + LEVEL) / 2, degrees))
