"""The page: one file that opens from disk, without network and without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmark.report.cells import Protocol
from benchmark.report.drawing import Drawing
from benchmark.report.entries import Entry
from benchmark.report.notes import conditions, failures, method_notes, provenance
from benchmark.report.tables import Table

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Section:
    """A protocol with its tables and pictures."""

    protocol: Protocol
    tables: tuple[Table, ...]
    drawings: tuple[Drawing, ...]

    @property
    def conditions(self) -> list[tuple[str, str]]:
        """How the runs were trained."""
        return conditions(self.protocol)

    @property
    def trail(self) -> list[tuple[str, tuple[str, ...]]]:
        """Cell -> the records behind it."""
        cells = self.protocol.cells
        order = [cells[row, pair] for pair in self.protocol.pairs for row in self.protocol.rows]
        return [(f"{cell.pair.label}, {cell.row.label}", cell.records) for cell in order if cell.records]

    @property
    def pictures(self) -> list[tuple[Drawing, Markup]]:
        """Each with the markup that goes into the page; matplotlib has escaped its text."""
        return [(drawing, Markup(drawing.inline())) for drawing in self.drawings]


def render(sections: Sequence[Section], entries: Sequence[Entry], complaints: Sequence[str]) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        sections=sections,
        complaints=complaints,
        failures=failures(section.protocol for section in sections),
        methods=method_notes(entries),
        provenance=provenance(entries),
        stale=sum(entry.stale for entry in entries),
    )
