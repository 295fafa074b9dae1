"""Data classes of a table, independent of the output format; and the sentences and columns that tables share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

import pandas as pd

from benchmark.report.docstrings import LEGEND
from benchmark.report.formatting import MISSING
from benchmark.report.records.by_pair import cell_knobs
from benchmark.report.records.cells import Cell, Protocol
from benchmark.report.statistics.summary import LEVEL

TIED = "≈"  # mark of a number that cannot be told from the best of its column


@dataclass(frozen=True, slots=True)
class TableCell:
    """One cell of a table."""

    text: str
    small_print: str = ""  # printed below the text: n, interval, states of runs without score
    bold: bool = False
    notes: tuple[int, ...] = ()  # numbers of the table's notes that belong to the cell
    records: str = ""  # names of the records behind it, separated by spaces
    quoted: bool = False  # a number from a paper, in italics
    mark: str = ""  # printed after the text


@dataclass(frozen=True, slots=True)
class TableLine:
    """One row of a table."""

    label: str
    cells: tuple[TableCell, ...]
    group: str = ""  # label of the pair, in tables with one row per pair and method


@dataclass(frozen=True, slots=True)
class Note:
    """A footnote of a table; command: what to type, "" for none."""

    number: int
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table, from which the page, Markdown, CSV and LaTeX are written."""

    name: str  # of its files, without suffix
    title: str
    caption: str
    heads: tuple[str, ...]  # headers of the columns after the label
    lines: tuple[TableLine, ...]
    tidy: pd.DataFrame  # contents of the CSV: one line per row and pair, numbers unrounded
    notes: tuple[Note, ...] = ()
    selector: tuple[str, tuple[str, ...]] = ("", ())  # (column to select lines by, values selected in print)
    head: str = "method"  # header of the label column

    def for_print(self) -> Table:
        """The table with only the lines whose value in the selector's column is one of its values."""
        column, values = self.selector
        if not column:
            return self
        index = self.heads.index(column)
        return replace(self, lines=tuple(line for line in self.lines if line.cells[index].text in values))

    def marked(self, marks: Mapping[str, str]) -> Table:
        """The table with each label's mark behind it, the marks' legend below, and both as columns of the CSV.

        Labels are those of lines and, where methods are columns, their headers.
        """
        own = [marks.get(label, "") for label in (*self.labels, *self.heads)]
        if not any(own):
            return self
        lines = tuple(replace(line, label=line.label + marks.get(line.label, "")) for line in self.lines)
        heads = tuple(head + marks.get(head, "") for head in self.heads)
        caption = " ".join([self.caption, *mark_legend(own)])
        columns = [marks.get(str(row), "") for row in self.tidy.get("row", ())]
        shown = {"mark": columns, "legend": [LEGEND.get(mark, "") for mark in columns]} if columns else {}
        return replace(self, lines=lines, heads=heads, caption=caption, tidy=self.tidy.assign(**shown))

    def concise(self, missing: str = "") -> Table:
        """The table without columns in which every cell is MISSING; the CSV keeps them.

        missing: what MISSING means, for the caption, if it occurs elsewhere.
        """
        columns = list(zip(*(line.cells for line in self.lines), strict=True))
        kept = [place for place, cells in enumerate(columns) if any(cell != TableCell(MISSING) for cell in cells)]
        lines = tuple(replace(line, cells=tuple(line.cells[place] for place in kept)) for line in self.lines)
        occurs = any(cell.text == MISSING for line in lines for cell in line.cells)
        caption = f"{self.caption} {MISSING}: {missing}." if missing and occurs else self.caption
        return replace(self, heads=tuple(self.heads[place] for place in kept), lines=lines, caption=caption)

    @property
    def labels(self) -> list[str]:
        """The labels of the lines."""
        return [line.label for line in self.lines]

    @property
    def grouped(self) -> bool:
        """Whether lines are grouped by pair."""
        return any(line.group for line in self.lines)

    @property
    def groups(self) -> list[tuple[str, list[TableLine]]]:
        """(Pair's label, its lines), in order."""
        return [(name, list(lines)) for name, lines in groupby(self.lines, key=lambda line: line.group)]


def mark_legend(marks: Iterable[str]) -> list[str]:
    """The explanations of the marks of methods that occur."""
    found = set(marks)
    return [text for mark, text in LEGEND.items() if mark in found]


def device_text(device: object) -> str:
    """A device as records name it, its threads in the singular where there is one."""
    return re.sub(r"\b1 threads\b", "1 thread", str(device))


def runs_per_cell(counts: set[int]) -> str:
    """The numbers of runs per cell in words: n = 3 runs per cell, n = 1 to 3 runs per cell."""
    if not counts:
        return "no student has a score yet"
    if counts == {1}:
        return "n = 1 run per cell"
    return f"n = {min(counts)}{f' to {max(counts)}' if len(counts) > 1 else ''} runs per cell"


def run_counts(protocol: Protocol) -> set[int]:
    """The numbers of scored runs per cell, without the teachers' cells and empty ones."""
    return {len(cell.scored) for cell in protocol.cells.values() if cell.scored and cell.row.kind != "teacher"}


def scoring_sentence(protocol: Protocol) -> str:
    """The first sentence of the caption of what is scored: the judge and the number of runs per cell."""
    return f"Scored on the {protocol.judge}; {runs_per_cell(run_counts(protocol))}."


def several_teachers(protocol: Protocol) -> str:
    """The number of teachers of a pair as text: 3, 1 to 3; "" where every pair has one."""
    counts = protocol.teacher_counts or {1}
    return "" if counts == {1} else " to ".join(dict.fromkeys(f"{count}" for count in (min(counts), max(counts))))


def teachers_phrase(protocol: Protocol) -> str:
    """What intervals hold for: for this one teacher; over 3 teachers; over 1 to 3 teachers."""
    number = several_teachers(protocol)
    return f"over {number} teachers" if number else "for this one teacher"


def key_columns(protocol: Protocol, cell: Cell) -> dict[str, object]:
    """The first columns of a line of CSV: protocol, pair, row and n."""
    terms = dict(protocol.terms)
    return {
        "protocol": protocol.label,
        "dataset": terms["dataset"],
        "judge": terms["judge"],
        "pair": cell.pair.label,
        "row": cell.row.label,
        "method": cell.row.method or (cell.pair.teacher.method if cell.pair.teacher else ""),
        "knobs": json.dumps(cell_knobs(cell), sort_keys=True) if cell.row.knobs else "",
        "n": len(cell.scored),
    }


def percent_level() -> str:
    """The level of intervals as text: 95 %."""
    return f"{100 * LEVEL:g} %"
