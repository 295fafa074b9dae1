"""Records in, tables, pictures and a page out.  Equal records give equal bytes; torch is never imported.

build(store, out)      writes OUT/index.html, OUT/tables/ and OUT/figures/
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.report.figures import drawings
from benchmark.report.figures.panels import RenderedFigure, styles_of
from benchmark.report.formatting import slug
from benchmark.report.output_folder import publish
from benchmark.report.page.render import Extra, Section, render
from benchmark.report.published import match_published
from benchmark.report.records.cells import Protocol
from benchmark.report.records.entries import load_entries
from benchmark.report.records.predictions import Predictions
from benchmark.report.records.protocols import protocols
from benchmark.report.tables.accuracy import accuracy_table
from benchmark.report.tables.comparisons import BASELINE, compare, comparison_table
from benchmark.report.tables.latex import to_latex
from benchmark.report.tables.measures import cost_table, quality_table, size_table
from benchmark.report.tables.networks import networks_table
from benchmark.report.tables.precision import precision_tables
from benchmark.report.tables.reproduced import reproduced_table, summary
from benchmark.report.tables.speed import speed_tables
from benchmark.report.tables.table import Table
from benchmark.report.tables.text_formats import to_csv, to_markdown
from benchmark.report.theory_sections import theory_sections
from benchmark.store import Store

FORMATS = ("md", "csv", "tex", "html", "svg", "pdf")
TEXTS: dict[str, tuple[str, Callable[[Table], str]]] = {  # suffix -> its name on the page, and how a table is written
    "csv": ("CSV", to_csv),
    "md": ("Markdown", to_markdown),
    "tex": ("LaTeX", to_latex),
}
CLAIMS = "The papers’ own claims, measured on features of the trained networks."


def build(
    store: Store,
    out: Path,
    plan: Sequence[Run] | None = None,
    *,
    formats: Collection[str] = FORMATS,
    baseline: str = "",
) -> Path:
    """Write the report of a store's records; cells of the plan that have none say so.  Returns the page's path.

    plan: by default that of a sweep under way.
    formats: what to write, others are left as they are; baseline: the method that tables and pictures compare with.
    Raises BadInput for a format or a method that is not there.
    """
    odd = [word for word in formats if word not in FORMATS]
    if odd:
        raise BadInput(f"--format: there is no {odd[0]!r}; there are {', '.join(FORMATS)}")
    entries, complaints = load_entries(store, plan or planned_runs(store))
    found, answers = protocols(entries), Predictions(store)
    known = {word for protocol in found for row in protocol.rows for word in (row.method, row.label) if word}
    if baseline and baseline not in known:
        raise BadInput(f"--baseline: no record is of {baseline!r}; there are {', '.join(sorted(known)) or 'none'}")
    styles, precise = styles_of(found), precision_tables(found)
    sections = [
        make_section(protocol, styles, answers, baseline or BASELINE, precise.get(protocol.slug)) for protocol in found
    ]
    extras, unread = extra_sections(store)
    files = render_files([*sections, *extras], formats)
    if "html" in formats:
        quoted = [quote for part in sections for quote in part.quoted]
        texts = [(name, suffix) for suffix, (name, _) in TEXTS.items() if suffix in formats]
        complaints = [*complaints, *answers.complaints, *unread]
        files["index.html"] = render(sections, entries, complaints, extras, [summary(quoted)], texts).encode()
    publish(Path(out), files, formats)
    return Path(out) / "index.html" if "html" in formats else Path(out)


def extra_sections(store: Store) -> tuple[list[Extra], list[str]]:
    """The sections that are no protocol's, the papers' claims and the speed of machines; and complaints."""
    claims, unread = theory_sections(store)
    named = [(f"Claims · {title}", tables, pictures) for title, tables, pictures in claims]
    found = [Extra(title, slug(title), CLAIMS, tables, pictures) for title, tables, pictures in named]
    tables, unclear = speed_tables(store)
    if tables:
        found.append(Extra("Speed", "speed", "How fast this suite trains, beside what it asks of itself.", tables))
    return found, [*unread, *unclear]


def planned_runs(store: Store) -> list[Run]:
    """The runs of a sweep under way; none if what was kept of it cannot be read."""
    try:
        return [Run.model_validate(run) for run in store.planned()]
    except ValidationError:
        return []


def make_section(
    protocol: Protocol, styles: dict, answers: Predictions, baseline: str, precise: Table | None
) -> Section:
    """A protocol with the tables that have lines and the pictures that have numbers."""
    pairs, quoted = compare(protocol, answers.right), match_published(protocol)
    tables = (
        accuracy_table(protocol),
        comparison_table(protocol, pairs, baseline),
        reproduced_table(protocol, quoted),
        precise,
        quality_table(protocol),
        networks_table(protocol),
        size_table(protocol),
        cost_table(protocol),
    )
    shown = tuple(table for table in tables if table and table.lines)
    return Section(protocol, shown, tuple(drawings(protocol, styles, baseline)), tuple(quoted))


def render_files(parts: Iterable[Section | Extra], formats: Collection[str]) -> dict[str, bytes]:
    """Path below the report's folder -> bytes, of every table and picture."""
    files: dict[str, bytes] = {}
    for part in parts:
        for table in part.tables:
            wanted = {suffix: text for suffix, (_, text) in TEXTS.items() if suffix in formats}
            files |= {
                f"tables/{table.name}.{suffix}": text(table.in_print()).encode() for suffix, text in wanted.items()
            }
        for drawing in part.drawings:
            files |= {f"figures/{name}": data for name, data in figure_files(drawing).items() if name[-3:] in formats}
    return files


def figure_files(drawing: RenderedFigure) -> dict[str, bytes]:
    """A picture's two files."""
    return {f"{drawing.name}.svg": drawing.svg.encode(), f"{drawing.name}.pdf": drawing.pdf}
