"""What a test can find: the smallest true difference that it detects in 80 % of cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct

from benchmark.report.statistics.blocks import seed_means
from benchmark.report.statistics.families import MIN_RUNS, family_loadings
from benchmark.report.statistics.max_t import max_t_quantile
from benchmark.report.statistics.model import PairModel
from benchmark.report.statistics.summary import t_quantile

POWER = 0.8


class Detectable(NamedTuple):
    """The true differences between two rows that are found in 80 % of cases, fractions."""

    alone: float  # as the only comparison
    family: float  # among all comparisons with one baseline
    seeds: int  # of the two rows


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


def detectable(model: PairModel) -> Detectable | None:
    """The difference found in 80 % of cases, alone and among those with the first of the rows with all their seeds.

    None without a spread, or without two rows that can be compared and have several runs.
    """
    rows = full_rows(model)
    found = [
        (error, model.degrees(row, rows[0])) for row in rows[1:] if (error := model.error(row, rows[0])) is not None
    ]
    if not found:
        return None
    error, degrees = np.median(found, axis=0).tolist()
    loadings = family_loadings(model, rows[0], [row for row in model.rows if row != rows[0]])
    limits = (t_quantile(degrees), max_t_quantile(loadings, degrees))
    alone, family = (minimum_detectable_difference(error, degrees, limit) for limit in limits)
    return Detectable(alone, family, min(len(seed_means(model.column[row])) for row in rows))


def full_rows(model: PairModel) -> list[Hashable]:
    """The rows with the largest number of seeds that two rows have; where no two have the same, all with two runs."""
    counts = {row: len(seed_means(values)) for row, values in model.column.items() if len(values) >= MIN_RUNS}
    shared = [count for count, rows in Counter(counts.values()).items() if rows > 1]
    return [row for row in counts if not shared or counts[row] == max(shared)]
