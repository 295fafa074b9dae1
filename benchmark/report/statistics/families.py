"""Families of comparisons on one pair, each with one error rate for all its comparisons together.

against(model, baseline)    every other row minus the baseline: Dunnett's simultaneous intervals and p
all_pairs_p(model)          all rows with all others: Tukey's p (Tukey and Kramer's for incomplete tables)
best_rows(model)            the row with the best mean and those not told from the best: Hsu's comparisons with the best
leading_rows(model, rows)   the best and the second mean, for a table in print

C. W. Dunnett, J. Amer. Statist. Assoc. 50 (1955); J. C. Hsu, Ann. Statist. 9 (1981).  Where the rows' variances differ
too much for one residual, the paired t test takes over, with Bonferroni's correction for the number of comparisons.

With several teachers every difference has degrees of freedom of its own, and its limit is taken at these: M. Hasler and
L. A. Hothorn, Multiple contrast tests in the presence of heteroscedasticity, Biometrical Journal 50 (2008).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass

import numpy as np

from benchmark.report.statistics.max_t import Loadings, max_t_p, max_t_quantile, product_structure, studentized_range_p
from benchmark.report.statistics.model import PairModel, contrast_covariances
from benchmark.report.statistics.paired import Paired, paired_difference
from benchmark.report.statistics.summary import LEVEL, t_quantile

MODEL, PAIRED = "model", "paired t"  # what a contrast comes from
BETTER, WORSE, INCONCLUSIVE, TOO_FEW = "better", "worse", "cannot be told", "n too small"


@dataclass(frozen=True, slots=True)
class Contrast:
    """A row minus the baseline of its family; low, high and p are simultaneous over the family."""

    difference: float
    error: float | None = None  # standard error; None: n too small, and so are the fields below
    degrees: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    source: str = MODEL

    @property
    def verdict(self) -> str:
        """The verdict by the simultaneous interval."""
        if self.low is None:
            return TOO_FEW
        return BETTER if self.low > 0 else WORSE if self.high < 0 else INCONCLUSIVE


def against(model: PairModel, baseline: Hashable) -> dict[Hashable, Contrast | None]:
    """Every other row -> the row minus the baseline; None where no chain of common blocks joins the two."""
    others = [row for row in model.rows if row != baseline]
    if model.unequal:
        pairs = {row: paired_difference(model.column[row], model.column[baseline]) for row in others}
        return {row: bonferroni(paired, len(others)) for row, paired in pairs.items()}
    loadings = family_loadings(model, baseline)
    return {row: dunnett(model, row, baseline, loadings) for row in others}


def family_loadings(model: PairModel, baseline: Hashable) -> Loadings:
    """The product structure of the correlations of all estimable differences to the baseline; () without any."""
    base = model.rows.index(baseline)
    joined = [i for i in range(len(model.rows)) if i != base and model.connected[i, base]]
    covariances = contrast_covariances(model, base)[np.ix_(joined, joined)]
    scales = np.sqrt(np.diag(covariances))
    return product_structure(covariances / np.outer(scales, scales)) if joined else ()


def dunnett(model: PairModel, row: Hashable, baseline: Hashable, loadings: Loadings) -> Contrast | None:
    """The row minus the baseline with Dunnett's interval and p for the whole family."""
    difference, error = model.difference(row, baseline), model.error(row, baseline)
    if difference is None or error is None:
        return None if difference is None else Contrast(difference)
    degrees = model.degrees(row, baseline)
    half_width = max_t_quantile(loadings, degrees) * error
    p = max_t_p(abs(difference) / error, loadings, degrees) if error else float(difference == 0)
    return Contrast(difference, error, degrees, difference - half_width, difference + half_width, p)


def bonferroni(paired: Paired | None, comparisons: int) -> Contrast | None:
    """The paired difference with the t interval and p of Bonferroni's correction."""
    if paired is None or paired.sd is None:
        return paired and Contrast(paired.mean, source=PAIRED)
    half_width = t_quantile(paired.degrees, 1 - (1 - LEVEL) / comparisons) * paired.error
    limits, p = (paired.mean - half_width, paired.mean + half_width), min(1.0, comparisons * paired.p)
    return Contrast(paired.mean, paired.error, paired.degrees, *limits, p, PAIRED)


def all_pairs_p(model: PairModel, a: Hashable, b: Hashable) -> float | None:
    """The p of a against b in the family of all pairs of rows; None where n is too small."""
    count = len(model.rows)
    if model.unequal:
        contrast = bonferroni(paired_difference(model.column[a], model.column[b]), count * (count - 1) // 2)
        return contrast and contrast.p
    difference, error = model.difference(a, b), model.error(a, b)
    if difference is None or error is None:
        return None
    return (
        studentized_range_p(abs(difference) / error, count, model.degrees(a, b)) if error else 1.0 * (difference == 0)
    )


def best_rows(model: PairModel) -> tuple[Hashable | None, set[Hashable]]:
    """(Row with the best mean, the other rows not told from the best); (None, none) where no spread is known.

    A row is told from the best if some other row is better by its one-sided Dunnett limit with that row as baseline.
    With unequal variances no row but the best is named: a noisy one must not gain by its noise.
    """
    if model.residual is None or not model.connected.all():
        return None, set()
    best = model.rows[int(np.argmax(np.round(model.effects, 12)))]
    others = [row for row in model.rows if row != best] if not model.unequal else []
    return best, {row for row in others if not beaten(model, row)}


def leading_rows(model: PairModel, rows: Collection[Hashable]) -> tuple[set[Hashable], set[Hashable]]:
    """(Rows with the best mean, those with the second best) among some rows; none where no spread is known."""
    if model.residual is None or not model.connected.all():
        return set(), set()
    return top_two({row: float(model.effects[i]) for i, row in enumerate(model.rows) if row in rows})


def top_two(values: Mapping[Hashable, float]) -> tuple[set[Hashable], set[Hashable]]:
    """(Rows with the largest value, those with the next smaller one); equal values share their place."""
    rounded_values = {row: round(value, 12) for row, value in values.items()}
    levels = sorted(set(rounded_values.values()), reverse=True)
    best, second = ({row for row in values if rounded_values[row] in levels[k : k + 1]} for k in (0, 1))
    return best, second


def beaten(model: PairModel, row: Hashable) -> bool:
    """Whether some other row is better, at one error rate of 5 % for all others together."""
    loadings, others = family_loadings(model, row), [other for other in model.rows if other != row]
    limits = {other: max_t_quantile(loadings, model.degrees(other, row), two_sided=False) for other in others}
    return max(model.difference(other, row) - limits[other] * model.error(other, row) for other in others) > 0
