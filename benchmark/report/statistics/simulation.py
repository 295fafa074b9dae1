"""Error rates of the report's rules by simulation: in what share of made-up studies they say something, right or wrong.

A study is one pair of networks with ROWS rows, the baseline first, and n seeds, or PAIRS such pairs.  Errors are normal
with one variance; all rows are equal, or the last one is `effect` better than the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from benchmark.report.statistics.equal_variances import statistic
from benchmark.report.statistics.equivalence import MARGIN, TOST_LEVEL
from benchmark.report.statistics.families import family_loadings
from benchmark.report.statistics.max_t import max_t_quantile, studentized_range_quantile
from benchmark.report.statistics.model import REFUTED, fit_pair
from benchmark.report.statistics.paired import ALPHA
from benchmark.report.statistics.summary import LEVEL, t_quantile

ROWS, PAIRS = 10, 13
RESIDUAL, SEED_EFFECT = 0.0042, 0.002  # standard deviations, fractions
SEED = 20_26
PUBLISHED_RUNS, NOISY = 3, 2  # runs behind a published mean; how many times the others' sd a row with one run has
Values = NDArray[np.float64]  # (B, K, n) top-1 by study, row and seed
Said = NDArray[np.bool_] | None  # (B, ...) whether a rule says something; None: with this n it never does
Event = tuple[str, str, bool, Said]  # rule, event, whether it is an error, whether each study says so
EQUAL, FOUND = "two equal rows told apart, any of them", "the better row called better"


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


def unequal_variances(values: Values) -> Said:
    """(B,) whether the test of equal variances, wrongly, refutes them; its limit is taken from these studies."""
    studies, rows, n = values.shape
    if n == 1:
        return None
    owners = np.repeat(np.arange(rows), n)
    found = statistic(residuals_of(values).reshape(studies, -1), owners, tuple(range(rows)))
    return found > np.quantile(found, 1 - REFUTED)


# ---- rules
def against_baseline(values: Values, unequal: Said, effect: float) -> Iterator[Event]:
    """Verdicts against the first row: by the report's rule, and by paired t intervals without correction."""
    for rule, said in baseline_verdicts(values, unequal).items():
        null = None if said is None else (said[:, :-1] if effect else said).any(1)
        yield rule, EQUAL, True, null
        if effect:
            better = (values[:, -1] - values[:, 0]).mean(1) > 0
            yield rule, FOUND, False, None if said is None else said[:, -1] & better


def baseline_verdicts(values: Values, unequal: Said, level: float = LEVEL) -> dict[str, Said]:
    """Rule -> (B, K - 1) whether each row is told from the first.  unequal: (B,), as `unequal_variances` says."""
    n, differences = values.shape[2], values[:, 1:] - values[:, :1]
    names = ("Dunnett", "paired t, uncorrected")
    if n == 1:
        return dict.fromkeys(names)
    means, errors = np.abs(differences.mean(2)), differences.std(2, ddof=1) / sqrt(n)
    sd, degrees = residual_sd(values)
    dunnett = means > (max_t_quantile(balanced(), degrees, level=level) * sd * sqrt(2 / n))[:, None]
    paired = means > t_quantile(n - 1, 1 - (1 - level) / (ROWS - 1)) * errors
    fallback = np.where(unequal[:, None], paired, dunnett)
    return dict(zip(names, (fallback, means > t_quantile(n - 1) * errors), strict=True))


def any_baseline(values: Values, unequal: Said, effect: float) -> Iterator[Event]:
    """Verdicts of all rows against all others."""
    said = (
        all_pairs_verdicts(values, unequal) if values.shape[2] > 1 else None
    )  # (B, pairs of rows), the last with the first
    first, second = np.triu_indices(ROWS, 1)
    equal = (first < ROWS - 1) & (second < ROWS - 1) | (effect == 0)
    yield "Tukey", EQUAL, True, None if said is None else said[:, equal].any(1)
    if effect:
        better = (values[:, -1] - values[:, 0]).mean(1) > 0
        yield "Tukey", FOUND, False, None if said is None else said[:, ROWS - 2] & better


def all_pairs_verdicts(values: Values, unequal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(B, K (K - 1) / 2) whether two rows are told apart, in the order (0, 1), (0, 2), ..."""
    n, (first, second) = values.shape[2], np.triu_indices(ROWS, 1)
    means, (sd, degrees) = values.mean(2), residual_sd(values)
    limit = studentized_range_quantile(ROWS, degrees) * sd * sqrt(2 / n)
    said = np.abs(means[:, first] - means[:, second]) > limit[:, None]
    gaps = values[unequal][:, first] - values[unequal][:, second]
    t = np.abs(gaps.mean(2)) / (gaps.std(2, ddof=1) / sqrt(n))
    said[unequal] = holm_rejects(2 * student_t.sf(t, n - 1))
    return said


def holm_rejects(ps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(B, M) which of M hypotheses Holm's procedure rejects in each study."""
    order, count = ps.argsort(1), ps.shape[1]
    adjusted = np.take_along_axis(ps, order, 1) * (count - np.arange(count))
    rejected = np.logical_and.accumulate(adjusted < ALPHA, axis=1)
    return np.take_along_axis(rejected, order.argsort(1), 1)


def one_run_beside_others(values: Values) -> Iterator[Event]:
    """A row with one run: the report has no verdict on it; how often one would be wrong, were the row noisier."""
    event = "a row with one run told from an equal one"
    yield "one run", event, True, None
    difference, limit = one_run_difference(values, NOISY) if values.shape[2] > 1 else (None, None)
    said = None if difference is None else np.abs(difference) > limit
    yield "one run, if it were judged", f"{event}, its sd {NOISY} times theirs", True, said


def one_run_difference(values: Values, factor: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """((B,) the first run of the last row, times `factor`, minus the first row; (B,) the limit of this difference)."""
    others, single = values[:, :-1], values[:, -1, 0] * factor
    model = fit_pair({row: dict(enumerate(own if row < ROWS - 1 else own[:1])) for row, own in enumerate(values[0])})
    sd, degrees = residual_sd(others)
    limit = max_t_quantile(family_loadings(model, 0, range(1, ROWS)), degrees)
    seed = others[:, :, 0].mean(1) - others.mean((1, 2))
    return single - seed - others[:, 0].mean(1), limit * sd * (model.error(ROWS - 1, 0) / model.residual.sd)


def over_pairs(values: NDArray[np.float64]) -> Iterator[Event]:
    """Equal rows called better than the first on any of several pairs, with Holm's adjustment over them and without.

    values: (B, P, K, n).  Holm's procedure rejects any if the smallest p, times the number of pairs, is below 5 %.
    """
    pairs, n = values.shape[1], values.shape[3]
    tables = values.reshape(-1, ROWS, n)
    unequal = unequal_variances(tables)
    better = (tables[:, 1:] - tables[:, :1]).mean(2) > 0
    for rule, level in ((f"{pairs} pairs, Holm", 1 - (1 - LEVEL) / pairs), (f"{pairs} pairs, each by itself", LEVEL)):
        said = baseline_verdicts(tables, unequal, level)["Dunnett"]
        found = None if said is None else (said & better).reshape(len(values), -1).any(1)
        yield rule, "an equal row called better on some pair", True, found


def balanced() -> tuple[float, ...]:
    """The loadings of the differences to one row in a table without gaps: correlations of 0.5."""
    return (round(sqrt(0.5), 9),) * (ROWS - 1)


def best_of_column(values: Values, unequal: Said, effect: float) -> Iterator[Event]:
    """Marks of a column by comparisons with the best; a study with unequal variances has none."""
    n, means, unmarked, marks = values.shape[2], values.mean(2), None, None
    if n > 1:
        sd, degrees = residual_sd(values)
        limit = (max_t_quantile(balanced(), degrees, two_sided=False) * sd * sqrt(2 / n))[:, None]
        unmarked, marks = means.max(1, keepdims=True) - means > limit, ~unequal
    yield "Hsu", "a truly best row is not marked", True, None if unmarked is None else unmarked[:, -1] & marks
    if effect:
        yield "Hsu", "a truly worse row is marked ≈", False, None if unmarked is None else ~unmarked[:, 1] & marks


def reproduction(values: Values, effect: float) -> Iterator[Event]:
    """PASS and FAIL for the last row against a published mean that is truly `effect` away, exact or with a spread.

    With n = 1 the spread is that of another pair with three seeds.  At the margin itself both are errors.
    """
    n, studies = values.shape[2], len(values)
    sd, degrees = seed_spread(values if n > 1 else made_up(3, 0.0, studies))
    theirs = np.random.default_rng((SEED, n)).normal(0, hypot(RESIDUAL, SEED_EFFECT), (studies, PUBLISHED_RUNS))
    own, published = sd**2 / n, theirs.var(1, ddof=1) / PUBLISHED_RUNS
    welch = (own + published) ** 2 / (own**2 / degrees + published**2 / (PUBLISHED_RUNS - 1))
    exact = values[:, -1].mean(1)
    for rule, difference, variance, df in (
        ("TOST", exact, own, degrees),
        ("TOST, published spread", exact - theirs.mean(1), own + published, welch),
    ):
        distance, half_width = np.abs(difference), student_t.ppf((1 + TOST_LEVEL) / 2, df) * np.sqrt(variance)
        yield rule, "PASS", effect >= MARGIN, distance + half_width <= MARGIN
        yield rule, "FAIL", effect <= MARGIN, distance - half_width > MARGIN
