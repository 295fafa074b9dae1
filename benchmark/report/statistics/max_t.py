"""The distributions of the largest of several correlated t statistics (Dunnett, Hsu) and of the range (Tukey).

Correlations have a product structure, ρ_ij = λ_i λ_j: exact for a balanced table, and for any other one Hsu's
factor-analytic approximation (J. Comput. Graph. Statist. 1, 1992).  Given the common factor u and the scale s of the
residual, the statistics are independent, so two sums over fixed nodes replace an integral in m dimensions.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi2, norm
from scipy.stats import t as student_t

from benchmark.report.statistics.summary import LEVEL

FACTOR_NODES = np.linspace(-8.0, 8.0, 129)  # of u; for a smooth function times the normal density sums converge fast
SCALE_NODES, FEW_DEGREES = 65, 4  # of log s; twice as many for fewer degrees, whose density is wide
MAX_LOADING = 0.999
Loadings = tuple[float, ...]  # λ of each statistic


def product_structure(correlations: NDArray[np.float64]) -> Loadings:
    """The λ whose products are nearest to the correlations, (m, m), in least squares off the diagonal."""
    others = correlations - np.diag(np.diag(correlations))
    if len(others) == 1:
        return (0.0,)
    if len(others) == 2:
        root = float(np.sqrt(abs(others[0, 1])))
        return round(root, 9), round(float(np.copysign(root, others[0, 1])), 9)
    loadings = np.sqrt(np.abs(others).sum(1) / (len(others) - 1))
    for _ in range(500):
        squares = loadings @ loadings - loadings**2
        updated = np.clip(others @ loadings / np.maximum(squares, 1e-12), -MAX_LOADING, MAX_LOADING)
        loadings, change = (loadings + updated) / 2, np.abs(updated - loadings).max()
        if change < 1e-12:
            break
    return tuple(round(float(value), 9) for value in loadings)


def max_t_p(t: float, loadings: Loadings, degrees: float, two_sided: bool = True) -> float:
    """The probability that the largest of the (absolute) statistics is above t: Dunnett's p, in steps of 1e-6."""
    return step_of_p(1 - max_t_cdf(t, tuple(sorted(loadings)), degrees, two_sided))


def step_of_p(p: float) -> float:
    """A p-value in steps of 1e-6: smaller differences are errors of the sums and may not be equal on all machines."""
    return round(min(1.0, max(0.0, p)), 6)


@cache
def max_t_quantile(loadings: Loadings, degrees: float, two_sided: bool = True, level: float = LEVEL) -> float:
    """The limit below which all (absolute) statistics lie with probability `level`."""
    tail, ordered = (1 - level) / (2 if two_sided else 1), tuple(sorted(loadings))
    low, high = (float(student_t.isf(tail / count, degrees)) for count in (1, len(loadings)))  # alone; Bonferroni's
    if len(loadings) == 1:
        return low
    return float(brentq(lambda t: max_t_cdf(t, ordered, degrees, two_sided) - level, low, 1.001 * high + 1e-9))


@cache
def max_t_cdf(t: float, loadings: Loadings, degrees: float, two_sided: bool) -> float:
    """P(max T_i <= t), or of |T_i|."""
    scale, scale_weights = scale_nodes(degrees)  # (S,)
    product = np.ones((len(FACTOR_NODES), len(scale)))  # (U, S)
    for loading, count in Counter(loadings).items():
        rest = np.sqrt(1 - loading**2)
        shift, limit = loading * FACTOR_NODES[:, None] / rest, t * scale[None] / rest
        inside = ndtr(limit - shift) - (ndtr(-limit - shift) if two_sided else 0.0)
        product *= inside**count
    return float(factor_weights() @ product @ scale_weights)


@cache
def factor_weights() -> NDArray[np.float64]:
    """(U,) the weights of the factor's nodes; their sum is 1."""
    weights = norm.pdf(FACTOR_NODES)
    return weights / weights.sum()


@cache
def scale_nodes(degrees: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(S,) nodes of s = √(χ² / degrees), evenly spaced in log s, and (S,) their weights; the sum is 1."""
    ends = np.log(np.array([chi2.ppf(1e-13, degrees), chi2.isf(1e-14, degrees)]) / degrees) / 2
    logs = np.linspace(*ends, SCALE_NODES if degrees >= FEW_DEGREES else 2 * SCALE_NODES - 1)
    weights = np.exp(degrees * (logs - np.expm1(2 * logs) / 2))  # the density of log s, up to a factor
    return np.exp(logs), weights / weights.sum()


# ---- the range of several means
def studentized_range_p(t: float, count: int, degrees: float) -> float:
    """The p of a difference between two of `count` means that is t standard errors of a difference: Tukey's."""
    return step_of_p(1 - studentized_range_cdf(t, count, degrees))


@cache
def studentized_range_cdf(t: float, count: int, degrees: float) -> float:
    """The probability that no two of `count` means differ by more than t standard errors of a difference.

    P(range <= q) with q = √2 t: given the largest mean z and the scale s, the others lie in (z − q s, z).
    """
    scale, scale_weights = scale_nodes(degrees)  # (S,)
    inside = ndtr(FACTOR_NODES[:, None]) - ndtr(FACTOR_NODES[:, None] - math.sqrt(2) * t * scale[None])  # (U, S)
    return float(count * (factor_weights() @ inside ** (count - 1) @ scale_weights))


@cache
def studentized_range_quantile(count: int, degrees: float, level: float = LEVEL) -> float:
    """The limit, in standard errors of a difference, below which all differences lie with probability `level`."""
    pairs = count * (count - 1) // 2
    low, high = (
        float(student_t.isf((1 - level) / 2 / number, degrees)) for number in (1, pairs)
    )  # alone; Bonferroni's
    if pairs == 1:
        return low
    return float(brentq(lambda t: studentized_range_cdf(t, count, degrees) - level, low, 1.001 * high + 1e-9))
