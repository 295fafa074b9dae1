"""What a test can find: the smallest true difference that it detects in 80 % of cases."""

from __future__ import annotations

from functools import cache

from scipy.optimize import brentq
from scipy.stats import nct

POWER = 0.8


def minimum_detectable_difference(error: float, degrees: float, limit: float) -> float:
    """The true difference that a two-sided test detects in 80 % of cases.

    error: the standard error of the difference, in its unit; degrees: of freedom of the standard deviation behind it;
    limit: the value that |t| must exceed.  The noncentral t distribution is as far above `limit` in 80 % of cases.
    """
    return noncentrality(degrees, limit) * error


@cache
def noncentrality(degrees: float, limit: float) -> float:
    """The shift, in standard errors, with which t is above `limit` in 80 % of cases."""
    return float(brentq(lambda shift: nct.sf(limit, degrees, shift) - POWER, limit / 2, 3 * limit + 1))
