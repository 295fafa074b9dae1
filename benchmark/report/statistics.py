"""What few runs allow to be said: mean, spread, interval, paired differences, and who cannot be told from the best.

Numbers are in the unit of what was given: accuracies as fractions.  Distributions and tests are scipy's.
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

LEVEL = 0.95  # of every interval
POWER = 0.8  # with which a minimum detectable difference is found
EXACT = 12  # differences up to which every flip of signs is tried: 4,096 of them
FINE = 1e12  # steps to the unit in which differences are told apart: accuracies are counts over counts


@dataclass(frozen=True, slots=True)
class Summary:
    """n values, in their own unit.  One value has neither spread nor interval: those are None."""

    mean: float
    n: int
    sd: float | None = None  # ddof 1
    low: float | None = None  # of the t interval of the mean
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Paired(Summary):
    """Differences of runs of the same seed; of one seed alone there is no p either."""

    seeds: tuple[int, ...] = ()
    p: float | None = None  # two-sided, of a mean difference of 0
    test: str = ""  # which gave p: "sign-flip" or "t"


@dataclass(frozen=True, slots=True)
class Discordant:
    """Images of which one of two runs gets the class right: how many are whose, and McNemar's exact p."""

    first: int  # right in the first run only
    second: int
    p: float


def summarise(values: Iterable[float]) -> Summary | None:
    """Mean, standard deviation and interval of the values, whatever their order; None for no values."""
    values = list(values)
    n = len(values)
    if not n:
        return None
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(mean, n)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = quantile(n - 1) * sd / math.sqrt(n)
    return Summary(mean, n, sd, mean - half, mean + half)


# ---- two rows
def paired(a: Mapping[int, float], b: Mapping[int, float]) -> Paired | None:
    """a minus b over the seeds that both have; each maps seed -> value.  None if they share none.

    Runs of one seed start from the same weights and see the same batches: what those do to both is not in the
    difference.  The interval takes differences for normal, the sign-flip p takes them for symmetric about 0 only.
    """
    seeds = tuple(sorted(a.keys() & b.keys()))
    values = [round(FINE * (a[seed] - b[seed])) / FINE for seed in seeds]
    summary = summarise(values)
    if summary is None or summary.n == 1:
        return summary and Paired(*astuple(summary), seeds)
    if summary.n <= EXACT:
        return Paired(*astuple(summary), seeds, sign_flip(values), "sign-flip")
    error = summary.sd / math.sqrt(summary.n)
    p = 2 * float(student_t.sf(abs(summary.mean) / error, summary.n - 1)) if error else float(summary.mean == 0)
    return Paired(*astuple(summary), seeds, p, "t")


def sign_flip(values: Sequence[float]) -> float:
    """The share of all 2^n choices of signs whose sum is as far from 0 as the one seen; never below 2^(1−n)."""
    whole = np.rint(FINE * np.asarray(values))  # whole numbers: sums that are equal come out equal
    return sign_flip_p(tuple(whole if whole.sum() >= 0 else -whole))


@cache
def sign_flip_p(whole: tuple[float, ...]) -> float:
    """The exact p of differences; a row held against another has that of the other held against it."""
    return float(permutation_test((np.array(whole),), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given: the k-th smallest of m times m − k + 1, rising, at most 1.

    S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).
    """
    found, least = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        least = max(least, min(1.0, (len(ps) - rank) * ps[place]))
        found[place] = least
    return found


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Discordant:
    """Whether two networks err equally often, told by the images where only one is right; the exact binomial test.

    Other test images might have fallen otherwise: that is all it accounts for.  Another training is not in it.
    """
    only, other = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(binomtest(only, only + other).pvalue) if only + other else 1.0
    return Discordant(only, other, p)


def welch(a: Summary, b: Summary) -> tuple[float, float] | None:
    """The interval of a's mean minus b's, variances unequal; None where either has one value only."""
    if a.sd is None or b.sd is None:
        return None
    difference, parts = a.mean - b.mean, (a.sd**2 / a.n, b.sd**2 / b.n)
    variance = sum(parts)
    if variance == 0:
        return difference, difference
    freedom = variance**2 / (parts[0] ** 2 / (a.n - 1) + parts[1] ** 2 / (b.n - 1))
    half = quantile(freedom) * math.sqrt(variance)
    return difference - half, difference + half


def difference_interval(a: Mapping[int, float], b: Mapping[int, float]) -> tuple[float, float] | None:
    """The interval of a minus b: paired where they share two seeds, else Welch's; None where either has one value."""
    both = paired(a, b)
    if both and both.sd is not None:
        return both.low, both.high
    one, other = summarise(a.values()), summarise(b.values())
    return welch(one, other) if one and other else None


# ---- a whole column
def leaders(column: Mapping[Hashable, Mapping[int, float]]) -> set[Hashable]:
    """Name -> seed -> value: who has the highest mean, and all that are not told from it; nobody if it has n = 1."""
    means = {name: summarise(values.values()) for name, values in column.items() if values}
    if not means:
        return set()
    best = max(means, key=lambda name: means[name].mean)
    if means[best].n == 1:
        return set()
    intervals = {name: difference_interval(column[best], column[name]) for name in means}
    return {name for name, interval in intervals.items() if name == best or (interval and interval[0] <= 0)}


def pooled(differences: Iterable[Paired]) -> float | None:
    """One standard deviation for all: the root of the variances' mean, weighted by n − 1; None without any."""
    known = [one for one in differences if one.sd is not None]
    freedom = sum(one.n - 1 for one in known)
    return math.sqrt(math.fsum((one.n - 1) * one.sd**2 for one in known) / freedom) if freedom else None


def detectable(sd: float, n: int) -> float:
    """The minimum detectable difference: the true one that a paired t test of n >= 2 seeds finds in 80 % of cases.

    δ = λ · sd / √n, where λ solves P(T > t) = 0.8 for T of the noncentral t distribution with n − 1 degrees of
    freedom and noncentrality λ, and t is the two-sided 5 % limit at λ = 0.  It assumes that differences are normal
    and that sd is their true standard deviation, the same for every comparison it is said of; no Holm.
    """
    return noncentrality(n) * sd / math.sqrt(n)


@cache
def noncentrality(n: int) -> float:
    """λ of `detectable`."""
    limit = quantile(n - 1)
    return float(brentq(lambda shift: nct.sf(limit, n - 1, shift) - POWER, 1, 3 * limit))


def quantile(freedom: float) -> float:
    """Half the width of the interval in standard errors."""
    return float(student_t.ppf((1 + LEVEL) / 2, freedom))
