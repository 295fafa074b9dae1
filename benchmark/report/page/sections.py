"""The sections of the page: a protocol's tables and figures in parts, and sections of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.figures.style import RenderedFigure
from benchmark.report.page.notes import training_settings
from benchmark.report.published import PublishedMatch
from benchmark.report.records.cells import Protocol
from benchmark.report.tables.table import Table

PARTS = {  # part -> last parts of the names of what is in it, in order; what is in none is a diagnostic
    "Accuracy": ("accuracy", "gap", "across", "ranks", "heatmap", "reproduced", "published"),
    "Differences": ("comparisons", "forest"),
    "Cost": ("cost", "step", "split", "latency"),
}
DIAGNOSTICS = "Diagnostics"


@dataclass(frozen=True, slots=True)
class Part:
    """Tables and figures that answer one question."""

    title: str
    items: tuple[Table | RenderedFigure, ...]

    @property
    def folded(self) -> bool:
        """Whether the part is shown only when it is asked for."""
        return self.title == DIAGNOSTICS


@dataclass(frozen=True, slots=True)
class Section:
    """The section of a protocol: its tables and figures."""

    protocol: Protocol
    tables: tuple[Table, ...]
    figures: tuple[RenderedFigure, ...]
    quoted: tuple[PublishedMatch, ...] = ()  # its cells' published numbers

    def part_of(self, name: str) -> str:
        """The last part of a table's or figure's name."""
        return name.removeprefix(f"{self.protocol.slug}-")

    @property
    def parts(self) -> list[Part]:
        """The parts that have a table or a figure, diagnostics last."""
        items = {self.part_of(each.name): each for each in (*self.tables, *self.figures)}
        placed = [Part(title, tuple(items.pop(n) for n in names if n in items)) for title, names in PARTS.items()]
        return [part for part in (*placed, Part(DIAGNOSTICS, tuple(items.values()))) if part.items]

    @property
    def training_settings(self) -> list[tuple[str, str]]:
        """(Name, value) of how the runs were trained."""
        return training_settings(self.protocol)

    @property
    def records_by_cell(self) -> list[tuple[str, tuple[str, ...]]]:
        """(Label of the cell, names of its records), for cells with records."""
        cells = self.protocol.cells
        order = [cells[row, pair] for pair in self.protocol.pairs for row in self.protocol.rows]
        return [(f"{cell.pair.label}, {cell.row.label}", cell.records) for cell in order if cell.records]


@dataclass(frozen=True, slots=True)
class Extra:
    """A section that does not belong to a protocol."""

    title: str
    slug: str
    intro: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[RenderedFigure] = ()
    points: Sequence[str] = ()  # sentences of a list below the introduction
