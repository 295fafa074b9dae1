"""Error rates of the report's rules by simulation: in what share of made-up studies they say something, right or wrong.

A study is one pair of networks with ROWS rows, the baseline first, and n seeds.  Errors are normal with one variance;
all rows are equal, or the last one is `effect` better than the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from benchmark.report.statistics.equal_variances import statistic
from benchmark.report.statistics.equivalence import MARGIN, TOST_LEVEL
from benchmark.report.statistics.max_t import max_t_quantile
from benchmark.report.statistics.model import REFUTED
from benchmark.report.statistics.summary import LEVEL, t_quantile

ROWS = 10
RESIDUAL, SEED_EFFECT = 0.0042, 0.002  # standard deviations, fractions
STUDIES, SEED = 20_000, 20_26
COUNTS, EFFECTS = (1, 3, 5), (0.0, 0.005, 0.01)
Values = NDArray[np.float64]  # (B, K, n) top-1 by study, row and seed
Said = NDArray[np.bool_] | None  # (B, ...) whether a rule says something; None: with this n it never does


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """How often a rule says something in simulated studies."""

    rule: str
    event: str  # what is counted
    wrong: bool  # whether it is an error
    n: int  # seeds
    effect: float  # true difference, a fraction
    rate: float | None  # share of studies; None: with this n the rule says nothing


def error_rates(studies: int = STUDIES) -> list[ErrorRate]:
    """All rates: for each number of seeds and each true difference."""
    return [rate for n in COUNTS for effect in EFFECTS for rate in setting_rates(n, effect, studies)]


def setting_rates(n: int, effect: float, studies: int) -> list[ErrorRate]:
    """The rates with n seeds and one true difference."""
    values = made_up(n, effect, studies)
    events = [*against_baseline(values, effect), *best_of_column(values, effect), *reproduction(values, effect)]
    return [
        ErrorRate(rule, event, wrong, n, effect, None if said is None else float(said.mean()))
        for rule, event, wrong, said in events
    ]


def made_up(n: int, effect: float, studies: int) -> Values:
    """The values of the studies; equal arguments give equal values."""
    generator = np.random.default_rng((SEED, n, round(1e4 * effect)))
    values = generator.normal(0, SEED_EFFECT, (studies, 1, n)) + generator.normal(0, RESIDUAL, (studies, ROWS, n))
    values[:, -1] += effect
    return values


# ---- estimates of all studies at once
def residuals_of(values: Values) -> Values:
    """What value = row + seed leaves."""
    centred = values - values.mean(2, keepdims=True)
    return centred - centred.mean(1, keepdims=True)


def residual_sd(values: Values) -> tuple[NDArray[np.float64], int]:
    """((B,) residual standard deviation, its degrees of freedom)."""
    degrees = (values.shape[1] - 1) * (values.shape[2] - 1)
    return np.sqrt((residuals_of(values) ** 2).sum((1, 2)) / degrees), degrees


def seed_spread(values: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((B,) standard deviation between the seeds of a row, (B,) its degrees of freedom by Satterthwaite)."""
    _, rows, n = values.shape
    inside = (residuals_of(values) ** 2).sum((1, 2))
    total = ((values - values.mean(2, keepdims=True)) ** 2).sum((1, 2))
    uncertainty = (total - inside) ** 2 / (n - 1) + inside**2 / ((rows - 1) * (n - 1))
    return np.sqrt(total / (rows * (n - 1))), np.minimum(total**2 / uncertainty, rows * (n - 1))


def unequal_variances(values: Values) -> NDArray[np.bool_]:
    """(B,) whether the test of equal variances, wrongly, refutes them; its limit is taken from these studies."""
    studies, rows, n = values.shape
    owners = np.repeat(np.arange(rows), n)
    found = statistic(residuals_of(values).reshape(studies, -1), owners, tuple(range(rows)))
    return found > np.quantile(found, 1 - REFUTED)


# ---- rules: (name, event, whether it is an error, whether each study says so)
def against_baseline(values: Values, effect: float) -> Iterator[tuple[str, str, bool, Said]]:
    """Verdicts against the first row: by the report's rule, and by paired t intervals without correction."""
    for rule, said in baseline_verdicts(values).items():
        null = None if said is None else (said[:, :-1] if effect else said).any(1)
        yield rule, "two equal rows told apart, any of them", True, null
        if effect:
            better = (values[:, -1] - values[:, 0]).mean(1) > 0
            yield rule, "the better row called better", False, None if said is None else said[:, -1] & better


def baseline_verdicts(values: Values) -> dict[str, Said]:
    """Rule -> (B, K - 1) whether each row is told from the first."""
    n, differences = values.shape[2], values[:, 1:] - values[:, :1]
    names = ("Dunnett", "paired t, uncorrected")
    if n == 1:
        return dict.fromkeys(names)
    means, errors = np.abs(differences.mean(2)), differences.std(2, ddof=1) / sqrt(n)
    sd, degrees = residual_sd(values)
    dunnett = means > (max_t_quantile(balanced(), degrees) * sd * sqrt(2 / n))[:, None]
    paired = means > t_quantile(n - 1, 1 - (1 - LEVEL) / (ROWS - 1)) * errors
    fallback = np.where(unequal_variances(values)[:, None], paired, dunnett)
    return dict(zip(names, (fallback, means > t_quantile(n - 1) * errors), strict=True))


def balanced() -> tuple[float, ...]:
    """The loadings of the differences to one row in a table without gaps: correlations of 0.5."""
    return (round(sqrt(0.5), 9),) * (ROWS - 1)


def best_of_column(values: Values, effect: float) -> Iterator[tuple[str, str, bool, Said]]:
    """Marks of a column by comparisons with the best; a study with unequal variances has none."""
    n, means, unmarked, marks = values.shape[2], values.mean(2), None, None
    if n > 1:
        sd, degrees = residual_sd(values)
        limit = (max_t_quantile(balanced(), degrees, two_sided=False) * sd * sqrt(2 / n))[:, None]
        unmarked, marks = means.max(1, keepdims=True) - means > limit, ~unequal_variances(values)
    yield "Hsu", "a best row left unmarked", True, None if unmarked is None else unmarked[:, -1] & marks
    if effect:
        yield "Hsu", "a worse row marked", False, None if unmarked is None else ~unmarked[:, 1] & marks


def reproduction(values: Values, effect: float) -> Iterator[tuple[str, str, bool, Said]]:
    """PASS and FAIL for the last row against a published number of 0, which is `effect` away.

    With n = 1 the spread is that of another pair with three seeds.
    """
    n, studies = values.shape[2], len(values)
    sd, degrees = seed_spread(values if n > 1 else made_up(3, 0.0, studies))
    half_width = student_t.ppf((1 + TOST_LEVEL) / 2, degrees) * sd / sqrt(n)
    distance = np.abs(values[:, -1].mean(1))
    yield "TOST", "PASS", effect > MARGIN, distance + half_width <= MARGIN
    yield "TOST", "FAIL", effect <= MARGIN, distance - half_width > MARGIN
