"""Render the page: one HTML file that opens from disk without network; scripts add sorting, filtering and details."""

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
from benchmark.report.page.notes import MethodNote, failures, method_notes, provenance, training_settings
from benchmark.report.page.run_details import details_json
from benchmark.report.published import PublishedMatch
from benchmark.report.records.cells import Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.tables.table import Table, TableCell, TableLine

HERE = Path(__file__).parent
MARKS = {"exact": "", "adapted": "†", "re-derived": "‡"}  # status of a method -> mark at its name
OTHER = "§"
LEGEND = {"†": "† adapted.", "‡": "‡ re-derived.", OTHER: "§ of another status, or of none."}
THOUSANDS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
NUMBER = re.compile(r"[<>≤≥≈~]?\s*([+\-−]?\d[\d,]*(?:\.\d+)?(?:e[+\-]?\d+)?)\s?(?:([kMGT])(?:i?B)?(?![a-zA-Z]))?")


@dataclass(frozen=True, slots=True)
class Section:
    """The section of a protocol: its tables and figures."""

    protocol: Protocol
    tables: tuple[Table, ...]
    figures: tuple[RenderedFigure, ...]
    quoted: tuple[PublishedMatch, ...] = ()  # its cells' published numbers

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


@dataclass(frozen=True, slots=True)
class Method:
    """A method's note, with its anchor on the page and its mark in the tables."""

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
    text_formats: Sequence[tuple[str, str]] = (("CSV", "csv"), ("Markdown", "md")),
) -> str:
    """The page as HTML.

    complaints: a sentence per unreadable file; summary: sentences for the top of the page; text_formats: (name, suffix)
    of the files that tables are linked to.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {
        "table_grid": table_grid,
        "inline_figures": inline_figures,
        "initial_selection": initial_selection,
        "mark_legend": mark_legend,
    }
    protocols = [section.protocol for section in sections]
    methods = page_methods(entries)
    return environment.get_template("page.html.j2").render(
        sections=sections,
        extras=extras,
        summary=summary,
        text_formats=text_formats,
        complaints=complaints,
        failures=failures(protocols),
        methods=methods,
        labels=method_by_label(protocols, methods),
        provenance=provenance(entries),
        stale=sum(entry.stale for entry in entries),
        known={entry.name for protocol in protocols for entry in protocol.entries if entry.record},
        details=details_json(protocols),
        script=Markup((HERE / "page.js").read_text()),
        library=library(),
    )


def library() -> dict[str, str]:
    """DataTables as bundled by the package itables: the module in base64, and the package's version."""
    package = distribution("itables")
    code = Path(package.locate_file("itables/html/dt_bundle.js")).read_bytes()
    return {"version": package.version, "code": b64encode(code).decode()}


def inline_figures(figures: Iterable[RenderedFigure]) -> list[tuple[RenderedFigure, Markup]]:
    """Each figure with its inline SVG; matplotlib has escaped the text in it."""
    return [(figure, Markup(figure.inline())) for figure in figures]


# ---- methods
def page_methods(entries: Sequence[Entry]) -> list[Method]:
    """The methods of the entries, each with a unique anchor."""
    notes = method_notes(entries)
    anchors = disambiguate([slug(note.name) for note in notes], [note.name for note in notes])
    return [
        Method(note, f"method-{slug(anchor)}", MARKS.get(first_word(note.status), OTHER), equation(note.about))
        for note, anchor in zip(notes, anchors, strict=True)
    ]


def first_word(text: str) -> str:
    """The first word in lower case: "Adapted (see below)" -> "adapted"."""
    return re.split(r"[\s,;:.(]", text.strip().lower(), maxsplit=1)[0]


def equation(about: str) -> str:
    """The indented paragraphs of a method's docstring."""
    paragraphs = [paragraph for paragraph in about.split("\n\n") if paragraph.startswith("    ")]
    return "\n\n".join(textwrap.dedent(paragraph).rstrip() for paragraph in paragraphs)


def method_by_label(protocols: Iterable[Protocol], methods: Iterable[Method]) -> dict[str, Method]:
    """Label of a row, or name of a method -> the method."""
    by_name = {method.note.name: method for method in methods}
    rows = [row for protocol in protocols for row in protocol.rows]
    return by_name | {row.label: by_name[row.method] for row in rows if row.method in by_name}


def mark_legend(table: Table, labels: Mapping[str, Method]) -> list[str]:
    """The explanations of the marks that occur in a table."""
    marks = {labels[line.label].mark for line in table.lines if line.label in labels}
    return [text for mark, text in LEGEND.items() if mark in marks]


# ---- tables
def initial_selection(table: Table) -> tuple[str, str]:
    """(Header of the column that lines are selected by, value selected at first); "" for none."""
    column, values = table.selector
    return column, values[0] if values else ""


def table_grid(
    table: Table,
) -> tuple[list[bool], list[tuple[str, list[tuple[TableLine, list[tuple[TableCell, str]]]]]]]:
    """Whether each column is numeric; and (group, its lines), each cell with its sort key as text, "" for none."""
    rows = [[(cell, sort_value(cell)) for cell in line.cells] for line in table.lines]
    numeric = [
        any(value is not None for _, value in column) or all(cell.text == MISSING for cell, _ in column)
        for column in zip(*rows, strict=True)
    ]
    lines = [
        (line, [(cell, "" if value is None else f"{value:.10g}") for cell, value in row])
        for line, row in zip(table.lines, rows, strict=True)
    ]
    return numeric, [(group, list(members)) for group, members in groupby(lines, key=lambda item: item[0].group)]


def sort_value(cell: TableCell) -> float | None:
    """The number at the beginning of a cell's text, by which it is sorted; None if there is none."""
    match = NUMBER.match(cell.text)
    if match is None:
        return None
    return float(match[1].replace(",", "").replace("−", "-")) * THOUSANDS[match[2] or ""]
