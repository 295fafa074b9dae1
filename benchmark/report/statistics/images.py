"""McNemar's test of two runs on the same judged images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from benchmark.report.statistics.blocks import Key


@dataclass(frozen=True, slots=True)
class Discordant:
    """Counts of the images that exactly one of two runs classifies correctly, and McNemar's exact p."""

    first: int  # correct in the first run only
    second: int  # correct in the second run only
    p: float
    block: Key | None = None  # of the two runs


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_], block: Key | None = None) -> Discordant:
    """McNemar's exact binomial test of whether two networks have the same error rate.

    It covers the sampling of test images only, not the variation between trainings.
    first, second: (N,), whether each run classifies each image correctly.
    """
    first_only, second_only = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(binomtest(first_only, first_only + second_only).pvalue) if first_only + second_only else 1.0
    return Discordant(first_only, second_only, p, block)
