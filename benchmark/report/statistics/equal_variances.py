"""Brown and Forsythe's test of equal variances, on the residuals of a model.

M. B. Brown and A. B. Forsythe, Robust tests for the equality of variances, J. Amer. Statist. Assoc. 69 (1974).
Residuals of few runs are dependent and their median absolute deviations far from F distributed, so the statistic is
compared with its own distribution in the same table, simulated with normal errors of one variance.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

DRAWS, SEED = 4000, 20_26  # of the simulated distribution
MIN_RUNS = 3  # of a row; two values are always equally far from their median


def brown_forsythe_p(
    residuals: NDArray[np.float64], owners: NDArray[np.int_], residual_maker: NDArray[np.float64]
) -> float | None:
    """The p of equal variances over rows; None unless two rows have three runs each, or without any residual.

    residuals: (N,); owners: (N,) the row of each run; residual_maker: (N, N), errors -> residuals of the same model.
    """
    counts = np.bincount(owners)
    tested = tuple(int(row) for row in np.flatnonzero(counts >= MIN_RUNS))
    if len(tested) < 2 or not np.abs(residuals).max() > 1e-12:
        return None
    observed = statistic(residuals[None], owners, tested)[0]
    shape = residual_maker.shape
    null = null_distribution(np.round(residual_maker, 12).tobytes(), shape, tuple(owners.tolist()), tested)
    return float((1 + (null >= observed - 1e-9).sum()) / (1 + DRAWS))


@cache
def null_distribution(
    residual_maker: bytes, shape: tuple[int, int], owners: tuple[int, ...], tested: tuple[int, ...]
) -> NDArray[np.float64]:
    """(DRAWS,) the statistic of residuals that normal errors of one variance leave in this table."""
    maker = np.frombuffer(residual_maker).reshape(shape)
    errors = np.random.default_rng(SEED).normal(size=(DRAWS, shape[0]))
    return statistic(errors @ maker.T, np.array(owners), tested)


def statistic(residuals: NDArray[np.float64], owners: NDArray[np.int_], tested: tuple[int, ...]) -> NDArray[np.float64]:
    """(B,) the F ratio of the absolute deviations from each row's median.  residuals: (B, N)."""
    groups = [residuals[:, owners == row] for row in tested]
    deviations = [np.abs(group - np.median(group, axis=1, keepdims=True)) for group in groups]  # each (B, n)
    counts = np.array([group.shape[1] for group in groups])
    means = np.stack([each.mean(1) for each in deviations], axis=1)  # (B, K)
    grand = (means * counts).sum(1) / counts.sum()
    between = (counts * (means - grand[:, None]) ** 2).sum(1) / (len(groups) - 1)
    within = sum(((each - mean[:, None]) ** 2).sum(1) for each, mean in zip(deviations, means.T, strict=True))
    return between / np.maximum(within / (counts.sum() - len(groups)), 1e-300)
