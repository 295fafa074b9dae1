"""What few runs allow to be said: mean, spread, interval, and who cannot be told from the best."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from scipy.stats import t as student_t

LEVEL = 0.95  # of every interval


@dataclass(frozen=True, slots=True)
class Summary:
    """n values, in their own unit.  One value has neither spread nor interval: those are None."""

    mean: float
    n: int
    sd: float | None = None  # ddof 1
    low: float | None = None  # of the t interval of the mean
    high: float | None = None


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


def leaders(column: Mapping[Hashable, Summary]) -> set[Hashable]:
    """Who has the highest mean, and all whose Welch interval to it contains 0; nobody if the highest has n = 1."""
    if not column:
        return set()
    best = max(column.values(), key=lambda summary: summary.mean)
    found = set()
    for name, summary in column.items():
        interval = welch(best, summary)
        if interval and (summary is best or interval[0] <= 0 <= interval[1]):
            found.add(name)
    return found


def quantile(freedom: float) -> float:
    """Half the width of the interval in standard errors."""
    return float(student_t.ppf((1 + LEVEL) / 2, freedom))
