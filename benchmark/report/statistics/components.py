"""Variance components of a pair with several teachers, for comparisons that hold for other teachers as well.

To value = row + seed + teacher + residual belong three components beside the residual:

teacher         what a teacher adds to all rows that have one; it cancels in the difference of two such rows
row × teacher   what it adds to one row beyond that; estimated where two rows have two teachers in common
row × seed      what a seed adds to one row beyond what it adds to all; estimated where teachers repeat a row's seeds

Each is estimated from its mean square in the sequence rows and seeds, teacher, row × teacher, row × seed, and is 0
where that estimate is not above 0.  An interaction is pooled with the residual where it cannot be estimated or its F
test has p >= 0.25 (Bancroft's rule).  With a single taught row, row × teacher cannot be told from teacher, which then
stands for both.

Assumed: the teachers are independent trainings of one network, every component has one variance for all rows, and what
a teacher does to all rows at one seed alone (teacher × seed) is part of the residual.

F. E. Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2 (1946).
T. A. Bancroft, Analysis and inference for incompletely specified models involving the use of preliminary tests of
significance, Biometrics 20 (1964).
X. Bouthillier et al., Accounting for variance in machine learning benchmarks, MLSys 2021 (arXiv:2103.03098): why all
sources of variation belong in the error of a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from benchmark.report.statistics.summary import NOISE, Spread

Array = NDArray[np.float64]
TEACHER, RESIDUAL = "teacher", "residual"
POOLED = 0.25  # from this p of its F test on an interaction is pooled with the residual


@dataclass(frozen=True)
class Components:
    """The components, and what each contributes to the effects of the K rows."""

    squares: Array  # (M,) mean squares
    degrees: Array  # (M,) their degrees of freedom
    estimates: Mapping[str, Array]  # component -> (M,) its variance as a combination of the mean squares
    loads: Mapping[str, Array]  # component -> (K, q) how the effects depend on its q random values

    def variance(self, name: str) -> float:
        """The variance of a component; 0 for one that cannot be estimated."""
        return float(self.estimates[name] @ self.squares) if name in self.estimates else 0.0

    def contrast(self, i: int, j: int) -> Spread:
        """The standard error of row i minus row j, with its degrees of freedom by Satterthwaite."""
        weights = sum(float(((a[i] - a[j]) ** 2).sum()) * self.estimates[name] for name, a in self.loads.items())
        parts = weights * self.squares  # (M,)
        variance, uncertainty = float(parts.sum()), float((parts**2 / self.degrees).sum())
        if variance <= NOISE**2:
            return Spread(0.0, float(self.degrees[-1]))
        return Spread(math.sqrt(variance), round(variance**2 / uncertainty, 6))

    def covariance(self) -> Array:
        """(K, K) the covariance of the effects, of contrasts only; never 0, so that correlations exist."""
        least = {RESIDUAL: max(NOISE**2, 1e-9 * float(self.squares.max()))}
        return sum(max(self.variance(name), least.get(name, 0.0)) * a @ a.T for name, a in self.loads.items())


def fit_components(values: Array, rows: Array, seeds: Array, teachers: Array, effects: Array) -> Components | None:
    """Estimate the components; None where the teacher's cannot be estimated.

    values: (N,); rows, seeds, teachers: (N, K), (N, S), (N, T), indicators of the runs, those of teachers 0 for runs
    without one; effects: (K, N), values -> effects of the rows.
    """
    terms = {TEACHER: teachers, "row × teacher": products(rows, teachers), "row × seed": products(rows, seeds)}
    base = np.hstack([rows, seeds])
    forms = quadratic_forms(base, terms)
    squares, degrees = mean_squares(values, forms)
    ratios = squares / max(squares[-1], NOISE**2)
    ps = dict(zip(forms, fdtrc(degrees, degrees[-1], ratios), strict=True))
    forms = quadratic_forms(base, {name: terms[name] for name in forms if name == TEACHER or ps[name] < POOLED})
    if TEACHER not in forms:
        return None
    squares, degrees = mean_squares(values, forms)
    random = {name: terms[name] for name in forms if name != RESIDUAL}
    estimates = solve(list(random.values()), list(forms.values()), squares)
    loads = {name: effects @ indicators for name, indicators in random.items()} | {RESIDUAL: effects}
    return Components(squares, degrees, dict(zip(forms, estimates, strict=True)), loads)


def quadratic_forms(base: Array, terms: Mapping[str, Array]) -> dict[str, Array]:
    """Term -> (N, N) the form of its sum of squares after the terms before it, the residual's last.

    Projections, so their traces are the degrees of freedom.  A term without any, or that would leave the residual
    none, is left out.
    """
    forms: dict[str, Array] = {}
    design, span = base, projection(base)
    for name, indicators in terms.items():
        wider = projection(np.hstack([design, indicators]))
        if degrees_of(wider - span) and degrees_of(wider) < len(base):
            forms[name] = wider - span
            design, span = np.hstack([design, indicators]), wider
    return forms | {RESIDUAL: np.eye(len(base)) - span}


def mean_squares(values: Array, forms: Mapping[str, Array]) -> tuple[Array, Array]:
    """((M,) mean squares, (M,) degrees of freedom) of the forms."""
    degrees = np.array([degrees_of(form) for form in forms.values()], float)
    sums = np.array([float(values @ form @ values) for form in forms.values()])
    return np.maximum(sums, 0.0) / np.maximum(degrees, 1.0), degrees


def degrees_of(form: Array) -> int:
    """The rank of a projection."""
    return round(float(np.trace(form)))


def solve(terms: list[Array], forms: list[Array], squares: Array) -> list[Array]:
    """(M,) for each component: its variance as a combination of the mean squares, 0 if that is not above 0.

    The residual's is the last.  A mean square expects the residual's variance and, of its own and every later
    component, trace(Z' A Z) / degrees times its variance, for Z the indicators of the component and A the form.
    """
    units = np.eye(len(squares))
    found = [units[-1]]
    for place in reversed(range(len(terms))):
        form = forms[place] / degrees_of(forms[place])
        own, *later = (float((z * (form @ z)).sum()) for z in terms[place:])
        rest = sum(trace * other for trace, other in zip(later, found[:-1], strict=True))
        estimate = (units[place] - units[-1] - rest) / own
        found.insert(0, estimate if estimate @ squares > NOISE**2 else np.zeros(len(squares)))
    return found


def products(a: Array, b: Array) -> Array:
    """(N, p q) the indicators of all combinations of two factors, (N, p) and (N, q)."""
    return (a[:, :, None] * b[:, None, :]).reshape(len(a), -1)


def projection(design: Array) -> Array:
    """(N, N) the orthogonal projection onto the columns of a design."""
    return design @ np.linalg.pinv(design, rcond=1e-10)
