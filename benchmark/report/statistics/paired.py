"""Differences between two rows, block by block: their t interval, the sign-flip test, and Holm's adjustment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache

import numpy as np
from scipy.stats import permutation_test
from scipy.stats import t as student_t

from benchmark.report.statistics.blocks import Key, crossed_summary, matched, seed_of, teacher_of
from benchmark.report.statistics.summary import RESOLUTION, Summary, rounded, summarise

MAX_EXACT = 12  # number of differences up to which all sign flips are enumerated: 2^12 = 4,096
ALPHA = 0.05  # that a test must be able to reach to be shown


@dataclass(frozen=True, slots=True)
class Paired(Summary):
    """The summary of differences between runs of the same block; p and error are None for a single run."""

    blocks: tuple[Key, ...] = ()
    p: float | None = None  # two-sided, of the paired t test; null hypothesis: the mean difference is 0
    sign_flip: float | None = None  # exact p of the sign-flip test; None where n is too small or large for it
    error: float | None = None  # standard error of the mean
    degrees: int | None = None  # of freedom


def paired_difference(a: Mapping[Key, float], b: Mapping[Key, float]) -> Paired | None:
    """a minus b over the blocks that both have; each maps block -> value.  None if they share none.

    Runs of one seed start from the same weights and see the same batches, so effects common to both runs cancel in
    the difference.  Interval and p assume normal differences, the sign-flip p only that they are symmetric about 0.

    With several teachers the differences depend on each other, by teacher and by seed: those to a row without a teacher
    share its run, and all that the teacher does.  Their interval and p are by `crossed_error`; they have no sign-flip
    p, for they may not be flipped one by one.
    """
    pairs = matched(a, b)
    values = {key: rounded(own - other) for key, (own, other) in pairs.items()}
    summary, blocks = summarise(values.values()), tuple(values)
    crossed = any(teacher_of(key) is not None for key in blocks)
    shared = crossed and len({*map(seed_of, blocks)}) == 1 and not (blocks[0] in a and blocks[0] in b)
    if summary is None or summary.n == 1 or shared:  # shared: all differences are to one and the same run
        return summary and Paired(summary.mean, summary.n, blocks=blocks)
    error, degrees = summary.sd / math.sqrt(summary.n), summary.n - 1
    if crossed:
        summary, error, degrees = crossed_summary(values)
    p = 2 * float(student_t.sf(abs(summary.mean) / error, degrees)) if error else float(summary.mean == 0)
    flip = sign_flip(list(values.values())) if sign_flip_can_reach(summary.n) and not crossed else None
    return Paired(*astuple(summary), blocks, p, flip, error, degrees)


def sign_flip_can_reach(n: int, comparisons: int = 1) -> bool:
    """Whether the sign-flip p of n differences, times the number of comparisons, can be as small as 0.05."""
    return n <= MAX_EXACT and comparisons * 2.0 ** (1 - n) <= ALPHA


def sign_flip(values: Sequence[float]) -> float:
    """The two-sided sign-flip p: the share of all 2^n sign choices whose sum is at least as far from 0; >= 2^(1−n)."""
    units = np.rint(RESOLUTION * np.asarray(values))  # whole numbers, so that equal sums compare equal
    return sign_flip_p(tuple(units if units.sum() >= 0 else -units))


@cache
def sign_flip_p(units: tuple[float, ...]) -> float:
    """The exact p of differences in whole units of 1 / RESOLUTION; cached, as a − b and b − a share it."""
    return float(permutation_test((np.array(units),), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values, in the given order.

    The k-th smallest of m values is multiplied by m − k + 1; the results are made monotone and capped at 1.

    S. Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979).
    """
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted
