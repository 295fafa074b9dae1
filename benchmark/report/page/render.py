"""Render the page: one HTML file that opens from disk without network; scripts add sorting, filtering and details."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from benchmark.report.docstrings import status_mark
from benchmark.report.figures.drawing.colours import styles_of
from benchmark.report.figures.style import FOREGROUND, RenderedFigure
from benchmark.report.formatting import MISSING, count_of, disambiguate, slug
from benchmark.report.page.front import front
from benchmark.report.page.notes import MethodNote, failures, method_notes, provenance
from benchmark.report.page.packing import embed, library, pack
from benchmark.report.page.run_details import details_json
from benchmark.report.page.sections import Extra, Section
from benchmark.report.records.cells import Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.tables.table import Table, TableCell, TableLine
from benchmark.report.tables.table import mark_legend as legend_of

SHARED = re.compile(r"\A(Scored on the [^.]*\.) (.+)\Z", re.S)  # `scoring_sentence`, and the rest of a caption
HERE = Path(__file__).parent
SCRIPTS = ("page.js", "figures.js", "tables.js")
THOUSANDS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
NUMBER = re.compile(r"[<>≤≥≈~]?\s*([+\-−]?\d[\d,]*(?:\.\d+)?(?:e[+\-]?\d+)?)\s?(?:([kMGT])(?:i?B)?(?![a-zA-Z]))?")


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
    text_formats: Sequence[tuple[str, str]] = (("CSV", "csv"), ("Markdown", "md")),
    texts: Mapping[str, str] | None = None,
    picture_formats: Collection[str] = ("svg",),
) -> str:
    """The page as HTML.

    complaints: a sentence per unreadable file; text_formats: (name, suffix) of the files that tables are linked to;
    texts: path -> text of these files, to be copied; picture_formats: suffixes of the files that are written.
    """
    protocols = [section.protocol for section in sections]
    methods = page_methods(entries)
    return (
        template_environment()
        .get_template("page.html.j2")
        .render(
            sections=sections,
            extras=extras,
            front=front(sections),
            picture_formats=[suffix for suffix in ("svg", "pdf") if suffix in picture_formats],
            text_formats=text_formats,
            complaints=complaints,
            failures=failures(protocols),
            methods=methods,
            taught=len({entry.run.method for entry in entries if entry.record and entry.run.teacher}),
            labels=method_by_label(protocols, methods),
            provenance=provenance(entries),
            stale=sum(entry.stale for entry in entries),
            known={entry.name for protocol in protocols for entry in protocol.entries if entry.record},
            pinned={row.label for protocol in protocols for row in protocol.rows if row.kind != "method"},
            details=packed_data(sections, extras, texts or {}, str(details_json(protocols))),
            script=Markup("\n".join((HERE / name).read_text() for name in SCRIPTS)),
            library=library(),
        )
    )


def template_environment() -> Environment:
    """The environment of the page's template; it escapes what it is given."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {
        "table_grid": table_grid,
        "page_caption": page_caption,
        "count_of": count_of,
        "initial_selection": initial_selection,
        "mark_legend": mark_legend,
    }
    return environment


def packed_data(sections: Sequence[Section], extras: Sequence[Extra], texts: Mapping[str, str], details: str) -> Markup:
    """The data of the page's script.

    figures: name -> packed SVG; texts: path of a table's file -> its text; colours, marks: of the label of each row.
    """
    figures = {figure.name: pack(figure.inline()) for each in (*sections, *extras) for figure in each.figures}
    styles = styles_of(section.protocol for section in sections)
    colours = {row.label: "" if colour == FOREGROUND else colour for row, (colour, _) in styles.items()}
    files = pack(json.dumps(texts, ensure_ascii=False, sort_keys=True))
    marks = {row.label: row.mark for section in sections for row in section.protocol.rows if row.mark}
    parts = {"figures": figures, "texts": files, "runs": pack(details), "colours": colours, "marks": marks}
    return embed(parts)


# ---- methods
def page_methods(entries: Sequence[Entry]) -> list[Method]:
    """The methods of the entries, each with a unique anchor."""
    notes = method_notes(entries)
    anchors = disambiguate([slug(note.name) for note in notes], [note.name for note in notes])
    return [
        Method(note, f"method-{slug(anchor)}", status_mark(note.status), equation(note.about))
        for note, anchor in zip(notes, anchors, strict=True)
    ]


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
    return legend_of(labels[label].mark for label in (*table.labels, *table.heads) if label in labels)


def page_caption(item: Table | RenderedFigure) -> str:
    """The caption without the protocol, which the heading names; the sentence that all captions share comes last."""
    text = item.caption.removeprefix(f"{item.title.partition(' · ')[2]}. ")
    return SHARED.sub(r"\2 \1", text)


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
