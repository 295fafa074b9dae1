"""The model of one pair of networks: value = row + seed + residual, by least squares over all runs of the pair.

Runs of one seed start from the same weights and see the same batches, so the seed is a block.  The residual standard
deviation, with its degrees of freedom, serves every comparison of the pair; tables may be incomplete.

With several teachers, value = row + seed + teacher + residual: the teachers' effects sum to 0 over the pair's teachers
and are 0 for rows without a teacher, so that a row's effect is that with the average teacher.  Errors are then over
teachers as well as seeds, by the variance components of `components`, with degrees of freedom of their own for every
difference; what is assumed about a method that does better with one teacher than with another stands there.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.report.statistics.blocks import Key, ordered, seed_of, teacher_of
from benchmark.report.statistics.components import Components, fit_components
from benchmark.report.statistics.equal_variances import brown_forsythe_p
from benchmark.report.statistics.summary import NOISE, Spread, rounded

Column = Mapping[Hashable, Mapping[Key, float]]  # row -> block -> value
REFUTED = 0.05  # below this p of Brown and Forsythe's test the variances are taken as unequal


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
    components: Components | None = None  # of the variance; None with fewer than two teachers

    @property
    def rows(self) -> list[Hashable]:
        """The rows, in the order of the arrays."""
        return list(self.column)

    @property
    def unequal(self) -> bool:
        """Whether equal variances are refuted, so that comparisons fall back to the paired t test."""
        return self.equal_variances_p is not None and self.equal_variances_p < REFUTED

    def difference(self, a: Hashable, b: Hashable) -> float | None:
        """The estimate of a minus b; None where no chain of common blocks joins them."""
        i, j = self.rows.index(a), self.rows.index(b)
        return rounded(float(self.effects[i] - self.effects[j])) if self.connected[i, j] else None

    def error(self, a: Hashable, b: Hashable) -> float | None:
        """The standard error of a minus b; None where it cannot be estimated."""
        i, j = self.rows.index(a), self.rows.index(b)
        if self.residual is None or not self.connected[i, j]:
            return None
        if self.components:
            return self.components.contrast(i, j).sd
        return self.residual.sd * math.sqrt(max(0.0, contrast_covariances(self, j)[i, i]))

    def degrees(self, a: Hashable, b: Hashable) -> float:
        """The degrees of freedom of that error; of the residual where there is no more than one teacher."""
        if self.components:
            return self.components.contrast(self.rows.index(a), self.rows.index(b)).degrees
        return self.residual.degrees


def contrast_covariances(model: PairModel, base: int) -> NDArray[np.float64]:
    """(K, K) the covariances of every row minus row `base`, up to a common factor."""
    covariance = model.components.covariance() if model.components else model.covariance
    own = covariance[base]
    return covariance - own[None] - own[:, None] + own[base]


def fit_pair(column: Column) -> PairModel:
    """Fit the model to a column; the order of its rows is kept, their blocks need not be the same."""
    column = {row: dict(values) for row, values in column.items() if values}
    cells = [(i, key, values[key]) for i, values in enumerate(column.values()) for key in ordered(values)]
    values, owners = np.array([value for *_, value in cells]), np.array([i for i, *_ in cells], int)
    rows, seeds = indicators(owners, len(column)), indicators(*places([seed_of(key) for _, key, _ in cells]))
    teachers = indicators(*places([teacher_of(key) for _, key, _ in cells]))
    several = teachers.shape[1] > 1
    design = np.hstack([rows, seeds, *[teachers[:, :-1] - teachers[:, -1:]] * several])  # (N, K + S + T − 1)
    inverse = np.linalg.pinv(design, rcond=1e-10)
    effects = inverse @ values
    residuals = values - design @ effects
    degrees = len(cells) - (int(np.linalg.matrix_rank(design)) if cells else 0)
    p = brown_forsythe_p(residuals, owners, np.eye(len(cells)) - design @ inverse) if degrees > 0 else None
    return PairModel(
        column,
        effects[: len(column)],
        (inverse @ inverse.T)[: len(column), : len(column)],
        estimable(inverse @ design, len(column)) if several else joined(rows, seeds),
        spread_of(residuals, degrees),
        fit_pair(by_teacher(column)).between_seeds if several else between_seeds(values, owners, residuals, degrees),
        p,
        fit_components(values, rows, seeds, teachers, inverse[: len(column)]) if several else None,
    )


def places(groups: list[int | None]) -> tuple[NDArray[np.int_], int]:
    """((N,) the place of each run's group among the sorted ones, −1 for none; the number of groups)."""
    names = sorted({name for name in groups if name is not None})
    return np.array([-1 if name is None else names.index(name) for name in groups], int), len(names)


def indicators(owners: NDArray[np.int_], count: int) -> NDArray[np.float64]:
    """(N, count) 1 where a run belongs to a group."""
    return (owners[:, None] == np.arange(count)).astype(float)


def by_teacher(column: Column) -> Column:
    """The column with the runs of each row and teacher as a row of their own."""
    split: dict[Hashable, dict[int, float]] = {}
    for row, values in column.items():
        for key, value in values.items():
            split.setdefault((row, teacher_of(key)), {})[seed_of(key)] = value
    return split


def joined(rows: NDArray[np.float64], seeds: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(K, K) whether a chain of common seeds joins two rows.  rows: (N, K), seeds: (N, S), indicators of the runs."""
    has = rows.T @ seeds > 0  # (K, S)
    reached = (has @ has.T) > 0
    for _ in range(len(reached)):
        reached = (reached.astype(int) @ reached) > 0
    return reached


def estimable(resolution: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """(K, K) whether the difference of two of the first `count` coefficients is in the row space of the design.

    resolution: (P, P) the projection onto that space.
    """
    own = resolution[:count]
    lost = (own[:, None] - own[None]) - (np.eye(*own.shape)[:, None] - np.eye(*own.shape)[None])  # (K, K, P)
    return np.abs(lost).max(-1) < 1e-8


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
