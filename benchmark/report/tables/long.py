"""A long table: one row per pair and method, one column per measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.report.formatting import MISSING
from benchmark.report.records.cells import Cell, Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.statistics import summarise
from benchmark.report.tables.table import Table, TableCell, TableLine, columns_of, scoring_sentence


@dataclass(frozen=True, slots=True)
class Measure:
    """A column: how to read it off a run, and how to print it."""

    head: str
    column: str  # in the CSV
    read: Callable[[Entry], float | None]
    show: Callable[[float], str]
    exact: bool = False  # a count that should not depend on the seed


def score(name: str) -> Callable[[Entry], float | None]:
    """Reads a score."""
    return lambda entry: entry.score(name)


def size(name: str) -> Callable[[Entry], float | None]:
    """Reads a size."""
    return lambda entry: entry.size(name)


def clock(name: str) -> Callable[[Entry], float | None]:
    """Reads a time."""
    return lambda entry: entry.clock(name)


def long_table(protocol: Protocol, word: str, title: str, caption: str, measures: Sequence[Measure]) -> Table:
    """A table with one row per pair and method that has a score."""
    cells = scored(protocol)
    return Table(
        name=f"{protocol.slug}-{word}",
        title=f"{title} · {protocol.label}",
        caption=f"{protocol.label}. {scoring_sentence(protocol)} {caption}",
        heads=("n", *(measure.head for measure in measures)),
        lines=tuple(TableLine(cell.row.label, format_cells(cell, measures), cell.pair.label) for cell in cells),
        tidy=pd.DataFrame([tidy_line(protocol, cell, measures) for cell in cells]),
    )


def scored(protocol: Protocol) -> list[Cell]:
    """The cells that have a score, pair by pair."""
    cells = [protocol.cells[row, pair] for pair in protocol.pairs for row in protocol.rows]
    return [cell for cell in cells if cell.scored]


def format_cells(cell: Cell, measures: Sequence[Measure]) -> tuple[TableCell, ...]:
    """n and each measure."""
    records = " ".join(entry.name for entry in cell.scored)
    old = sum(entry.stale for entry in cell.scored)
    count = TableCell(str(len(cell.scored)), f"{old} stale" if old else "", records=records)
    return (count, *(format_measure(cell, measure) for measure in measures))


def format_measure(cell: Cell, measure: Measure) -> TableCell:
    """The mean; for exact counts that differ, lowest to highest; how many runs have the number, if not all."""
    values = [value for value in map(measure.read, cell.scored) if value is not None]
    summary = summarise(values)
    if summary is None:
        return TableCell(MISSING)
    text = measure.show(summary.mean)
    if measure.exact and min(values) != max(values):
        text = f"{measure.show(min(values))} to {measure.show(max(values))}"
    return TableCell(text, "" if summary.n == len(cell.scored) else f"n = {summary.n}")


def tidy_line(protocol: Protocol, cell: Cell, measures: Sequence[Measure]) -> dict[str, object]:
    """A cell as a line of CSV: means, fractions as fractions."""
    means = {measure.column: cell.summary(measure.read) for measure in measures}
    numbers = {name: summary and summary.mean for name, summary in means.items()}
    return columns_of(protocol, cell) | numbers | {"records": " ".join(entry.name for entry in cell.scored)}
