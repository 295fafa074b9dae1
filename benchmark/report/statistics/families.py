"""Families of comparisons on one pair, each with one error rate for all its comparisons together.

against(model, baseline)        every other row minus a declared baseline: Dunnett's simultaneous intervals and p
all_pairs(model)                every row minus every other: Tukey's (Tukey and Kramer's for incomplete tables)
best_rows(model)                the row with the best mean and those not told from the best: Hsu's comparisons
leading_rows(model, rows)       the best and the second mean, for a table in print
verdicts_over_pairs(contrasts)  verdicts on a row in several pairs of networks together: Holm's adjustment

C. W. Dunnett, J. Amer. Statist. Assoc. 50 (1955); J. C. Hsu, Ann. Statist. 9 (1981).  Where the rows' variances differ
too much for one residual, the paired t test takes over, with Bonferroni's correction against one baseline and Holm's
for all pairs of rows.

A row with one run is compared by the spread of the others.  That its own spread is the same cannot be tested, so there
is an interval and no verdict, and it is not among the best of its column.

With several teachers every difference has degrees of freedom of its own, and its limit is taken at these: M. Hasler and
L. A. Hothorn, Multiple contrast tests in the presence of heteroscedasticity, Biometrical Journal 50 (2008).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from benchmark.report.statistics.max_t import (
    Loadings,
    max_t_p,
    max_t_quantile,
    product_structure,
    studentized_range_p,
    studentized_range_quantile,
)
from benchmark.report.statistics.model import PairModel, contrast_covariances
from benchmark.report.statistics.paired import ALPHA, Paired, holm, paired_difference
from benchmark.report.statistics.summary import LEVEL, t_quantile

DUNNETT, TUKEY = "Dunnett", "Tukey"  # what interval and p of a contrast are by
PAIRED_BONFERRONI, PAIRED_HOLM = "paired t, Bonferroni", "paired t, Holm"
METHODS = {DUNNETT: (max_t_quantile, max_t_p), TUKEY: (studentized_range_quantile, studentized_range_p)}
BETTER, WORSE, INCONCLUSIVE = "better", "worse", "cannot be told"
ONE_RUN, TOO_FEW = "one run", "n too small"  # there is no verdict
NO_VERDICT = (ONE_RUN, TOO_FEW)
MIN_RUNS = 2  # of a row that is judged


@dataclass(frozen=True, slots=True)
class Contrast:
    """A row minus another one; low, high and p are simultaneous over the family."""

    difference: float
    error: float | None = None  # standard error; None: n too small, and so are the fields below
    degrees: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    source: str = DUNNETT
    one_run: bool = False  # whether either row has one run only

    @property
    def verdict(self) -> str:
        """The verdict by the p of the family; by Holm's adjustment it may be told apart before its interval is."""
        if self.low is None:
            return TOO_FEW
        if self.one_run:
            return ONE_RUN
        return INCONCLUSIVE if self.p >= ALPHA else BETTER if self.difference > 0 else WORSE

    @property
    def reversed(self) -> Contrast:
        """The other row minus this one."""
        low, high = (None, None) if self.low is None else (0.0 - self.high, 0.0 - self.low)
        return replace(self, difference=0.0 - self.difference, low=low, high=high)


def against(model: PairModel, baseline: Hashable) -> dict[Hashable, Contrast | None]:
    """Every other row -> the row minus the baseline; None where no chain of common blocks joins the two."""
    others = [row for row in model.rows if row != baseline]
    if model.unequal:
        pairs = {row: paired_difference(model.column[row], model.column[baseline]) for row in others}
        return {row: bonferroni(paired, len(others)) for row, paired in pairs.items()}
    loadings = family_loadings(model, baseline, others)
    return {row: simultaneous(model, row, baseline, DUNNETT, loadings) for row in others}


def all_pairs(model: PairModel) -> dict[tuple[Hashable, Hashable], Contrast | None]:
    """(Row, other row) -> the row minus the other, in the family of all pairs of rows; None as in `against`."""
    pairs = list(combinations(model.rows, 2))
    if model.unequal:
        found = bonferroni_holm([paired_difference(model.column[a], model.column[b]) for a, b in pairs])
    else:
        found = [simultaneous(model, a, b, TUKEY, len(model.rows)) for a, b in pairs]
    forward = dict(zip(pairs, found, strict=True))
    return forward | {(b, a): contrast and contrast.reversed for (a, b), contrast in forward.items()}


def family_loadings(model: PairModel, baseline: Hashable, others: Collection[Hashable]) -> Loadings:
    """The product structure of the correlations of the others' estimable differences to the baseline; () for none."""
    base = model.rows.index(baseline)
    joined = [i for i, row in enumerate(model.rows) if row in others and model.connected[i, base]]
    covariances = contrast_covariances(model, base)[np.ix_(joined, joined)]
    scales = np.sqrt(np.diag(covariances))
    return product_structure(covariances / np.outer(scales, scales)) if joined else ()


def simultaneous(model: PairModel, a: Hashable, b: Hashable, source: str, family: Loadings | int) -> Contrast | None:
    """a minus b by the model.  family: what the limits of `source` depend on, loadings or the number of rows."""
    difference, error = model.difference(a, b), model.error(a, b)
    if difference is None or error is None:
        return None if difference is None else Contrast(difference, source=source)
    degrees, (quantile, p_of) = model.degrees(a, b), METHODS[source]
    half_width = quantile(family, degrees) * error
    limits = difference - half_width, difference + half_width
    p = p_of(abs(difference) / error, family, degrees) if error else float(difference == 0)
    one_run = min(len(model.column[row]) for row in (a, b)) < MIN_RUNS
    return Contrast(difference, error, degrees, *limits, p, source, one_run)


def bonferroni(paired: Paired | None, comparisons: int) -> Contrast | None:
    """The paired difference with the t interval and p of Bonferroni's correction."""
    if paired is None or paired.sd is None:
        return paired and Contrast(paired.mean, source=PAIRED_BONFERRONI)
    half_width = t_quantile(paired.degrees, 1 - (1 - LEVEL) / comparisons) * paired.error
    limits, p = (paired.mean - half_width, paired.mean + half_width), min(1.0, comparisons * paired.p)
    return Contrast(paired.mean, paired.error, paired.degrees, *limits, p, PAIRED_BONFERRONI)


def bonferroni_holm(family: Sequence[Paired | None]) -> list[Contrast | None]:
    """The paired differences of a family with Bonferroni's intervals and Holm's p."""
    found = [bonferroni(paired, len(family)) for paired in family]
    known = [place for place, contrast in enumerate(found) if contrast and contrast.p is not None]
    for place, p in zip(known, holm([family[place].p for place in known]), strict=True):
        found[place] = replace(found[place], p=p, source=PAIRED_HOLM)
    return found


def verdicts_over_pairs(contrasts: Sequence[Contrast]) -> list[str]:
    """The verdicts on a row in several pairs of networks, by Holm's adjustment of its p over those with a verdict.

    Each p is simultaneous over the rows of its pair: in 95 % of studies no verdict on any row in any pair is wrong.
    """
    judged = [place for place, contrast in enumerate(contrasts) if contrast.verdict not in NO_VERDICT]
    verdicts = [contrast.verdict for contrast in contrasts]
    for place, p in zip(judged, holm([contrasts[place].p for place in judged]), strict=True):
        verdicts[place] = replace(contrasts[place], p=p).verdict
    return verdicts


# ---- the best of a column
def judged_rows(model: PairModel) -> list[Hashable]:
    """The rows that may be the best of their column; none where no spread is known, or some cannot be compared."""
    places = [i for i, values in enumerate(model.column.values()) if len(values) >= MIN_RUNS]
    if model.residual is None or not model.connected[np.ix_(places, places)].all():
        return []
    return [model.rows[i] for i in places]


def best_rows(model: PairModel) -> tuple[Hashable | None, set[Hashable]]:
    """(Row with the best mean, the other rows not told from the best); (None, none) where no spread is known.

    A row is told from the best if some other row is better by its one-sided Dunnett limit with that row as baseline.
    With unequal variances no row but the best is named: a noisy one must not gain by its noise.
    """
    rows = judged_rows(model)
    if not rows:
        return None, set()
    effects = {row: round(float(model.effects[model.rows.index(row)]), 12) for row in rows}
    best = max(rows, key=effects.get)
    others = [row for row in rows if row != best] if not model.unequal else []
    return best, {row for row in others if not beaten(model, row, [other for other in rows if other != row])}


def beaten(model: PairModel, row: Hashable, others: Sequence[Hashable]) -> bool:
    """Whether some other row is better, at one error rate of 5 % for all others together."""
    loadings = family_loadings(model, row, others)
    limits = {other: max_t_quantile(loadings, model.degrees(other, row), two_sided=False) for other in others}
    return max(model.difference(other, row) - limits[other] * model.error(other, row) for other in others) > 0


def leading_rows(model: PairModel, rows: Collection[Hashable]) -> tuple[set[Hashable], set[Hashable]]:
    """(Rows with the best mean, those with the second best) among some rows; none where no spread is known."""
    places = {row: model.rows.index(row) for row in judged_rows(model) if row in rows}
    return top_two({row: float(model.effects[i]) for row, i in places.items()})


def top_two(values: Mapping[Hashable, float]) -> tuple[set[Hashable], set[Hashable]]:
    """(Rows with the largest value, those with the next smaller one); equal values share their place."""
    rounded_values = {row: round(value, 12) for row, value in values.items()}
    levels = sorted(set(rounded_values.values()), reverse=True)
    best, second = ({row for row in values if rounded_values[row] in levels[k : k + 1]} for k in (0, 1))
    return best, second
