"""The page's section on how numbers are judged: the rules, and their simulated error rates."""

from __future__ import annotations

from benchmark.report.error_rates import error_rates_table
from benchmark.report.page.render import Extra
from benchmark.report.statistics.equivalence import MARGIN, TOST_LEVEL

INTRO = "How the tables come to their verdicts, and how often such verdicts are wrong."
RULES = (
    "One model per pair of networks: value = row + seed, fitted by least squares to all runs of the pair. Its "
    "residual standard deviation serves every comparison of that pair, also those of a row with one seed. If Brown "
    "and Forsythe’s test refutes equal variances, comparisons fall back to paired t tests with Bonferroni’s "
    "correction, and only the best mean is in bold.",
    "Against one row: Dunnett’s simultaneous intervals. A verdict is better or worse if the interval excludes 0; in "
    "95 % of studies no verdict against that row is wrong. Tukey’s p is for readers who compare all rows with all.",
    "Best of a column: Hsu’s comparisons with the best. The best mean is in bold; a row is marked unless some other "
    "row is better by its one-sided limit.",
    "Exact sign-flip tests need no normal distribution. They are shown where n allows them to reach 5 %: n = 6 for one "
    "comparison, more with Holm’s correction.",
    "McNemar’s test compares two trained networks on the same images. It says nothing about other trainings.",
    f"Reproduced: two one-sided tests. PASS if the {100 * TOST_LEVEL:g} % interval of ours minus theirs lies within ± "
    f"{100 * MARGIN:g} points, FAIL if wholly outside, otherwise inconclusive, with the seeds that would settle it if "
    "difference and spread stay as they are. The spread is that between seeds, pooled over the pair’s students (of "
    "all pairs, where one has single seeds only); a published spread enters where its number of runs is printed, and "
    "otherwise their number is taken as exact.",
    "All intervals are for the one teacher that the pair has. Another teacher of the same network may change every "
    "row.",
    "Of several attempts at a run by the same code the first that is done counts, whatever its score.",
)


def judging_section() -> Extra:
    """The section."""
    return Extra("How numbers are judged", "judging", INTRO, [error_rates_table()], points=RULES)
