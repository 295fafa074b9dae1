"""Is a number reproduced?  Two one-sided tests (TOST) of the difference between our mean and a published one.

D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power approach for assessing the
equivalence of average bioavailability, J. Pharmacokinet. Biopharm. 15 (1987).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmark.report.statistics.summary import Spread, t_quantile

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "inconclusive"
MARGIN = 0.007  # differences up to this one count as none, a fraction
TOST_LEVEL = 0.90  # two one-sided tests at 5 % are an interval at 90 %


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Ours minus theirs with its 90 % interval; fractions."""

    difference: float
    low: float | None = None  # None: no spread is known, so there is no interval
    high: float | None = None
    seeds_needed: int | None = None  # that would settle it, if difference and spread stay; None: no number would

    @property
    def verdict(self) -> str:
        """PASS: the interval lies within the margin; FAIL: wholly outside; otherwise INCONCLUSIVE."""
        if self.low is None:
            return INCONCLUSIVE
        if max(-self.low, self.high) <= MARGIN:
            return PASS
        return FAIL if self.low > MARGIN or self.high < -MARGIN else INCONCLUSIVE


def equivalence(difference: float, n: float, spread: Spread | None, theirs: Spread | None = None) -> Equivalence:
    """The comparison of the mean of n runs with a published number.

    n: not whole where runs depend on each other.  spread: of our runs between seeds; None: not known.  theirs: the
    standard error of their mean, a fraction, with its degrees of freedom; None takes the number as exact.
    """
    if spread is None:
        return Equivalence(difference)
    parts = [(spread.sd**2 / n, spread.degrees)] + ([(theirs.sd**2, theirs.degrees)] if theirs else [])
    variance = sum(part for part, _ in parts)
    uncertainty = sum(part**2 / degrees for part, degrees in parts)
    degrees = variance**2 / uncertainty if uncertainty else math.inf  # Satterthwaite
    half_width = t_quantile(degrees, TOST_LEVEL) * math.sqrt(variance)
    needed = seeds_needed(difference, spread, theirs.sd if theirs else 0.0)
    return Equivalence(difference, difference - half_width, difference + half_width, needed)


def seeds_needed(difference: float, spread: Spread, published_error: float) -> int | None:
    """The runs with which the interval would no longer contain a limit of the margin; None if no number is enough."""
    distance = abs(abs(difference) - MARGIN)
    room = (distance / t_quantile(spread.degrees, TOST_LEVEL)) ** 2 - published_error**2
    return max(1, math.ceil(spread.sd**2 / room)) if room > 1e-14 else None
