"""The model of one pair of networks: value = row + seed + residual, by least squares over all runs of the pair.

Runs of one seed start from the same weights and see the same batches, so the seed is a block.  The residual standard
deviation, with its degrees of freedom, serves every comparison of the pair; tables may be incomplete.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.report.statistics.equal_variances import brown_forsythe_p
from benchmark.report.statistics.summary import rounded

Column = Mapping[Hashable, Mapping[int, float]]  # row -> seed -> value
REFUTED = 0.05  # below this p of Brown and Forsythe's test the variances are taken as unequal
NOISE = 1e-12  # a smaller standard deviation is rounding


@dataclass(frozen=True, slots=True)
class Spread:
    """A standard deviation and its degrees of freedom."""

    sd: float
    degrees: float


@dataclass(frozen=True)
class PairModel:
    """The fitted model of a column; values in the unit of the input."""

    column: Column  # without rows that have no value
    effects: NDArray[np.float64]  # (K,) of the rows, up to a common constant
    covariance: NDArray[np.float64]  # (K, K) of the effects, over the residual variance; of contrasts only
    connected: NDArray[np.bool_]  # (K, K) whether the difference of two rows can be estimated
    residual: Spread | None  # None without degrees of freedom
    between_seeds: Spread | None  # of one row's values around the row's mean: seed and residual together
    equal_variances_p: float | None  # None: not tested, too few runs

    @property
    def rows(self) -> list[Hashable]:
        """The rows, in the order of the arrays."""
        return list(self.column)

    @property
    def unequal(self) -> bool:
        """Whether equal variances are refuted, so that comparisons fall back to the paired t test."""
        return self.equal_variances_p is not None and self.equal_variances_p < REFUTED

    def difference(self, a: Hashable, b: Hashable) -> float | None:
        """The estimate of a minus b; None where no chain of common seeds joins them."""
        i, j = self.rows.index(a), self.rows.index(b)
        return rounded(float(self.effects[i] - self.effects[j])) if self.connected[i, j] else None

    def error(self, a: Hashable, b: Hashable) -> float | None:
        """The standard error of a minus b; None where it cannot be estimated."""
        i, j = self.rows.index(a), self.rows.index(b)
        if self.residual is None or not self.connected[i, j]:
            return None
        return self.residual.sd * math.sqrt(max(0.0, contrast_covariances(self, j)[i, i]))


def contrast_covariances(model: PairModel, base: int) -> NDArray[np.float64]:
    """(K, K) the covariances of every row minus row `base`, over the residual variance."""
    own = model.covariance[base]
    return model.covariance - own[None] - own[:, None] + own[base]


def fit_pair(column: Column) -> PairModel:
    """Fit the model to a column; the order of its rows is kept, their seeds need not be the same."""
    column = {row: dict(values) for row, values in column.items() if values}
    cells = [(i, seed, value) for i, values in enumerate(column.values()) for seed, value in sorted(values.items())]
    seeds = sorted({seed for _, seed, _ in cells})
    design = np.zeros((len(cells), len(column) + len(seeds)))  # (N, K + S)
    for place, (i, seed, _) in enumerate(cells):
        design[place, i] = design[place, len(column) + seeds.index(seed)] = 1
    values = np.array([value for *_, value in cells])
    inverse = np.linalg.pinv(design)
    effects = inverse @ values
    residuals = values - design @ effects
    degrees = len(cells) - (int(np.linalg.matrix_rank(design)) if cells else 0)
    owners = np.array([i for i, *_ in cells], int)
    p = brown_forsythe_p(residuals, owners, np.eye(len(cells)) - design @ inverse) if degrees > 0 else None
    return PairModel(
        column,
        effects[: len(column)],
        (inverse @ inverse.T)[: len(column), : len(column)],
        joined(design[:, : len(column)], design[:, len(column) :]),
        spread_of(residuals, degrees),
        between_seeds(values, owners, residuals, degrees),
        p,
    )


def joined(rows: NDArray[np.float64], seeds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(K, K) whether a chain of common seeds joins two rows.  rows: (N, K), seeds: (N, S), indicators of the runs."""
    has = rows.T @ seeds > 0  # (K, S)
    reached = (has @ has.T) > 0
    for _ in range(len(reached)):
        reached = (reached.astype(int) @ reached) > 0
    return reached


def spread_of(residuals: NDArray[np.float64], degrees: int) -> Spread | None:
    """The residual standard deviation; None without degrees of freedom."""
    if degrees <= 0:
        return None
    sd = math.sqrt(float(residuals @ residuals) / degrees)
    return Spread(sd if sd > NOISE else 0.0, degrees)


def between_seeds(
    values: NDArray[np.float64], owners: NDArray[np.int_], residuals: NDArray[np.float64], degrees: int
) -> Spread | None:
    """The standard deviation of runs around their row's mean, pooled over rows; degrees of freedom by Satterthwaite.

    A common effect of a seed moves all rows together, so it has the degrees of freedom of the seeds only.
    """
    counts = np.bincount(owners) if len(owners) else np.zeros(0)
    within = len(values) - int((counts > 0).sum())
    if within <= 0:
        return None
    means = np.bincount(owners, values) / np.maximum(counts, 1)
    total, inside = float(((values - means[owners]) ** 2).sum()), float(residuals @ residuals)
    parts = [(max(0.0, total - inside), within - degrees), (inside, degrees)]
    variance = total / within
    if variance <= NOISE**2:
        return Spread(0.0, within)
    uncertainty = sum((part / within) ** 2 / count for part, count in parts if count > 0)
    return Spread(math.sqrt(variance), min(float(within), variance**2 / uncertainty))


def pooled(spreads: Iterable[Spread | None]) -> Spread | None:
    """The root of the mean variance, weighted by degrees of freedom; None without any spread."""
    known = [spread for spread in spreads if spread]
    degrees = math.fsum(spread.degrees for spread in known)
    if not degrees:
        return None
    return Spread(math.sqrt(math.fsum(spread.degrees * spread.sd**2 for spread in known) / degrees), degrees)
