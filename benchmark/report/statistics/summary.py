"""Summaries of a few values: mean, spread and t intervals; standard deviations pooled over several rows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from scipy.special import stdtrit

LEVEL = 0.95  # confidence level of every interval, unless its name says otherwise
NOISE = 1e-12  # a smaller standard deviation is rounding
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
class Spread:
    """A standard deviation and its degrees of freedom."""

    sd: float
    degrees: float


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


def pooled(spreads: Iterable[Spread | None]) -> Spread | None:
    """The root of the mean variance, weighted by degrees of freedom; None without any spread."""
    known = [spread for spread in spreads if spread]
    degrees = math.fsum(spread.degrees for spread in known)
    if not degrees:
        return None
    return Spread(math.sqrt(math.fsum(spread.degrees * spread.sd**2 for spread in known) / degrees), degrees)


@cache
def t_quantile(degrees: float, level: float = LEVEL) -> float:
    """The two-sided quantile of the t distribution: half the width of an interval of that level in standard errors."""
    return float(stdtrit(degrees, (1 + level) / 2))


def rounded(value: float) -> float:
    """The value in whole steps of 1 / RESOLUTION, without a negative zero: equal on every machine."""
    return round(RESOLUTION * value) / RESOLUTION + 0.0
