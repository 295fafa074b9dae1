"""The page: one file that opens from disk, without network.  Readable without scripts; with them it sorts and opens."""

from __future__ import annotations

import re
import textwrap
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmark.report.figures.panels import RenderedFigure
from benchmark.report.formatting import MISSING, disambiguate, slug
from benchmark.report.page.notes import MethodNote, conditions, failures, method_notes, provenance
from benchmark.report.page.run_details import details_json
from benchmark.report.published import PublishedMatch
from benchmark.report.records.cells import Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.tables.table import Table, TableCell, TableLine

HERE = Path(__file__).parent
MARKS = {"exact": "", "adapted": "†", "re-derived": "‡"}  # of a method's status
OTHER = "§"
LEGEND = {"†": "† adapted.", "‡": "‡ re-derived.", OTHER: "§ of another status, or of none."}
THOUSANDS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
NUMBER = re.compile(r"[<>≤≥≈~]?\s*([+\-−]?\d[\d,]*(?:\.\d+)?(?:e[+\-]?\d+)?)\s?(?:([kMGT])(?:i?B)?(?![a-zA-Z]))?")


@dataclass(frozen=True, slots=True)
class Section:
    """A protocol with its tables and pictures."""

    protocol: Protocol
    tables: tuple[Table, ...]
    drawings: tuple[RenderedFigure, ...]
    quoted: tuple[PublishedMatch, ...] = ()  # what others printed for its cells

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


@dataclass(frozen=True, slots=True)
class Extra:
    """A section that is no protocol's."""

    title: str
    slug: str
    intro: str = ""
    tables: Sequence[Table] = ()
    drawings: Sequence[RenderedFigure] = ()


@dataclass(frozen=True, slots=True)
class Method:
    """A method's note, and how tables point to it."""

    note: MethodNote
    anchor: str
    mark: str
    equation: str


def render(
    sections: Sequence[Section],
    entries: Sequence[Entry],
    complaints: Sequence[str],
    extras: Sequence[Extra] = (),
    summary: Sequence[str] = (),
    texts: Sequence[tuple[str, str]] = (("CSV", "csv"), ("Markdown", "md")),
) -> str:
    """The whole page.  summary: sentences for its top; texts: what else a table is written as, and its suffix."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"grid_of": grid_of, "pictures": pictures, "column_of": column_of, "legend_of": legend_of}
    protocols = [section.protocol for section in sections]
    methods = methods_of(entries)
    return environment.get_template("page.html.j2").render(
        sections=sections,
        extras=extras,
        summary=summary,
        texts=texts,
        complaints=complaints,
        failures=failures(protocols),
        methods=methods,
        labels=labels_of(protocols, methods),
        provenance=provenance(entries),
        stale=sum(entry.stale for entry in entries),
        known={entry.name for protocol in protocols for entry in protocol.entries if entry.record},
        details=details_json(protocols),
        script=Markup((HERE / "page.js").read_text()),
        library=library(),
    )


def library() -> dict[str, str]:
    """DataTables as itables bundles it: a module in base64, and what to call it."""
    package = distribution("itables")
    code = Path(package.locate_file("itables/html/dt_bundle.js")).read_bytes()
    return {"version": package.version, "code": b64encode(code).decode()}


def pictures(drawings: Iterable[RenderedFigure]) -> list[tuple[RenderedFigure, Markup]]:
    """Each with the markup that goes into the page; matplotlib has escaped its text."""
    return [(drawing, Markup(drawing.inline())) for drawing in drawings]


# ---- methods
def methods_of(entries: Sequence[Entry]) -> list[Method]:
    """Every method's note with an anchor of its own."""
    notes = method_notes(entries)
    anchors = disambiguate([slug(note.name) for note in notes], [note.name for note in notes])
    return [
        Method(note, f"method-{slug(anchor)}", MARKS.get(first_word(note.status), OTHER), equation(note.about))
        for note, anchor in zip(notes, anchors, strict=True)
    ]


def first_word(text: str) -> str:
    """adapted (see below) -> adapted"""
    return re.split(r"[\s,;:.(]", text.strip().lower(), maxsplit=1)[0]


def equation(about: str) -> str:
    """The indented paragraphs of a method's words."""
    parts = [part for part in about.split("\n\n") if part.startswith("    ")]
    return "\n\n".join(textwrap.dedent(part).rstrip() for part in parts)


def labels_of(protocols: Iterable[Protocol], methods: Iterable[Method]) -> dict[str, Method]:
    """A row's label -> its method."""
    named = {method.note.name: method for method in methods}
    rows = [row for protocol in protocols for row in protocol.rows]
    return named | {row.label: named[row.method] for row in rows if row.method in named}


def legend_of(table: Table, labels: Mapping[str, Method]) -> list[str]:
    """What the marks in a table mean."""
    found = {labels[line.label].mark for line in table.lines if line.label in labels}
    return [text for mark, text in LEGEND.items() if mark in found]


# ---- tables
def column_of(table: Table) -> tuple[str, str]:
    """The head of the column by whose values a reader picks lines, "" for none; and the value picked at first."""
    column, values = table.pick
    return column, values[0] if values else ""


def grid_of(table: Table) -> tuple[list[bool], list[tuple[str, list[tuple[TableLine, list[tuple[TableCell, str]]]]]]]:
    """Which columns hold numbers; and group -> its lines, each cell with what it is sorted by."""
    rows = [[(shown, value_of(shown)) for shown in line.cells] for line in table.lines]
    numeric = [
        any(value is not None for _, value in column) or all(shown.text == MISSING for shown, _ in column)
        for column in zip(*rows, strict=True)
    ]
    lines = [
        (line, [(shown, "" if value is None else f"{value:.10g}") for shown, value in row])
        for line, row in zip(table.lines, rows, strict=True)
    ]
    return numeric, [(group, list(inner)) for group, inner in groupby(lines, key=lambda item: item[0].group)]


def value_of(shown: TableCell) -> float | None:
    """The number that a cell is sorted by; None if it does not begin with one."""
    match = NUMBER.match(shown.text)
    if match is None:
        return None
    return float(match[1].replace(",", "").replace("−", "-")) * THOUSANDS[match[2] or ""]
