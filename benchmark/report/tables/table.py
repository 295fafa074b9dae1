"""A table as a value: its cells, lines and notes, whatever format it is written in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

import pandas as pd

from benchmark.report.records.cells import Cell, Protocol
from benchmark.report.statistics import LEVEL


@dataclass(frozen=True, slots=True)
class TableCell:
    """One cell as printed."""

    text: str
    under: str = ""  # small print: n, what is lacking
    bold: bool = False
    notes: tuple[int, ...] = ()  # numbers of notes below the table
    records: str = ""  # names of the records behind it
    quoted: bool = False  # a number that others printed: in italics


@dataclass(frozen=True, slots=True)
class TableLine:
    """One row as printed."""

    label: str
    cells: tuple[TableCell, ...]
    group: str = ""  # the pair, in tables that have one row per pair and method


@dataclass(frozen=True, slots=True)
class Note:
    """A footnote of a table: what happened, and what to type."""

    number: int
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """What page, Markdown, CSV and LaTeX are written from."""

    name: str  # of its files
    title: str
    caption: str
    heads: tuple[str, ...]  # of the columns after the label
    lines: tuple[TableLine, ...]
    tidy: pd.DataFrame  # one line per row and pair, numbers unrounded, records named
    notes: tuple[Note, ...] = ()
    pick: tuple[str, tuple[str, ...]] = ("", ())  # the column by whose values readers pick lines; those in print
    head: str = "method"  # of the labels

    def in_print(self) -> Table:
        """What paper has room for, of lines that a reader of the page picks from."""
        column, values = self.pick
        if not column:
            return self
        place = self.heads.index(column)
        return replace(self, lines=tuple(line for line in self.lines if line.cells[place].text in values))

    @property
    def grouped(self) -> bool:
        return any(line.group for line in self.lines)

    @property
    def groups(self) -> list[tuple[str, list[TableLine]]]:
        """The lines of each pair together."""
        return [(name, list(lines)) for name, lines in groupby(self.lines, key=lambda line: line.group)]


def runs_per_cell(sizes: set[int]) -> str:
    """How many runs stand behind the cells of a table: n = 3 runs per cell, n = 1 to 3 runs per cell."""
    if not sizes:
        return "no student has a score yet"
    if sizes == {1}:
        return "n = 1 run per cell"
    return f"n = {min(sizes)}{f' to {max(sizes)}' if len(sizes) > 1 else ''} runs per cell"


def sizes_of(protocol: Protocol) -> set[int]:
    """The numbers of runs per cell, teachers apart."""
    return {len(cell.scored) for cell in protocol.cells.values() if cell.scored and cell.row.kind != "teacher"}


def scoring_sentence(protocol: Protocol) -> str:
    """The first sentence of every caption: judge and n."""
    return f"Scored on the {protocol.judge}; {runs_per_cell(sizes_of(protocol))}."


def columns_of(protocol: Protocol, cell: Cell) -> dict[str, object]:
    """What a line of CSV starts with."""
    own = dict(protocol.terms)
    return {
        "protocol": protocol.label,
        "dataset": own["dataset"],
        "judge": own["judge"],
        "pair": cell.pair.label,
        "row": cell.row.label,
        "method": cell.row.method or (cell.pair.teacher.method if cell.pair.teacher else ""),
        "knobs": cell.row.knobs,
        "n": len(cell.scored),
    }


def percent_level() -> str:
    """95 %"""
    return f"{100 * LEVEL:g} %"
