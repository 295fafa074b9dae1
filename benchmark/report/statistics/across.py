"""Statistics across pairs of networks: ranks with their tests, mean difference, interquartile mean, probability of
improvement.

J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006).
R. Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, NeurIPS 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, studentized_range, trim_mean

from benchmark.report.statistics.summary import LEVEL, summarise

RESAMPLES, SEED = 2000, 20_26
MIN_PAIRS = 3  # for an interval over pairs
MIN_RUNS = 5  # of each cell for a bootstrap: of three runs it repeats the same one too often, and is too narrow
Interval = tuple[float, float | None, float | None]  # estimate, low, high; None: too few for an interval


@dataclass(frozen=True)
class Ranks:
    """Average ranks of K rows over N pairs; rank 1 is the best."""

    averages: NDArray[np.float64]  # (K,)
    wins: NDArray[np.int_]  # (K,) pairs on which the row is best; a tie counts for all that share it
    friedman_p: float | None  # null hypothesis: all rows have the same average rank; None for fewer than three rows
    critical_difference: float  # Nemenyi's, at 5 %: average ranks that are closer are not told apart


def rank_rows(means: NDArray[np.float64]) -> Ranks:
    """Rank the rows within each pair.  means: (N, K) accuracies, N >= 2 pairs, K >= 2 rows; ties share their ranks."""
    pairs, rows = means.shape
    means = np.round(means, 12)
    ranks = rankdata(-means, axis=1)
    wins = (means == means.max(1, keepdims=True)).sum(0)
    distinct = bool((ranks != ranks.mean()).any())
    p = float(friedmanchisquare(*means.T).pvalue) if rows > 2 and distinct else None
    limit = float(studentized_range.ppf(LEVEL, rows, np.inf)) / math.sqrt(2)
    return Ranks(ranks.mean(0), wins, p, limit * math.sqrt(rows * (rows + 1) / (6 * pairs)))


def cliques(averages: Sequence[float], critical_difference: float) -> list[tuple[int, ...]]:
    """The largest groups of rows, as indices, whose average ranks are closer than the critical difference."""
    order = sorted(range(len(averages)), key=lambda i: averages[i])
    groups: list[tuple[int, ...]] = []
    for start, first in enumerate(order):
        group = tuple(i for i in order[start:] if averages[i] - averages[first] < critical_difference)
        if len(group) > 1 and not (groups and set(group) <= set(groups[-1])):
            groups.append(group)
    return groups


def mean_difference(differences: Sequence[float]) -> Interval:
    """The mean over pairs with its t interval, for pairs drawn at random and independent; none for two pairs.

    Pairs that share a network may depend on each other; the interval is then too narrow.
    """
    found = summarise(differences)
    return (found.mean, found.low, found.high) if found.n >= MIN_PAIRS else (found.mean, None, None)


def interquartile_mean(strata: Sequence[Sequence[float]]) -> Interval | None:
    """The mean of the middle half of all values, with a percentile interval that resamples within each stratum.

    None for single values; no interval with fewer than MIN_RUNS in any stratum.
    """
    sizes = tuple(map(len, strata))
    if min(sizes, default=0) < 2:
        return None
    arrays = [np.asarray(each, float) for each in strata]
    estimate = middle_mean(arrays)
    if min(sizes) < MIN_RUNS:
        return float(estimate), None, None
    return with_interval(
        estimate, middle_mean([each[chosen] for each, chosen in zip(arrays, resamples(sizes), strict=True)])
    )


def middle_mean(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The mean without the lowest and highest quarter of the values along the last axis of all arrays."""
    return trim_mean(np.concatenate(arrays, axis=-1), 0.25, axis=-1)


def probability_of_improvement(row: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> Interval | None:
    """The chance that a run of the row beats one of the other on the same pair, averaged over pairs; ties count half.

    row, other: values by pair, in the same order of pairs.  The percentile interval resamples the runs of each cell.
    None for single runs; no interval with fewer than MIN_RUNS in any cell.
    """
    sizes = tuple(map(len, (*row, *other)))
    if min(sizes, default=0) < 2:
        return None
    tables = [pairwise_wins(mine, theirs) for mine, theirs in zip(row, other, strict=True)]
    estimate = np.mean([wins.mean() for wins in tables])
    if min(sizes) < MIN_RUNS:
        return float(estimate), None, None
    counts = resample_counts(sizes)
    sides = zip(tables, counts[: len(row)], counts[len(row) :], strict=True)
    resampled = [((own @ wins) * others).sum(-1) / wins.size for wins, own, others in sides]
    return with_interval(estimate, np.mean(resampled, axis=0))


def pairwise_wins(mine: Sequence[float], theirs: Sequence[float]) -> NDArray[np.float64]:
    """(n, m) 1 where a value of the first beats one of the second, 0.5 for a tie, else 0."""
    gaps = np.subtract.outer(np.asarray(mine, float), np.asarray(theirs, float))
    return (gaps > 1e-12) + 0.5 * (np.abs(gaps) <= 1e-12)


def with_interval(estimate: float, resampled: NDArray[np.float64]) -> Interval:
    """The estimate with the percentile interval of its resampled values."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(estimate), float(low), float(high)


@lru_cache(maxsize=4)
def resamples(sizes: tuple[int, ...]) -> list[NDArray[np.int_]]:
    """For each stratum of n values (RESAMPLES, n) indices, drawn with replacement; the same for equal sizes."""
    generator = np.random.default_rng(SEED)
    return [generator.integers(0, size, (RESAMPLES, size)) for size in sizes]


@lru_cache(maxsize=4)
def resample_counts(sizes: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """For each stratum of n values (RESAMPLES, n) how often each was drawn, by `resamples`."""
    counts = []
    for chosen in resamples(sizes):
        places = chosen + chosen.shape[1] * np.arange(RESAMPLES)[:, None]
        counts.append(np.bincount(places.ravel(), minlength=places.size).reshape(chosen.shape).astype(float))
    return counts
