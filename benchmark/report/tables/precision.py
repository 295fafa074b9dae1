"""The table of bf16 against fp32: the same runs trained in both precisions, paired by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from benchmark.report.formatting import MISSING, count_of, format_interval, format_percent, format_points
from benchmark.report.records.cells import Cell, Pair, Protocol, Row, Terms
from benchmark.report.records.labels import name_protocols
from benchmark.report.records.names import suite_of
from benchmark.report.statistics.blocks import matched
from benchmark.report.statistics.families import Contrast, against
from benchmark.report.statistics.model import fit_pair
from benchmark.report.tables.precision_runs import (
    LIMIT,
    PRECISIONS,
    WITHIN,
    MatchedRuns,
    PrecisionComparison,
    compare_precisions,
    match_runs,
    matched_rows,
)
from benchmark.report.tables.table import Table, TableCell, TableLine, key_columns, percent_level, several_teachers

SEVERAL_TEACHERS = (
    " Paired by teacher as well. Intervals of rows are over teachers and seeds; those of the mean of rows and of a row "
    "minus the student are over seeds, for the mean of these teachers."
)
EXPECTED_EQUAL = ("device", "torch", "source")  # provenance; the caption names what is not equal on both sides
HEADS = ("n", "bf16 %", "fp32 %", "difference", "95 % interval", f"mean {WITHIN}", f"interval {WITHIN}")
MatchedColumns = dict[Pair, dict[Row, list[MatchedRuns]]]


# ---- matching runs
def precision_tables(protocols: Sequence[Protocol]) -> dict[str, Table]:
    """Slug of a protocol -> its table; empty if no run was trained in both precisions.

    Protocols that differ only in the students' precision share one table, that of the first one with bf16 runs.
    """
    matches = match_runs(entry for protocol in protocols for entry in protocol.entries)
    keys = [(tuple(t for t in each.terms if t[0] != "precision"), each.teacher_terms) for each in protocols]
    first_of: dict[tuple[Terms, Terms], Protocol] = {}
    for key, protocol in zip(keys, protocols, strict=True):
        first_of.setdefault(key, protocol)
    suites = [suite_of((each.terms, each.teacher_terms), each.entries) for each in first_of.values()]
    names = dict(zip(first_of, name_protocols(list(first_of), suites), strict=True))
    groups: dict[tuple[Terms, Terms], tuple[Protocol, MatchedColumns]] = {}
    for key, protocol in zip(keys, protocols, strict=True):
        for pair, row, runs in matched_rows(protocol, matches):
            groups.setdefault(key, (protocol, {}))[1].setdefault(pair, {}).setdefault(row, []).extend(runs)
    return {first.slug: precision_table(first, names[key], columns) for key, (first, columns) in groups.items()}


# ---- numbers
def mean_of_rows(pair: Pair, lines: Sequence[PrecisionComparison]) -> list[PrecisionComparison]:
    """The mean over a pair's rows, taken within each seed that all rows have; empty for a single row.

    The interval is over seeds: rows of one seed share initial weights and batches, so they are not independent.  A row
    with several teachers enters with its mean over them.
    """
    lines = [line for line in lines if line.entries]
    if len(lines) < 2:
        return []
    seeds = sorted(set.intersection(*(set(line.by_seed["bf16"]) for line in lines)))
    values = {
        precision: {seed: math.fsum(line.by_seed[precision][seed] for line in lines) / len(lines) for seed in seeds}
        for precision in PRECISIONS
    }
    entries = tuple(entry for line in lines for entry in line.entries if entry.run.seed in seeds)
    cell = Cell(Row("method", label=f"mean of {count_of(len(lines), 'row')}"), pair)
    return [PrecisionComparison(cell, values, entries, "" if seeds else "no seed in common")]


def differences_of_rows(pair: Pair, lines: Sequence[PrecisionComparison]) -> list[PrecisionComparison]:
    """Each method minus the plain student, in each precision: what a precision does to a conclusion about methods.

    The mean over rows cannot show it: rows that move in opposite directions cancel there.  bf16 minus fp32 of every row
    and seed is row + seed + residual, so that the spread of all rows serves each of these lines, and their intervals
    are simultaneous, as those of methods against a baseline are.
    """
    lines = [line for line in lines if line.entries]
    plain = next((line for line in lines if line.cell.row.kind == "student"), None)
    if plain is None:
        return []
    contrasts = against(fit_pair({line.cell.row: line.gaps for line in lines}), plain.cell.row)
    others = [line for line in lines if line.cell.row.kind != "student"]
    return [row_difference(pair, line, plain, contrasts[line.cell.row]) for line in others]


def row_difference(
    pair: Pair, line: PrecisionComparison, plain: PrecisionComparison, contrast: Contrast | None
) -> PrecisionComparison:
    """A row minus the plain student over the seeds that both have in both precisions."""
    both = {name: matched(line.by_seed[name], plain.by_seed[name]) for name in PRECISIONS}
    values = {name: {seed: own - other for seed, (own, other) in both[name].items()} for name in PRECISIONS}
    seeds = values["bf16"]
    entries = tuple(entry for each in (line, plain) for entry in each.entries if entry.run.seed in seeds)
    cell = Cell(Row("method", label=f"{line.cell.row.label} − {plain.cell.row.label}"), pair)
    return PrecisionComparison(cell, values, entries, "" if seeds else "no seed in common", contrast)


# ---- the table
def precision_table(protocol: Protocol, name: str, columns: MatchedColumns) -> Table:
    """The table: the rows of each pair and their mean.  name: label of the protocol without its precision."""
    comparisons: list[PrecisionComparison] = []
    for pair, rows in columns.items():
        lines = [compare_precisions(pair, row, matched) for row, matched in rows.items()]
        comparisons += [*lines, *mean_of_rows(pair, lines), *differences_of_rows(pair, lines)]
    all_matched = [match for rows in columns.values() for matched in rows.values() for match in matched]
    return Table(
        name=f"{protocol.slug}-precision",
        title=f"Precision · {name}",
        caption=caption(protocol, name, all_matched),
        heads=HEADS,
        lines=tuple(TableLine(each.cell.row.label, line_cells(each), each.cell.pair.label) for each in comparisons),
        tidy=pd.DataFrame([tidy_line(protocol, name, each) for each in comparisons]),
    )


def caption(protocol: Protocol, name: str, matched: Sequence[MatchedRuns]) -> str:
    """The caption: what is paired, the criterion, and how the mean of rows is taken."""
    different = [w for w in EXPECTED_EQUAL if any(len({str(e.provenance(w)) for e in m.values()}) > 1 for m in matched)]
    also = f"Not the same on both sides everywhere, beside the precision: {', '.join(different)}." if different else ""
    return (
        f"Scored on the {protocol.judge}. The same runs in bf16 and in fp32, as their records say: bf16 minus fp32 in "
        f"points, paired by seed, {percent_level()} t interval, line by line; none with n = 1. Limit: {100 * LIMIT:g} "
        "points either way. In the mean of rows opposite changes cancel; a row minus the student shows them. "
        "There bf16 minus fp32 = row + seed is fitted to all rows, and the intervals hold for all rows together "
        f"(Dunnett; paired t with Bonferroni where variances differ). {also}"
        + (SEVERAL_TEACHERS if several_teachers(protocol) else "")
    ).strip()


def line_cells(comparison: PrecisionComparison) -> tuple[TableCell, ...]:
    """The cells of a line, in the order of HEADS."""
    shown: Callable[[float], str] = format_points if comparison.contrast else format_percent
    difference, records = comparison.difference, " ".join(entry.name for entry in comparison.entries)
    return (
        TableCell(str(difference.n if difference else 0), comparison.left_out, records=records),
        *(TableCell(MISSING if mean is None else shown(mean)) for mean in comparison.means.values()),
        TableCell(format_points(difference.mean) if difference else MISSING),
        TableCell(format_interval(difference.low, difference.high) if difference else MISSING),
        *map(TableCell, comparison.verdicts),
    )


def tidy_line(protocol: Protocol, name: str, comparison: PrecisionComparison) -> dict[str, object]:
    """A comparison as a line of CSV; accuracies in percent, differences in percentage points."""
    difference = comparison.difference
    verdicts = dict(zip(("mean_within", "interval_within"), comparison.verdicts, strict=True))
    numbers = {f"{precision}_percent": mean for precision, mean in comparison.means.items()}
    numbers["difference"] = difference and difference.mean
    numbers |= {word: getattr(difference, word, None) for word in ("sd", "low", "high")}
    return (
        key_columns(protocol, comparison.cell)
        | {"protocol": name, "method": comparison.cell.row.method, "n": difference.n if difference else 0}
        | {word: None if value is None else 100 * value for word, value in numbers.items()}
        | verdicts
        | {"left_out": comparison.left_out, "records": " ".join(entry.name for entry in comparison.entries)}
    )
