"""The page's section on how numbers are judged: the rules, and their simulated error rates."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.report.error_rates import error_rates_table
from benchmark.report.page.render import Extra
from benchmark.report.records.cells import Protocol
from benchmark.report.statistics.equivalence import MARGIN, TOST_LEVEL

INTRO = "How the tables come to their verdicts, and how often such verdicts are wrong."
ONE_TEACHER = (
    "All intervals are for the one teacher that the pair has. Another teacher of the same network may change every row."
)
SEVERAL_TEACHERS = (
    "Several teachers of a pair are networks that differ in nothing but their seed; every student learns from each of "
    "them with each seed. The model is then value = row + seed + teacher; the teachers’ effects sum to 0, and a row "
    "without a teacher has none. Teachers vary as seeds do, and an interval that leaves them out is too narrow "
    "(Bouthillier et al., MLSys 2021, arXiv:2103.03098). So the error of a taught row minus a row without a teacher "
    "contains the variance between teachers, divided by their number. Between taught rows the teacher’s effect "
    "cancels; what a teacher, or a seed, does to one row alone is in the error where the runs show it (F test, p < "
    "0.25). Degrees of freedom are Satterthwaite’s, for each difference its own: few teachers give wide intervals. "
    "The interval of a single cell is by two-way clusters, of teachers and of seeds (Cameron, Gelbach & Miller 2011). "
    "Intervals of a pair with one teacher hold for that teacher alone."
)
RULES = (
    "One model per pair of networks: value = row + seed, fitted by least squares to all runs of the pair. Its "
    "residual standard deviation serves every comparison of that pair. If Brown and Forsythe’s test refutes equal "
    "variances, comparisons fall back to paired t tests, with Bonferroni’s correction against a declared baseline and "
    "Holm’s for all pairs of rows, and only the best mean is in bold.",
    "A row with one run has intervals by the spread of the other rows, but no verdict, no bold and no mark: that its "
    "own spread is the same cannot be tested, and if it is larger such verdicts are wrong more often than they say.",
    "Against a declared baseline, the one that is named (--baseline) or the plain student: Dunnett’s simultaneous "
    "intervals. A verdict is better or worse if the interval excludes 0; in 95 % of studies no verdict against that "
    "row is wrong, for each of the two by itself. Against any other row of the list: Tukey’s intervals, p and verdicts "
    "for all pairs of rows, of which none is wrong in 95 % of studies, whichever row is picked.",
    "Over several pairs: the finding and the counts of ▲ and ▼ in the leaderboard have Dunnett’s p adjusted by Holm’s "
    "procedure over the pairs. Tables and figures of a pair judge that pair by itself.",
    "Best of a column: Hsu’s comparisons with the best. The best mean is in bold; a row is marked unless some other "
    "row is better by its one-sided limit. One-sided limits are closer than the two-sided ones of the differences, so "
    "a row may be without mark although its difference to the best cannot be told from 0.",
    "Across pairs, a mean difference has a t interval over the pairs. It takes them for a random sample; where results "
    "of pairs depend on each other, as those of one network may, it is too narrow.",
    "Exact sign-flip tests need no normal distribution. They are shown where n allows them to reach 5 %: n = 6 for one "
    "comparison, more with Holm’s correction.",
    "McNemar’s test compares two trained networks on the same images. It says nothing about other trainings.",
    f"Reproduced: two one-sided tests. PASS if the {100 * TOST_LEVEL:g} % interval of ours minus theirs lies within ± "
    f"{100 * MARGIN:g} points, FAIL if wholly outside, otherwise inconclusive, with the seeds that would settle it if "
    "difference and spread stay as they are. The spread is that between seeds, pooled over the pair’s students (of "
    "all pairs, where one has single seeds only); a published spread enters where its number of runs is printed, and "
    "otherwise their number is taken as exact.",
    ONE_TEACHER,
    "Of several attempts at a run by the same code the first that is done counts, whatever its score.",
)


def judging_section(protocols: Iterable[Protocol] = ()) -> Extra:
    """The section; protocols: those of the report, some of which may have pairs with several teachers."""
    several = any(max(protocol.teacher_counts, default=1) > 1 for protocol in protocols)
    points = tuple(SEVERAL_TEACHERS if several and point == ONE_TEACHER else point for point in RULES)
    return Extra("How numbers are judged", "judging", INTRO, [error_rates_table()], points=points)
