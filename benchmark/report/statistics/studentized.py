"""Tukey's p: the distribution of the range of several means over their standard error."""

from __future__ import annotations

import math
from functools import cache

from scipy.special import ndtr

from benchmark.report.statistics.max_t import FACTOR_NODES, factor_weights, scale_nodes, step_of_p


@cache
def studentized_range_p(t: float, count: int, degrees: float) -> float:
    """The p of a difference between two of `count` means that is t standard errors of a difference.

    P(range > q) with q = √2 t: given the largest mean z and the scale s, the others lie in (z − q s, z).
    """
    scale, scale_weights = scale_nodes(degrees)  # (S,)
    inside = ndtr(FACTOR_NODES[:, None]) - ndtr(FACTOR_NODES[:, None] - math.sqrt(2) * t * scale[None])  # (U, S)
    below = count * (factor_weights() @ inside ** (count - 1) @ scale_weights)
    return step_of_p(1 - float(below))
