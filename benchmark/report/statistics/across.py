"""Statistics across pairs of networks: ranks with their tests, interquartile mean, probability of improvement.

J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006).
R. Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, NeurIPS 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, friedmanchisquare, rankdata, studentized_range, trim_mean

from benchmark.report.statistics.summary import LEVEL

RESAMPLES, SEED = 2000, 20_26
Interval = tuple[float, float, float]  # estimate, low, high


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


def interquartile_mean(strata: Sequence[Sequence[float]]) -> Interval | None:
    """The mean of the middle half of all values, with a percentile interval that resamples within each stratum."""
    return stratified_bootstrap([np.asarray(each, float) for each in strata], trimmed)


def trimmed(*strata: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """The interquartile mean over the values of all strata."""
    return trim_mean(np.concatenate(strata, axis=axis), 0.25, axis=axis)


def probability_of_improvement(row: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> Interval | None:
    """The chance that a run of the row beats one of the other on the same pair, averaged over pairs; ties count half.

    row, other: values by pair, in the same order of pairs.
    """
    count = len(row)

    def improvement(*samples: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
        """The share of wins over all pairings of runs, by pair, then the mean over pairs."""
        shares = []
        for mine, theirs in zip(samples[:count], samples[count:], strict=True):
            gaps = np.moveaxis(mine, axis, -1)[..., :, None] - np.moveaxis(theirs, axis, -1)[..., None, :]
            shares.append(((gaps > 1e-12) + 0.5 * (np.abs(gaps) <= 1e-12)).mean((-2, -1)))
        return np.mean(shares, axis=0)

    return stratified_bootstrap([np.asarray(each, float) for each in (*row, *other)], improvement)


def stratified_bootstrap(strata: list[NDArray[np.float64]], statistic) -> Interval | None:
    """Estimate and percentile interval; None where a stratum has a single value, which cannot be resampled."""
    if not strata or min(map(len, strata)) < 2:
        return None
    estimate = float(statistic(*strata))
    options = {"n_resamples": RESAMPLES, "vectorized": True, "paired": False, "method": "percentile"}
    found = bootstrap(strata, statistic, confidence_level=LEVEL, rng=np.random.default_rng(SEED), **options)
    return estimate, float(found.confidence_interval.low), float(found.confidence_interval.high)
