"""Build tables with one row per pair and method and one column per measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.report.formatting import MISSING
from benchmark.report.records.cells import Cell, Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.statistics.summary import Summary
from benchmark.report.tables.table import Table, TableCell, TableLine, key_columns, scoring_sentence


@dataclass(frozen=True, slots=True)
class Measure:
    """A column: how to read its number from an entry and how to print it."""

    head: str
    column: str  # name of the column in the CSV
    read: Callable[[Entry], float | None]
    format: Callable[[float], str]
    exact: bool = False  # a count that should be equal for all seeds: a range is printed if it is not
    spread: bool = False  # whether the standard deviation over seeds is printed


def read_score(name: str) -> Callable[[Entry], float | None]:
    """A function that reads a score of an entry."""
    return lambda entry: entry.score(name)


def read_size(name: str) -> Callable[[Entry], float | None]:
    """A function that reads a size of an entry."""
    return lambda entry: entry.size(name)


def read_clock(name: str) -> Callable[[Entry], float | None]:
    """A function that reads a time, speed or count from an entry's clock."""
    return lambda entry: entry.clock(name)


def long_table(protocol: Protocol, name: str, title: str, caption: str, measures: Sequence[Measure]) -> Table:
    """A table with one row per scored cell; name: the last part of its files' names."""
    cells = [(cell, [cell.summary(measure.read) for measure in measures]) for cell in scored_cells(protocol)]
    return Table(
        name=f"{protocol.slug}-{name}",
        title=f"{title} · {protocol.label}",
        caption=f"{protocol.label}. {scoring_sentence(protocol)} {caption}",
        heads=("n", *(measure.head for measure in measures)),
        lines=tuple(
            TableLine(cell.row.label, format_cells(cell, measures, found), cell.pair.label) for cell, found in cells
        ),
        tidy=pd.DataFrame([tidy_line(protocol, cell, measures, found) for cell, found in cells]),
    )


def scored_cells(protocol: Protocol) -> list[Cell]:
    """The cells that have a score, pair by pair, teachers included."""
    cells = [protocol.cells[row, pair] for pair in protocol.pairs for row in protocol.rows]
    return [cell for cell in cells if cell.scored]


def format_cells(cell: Cell, measures: Sequence[Measure], found: Sequence[Summary | None]) -> tuple[TableCell, ...]:
    """The cells of a line: n, then each measure; found: its summaries."""
    stale = sum(entry.stale for entry in cell.scored)
    count = TableCell(str(len(cell.scored)), f"{stale} stale" if stale else "", records=cell.scored_records)
    return (count, *(format_measure(cell, *each) for each in zip(measures, found, strict=True)))


def format_measure(cell: Cell, measure: Measure, summary: Summary | None) -> TableCell:
    """The mean, or the range of an exact count that differs between runs; n where not all runs have the number."""
    if summary is None:
        return TableCell(MISSING)
    text = measure.format(summary.mean)
    if measure.spread and summary.sd is not None:
        text += f" ± {measure.format(summary.sd)}"
    if measure.exact:
        values = [value for value in map(measure.read, cell.scored) if value is not None]
        if min(values) != max(values):
            text = f"{measure.format(min(values))} to {measure.format(max(values))}"
    return TableCell(text, "" if summary.n == len(cell.scored) else f"n = {summary.n}")


def tidy_line(
    protocol: Protocol, cell: Cell, measures: Sequence[Measure], found: Sequence[Summary | None]
) -> dict[str, object]:
    """A cell as a line of CSV: means over seeds, accuracies as fractions; found: the summaries of the measures."""
    summaries = dict(zip((measure.column for measure in measures), found, strict=True))
    numbers = {name: summary and summary.mean for name, summary in summaries.items()}
    shown = [measure.column for measure in measures if measure.spread]
    numbers |= {f"{name}_sd": summaries[name] and summaries[name].sd for name in shown}
    return key_columns(protocol, cell) | numbers | {"records": cell.scored_records}
