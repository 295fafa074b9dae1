"""Records in, tables, pictures and a page out.  Equal records give equal bytes; torch is never imported.

build(store, out)      writes OUT/index.html, OUT/tables/ and OUT/figures/
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from benchmark.errors import BadInput
from benchmark.report.accuracy import accuracy_table
from benchmark.report.answers import Answers
from benchmark.report.cells import Protocol
from benchmark.report.comparisons import BASELINE, compare, comparison_table
from benchmark.report.drawing import Drawing, styles_of
from benchmark.report.entries import gather
from benchmark.report.figures import drawings
from benchmark.report.folder import publish
from benchmark.report.layouts import networks_table
from benchmark.report.measures import cost_table, quality_table, size_table
from benchmark.report.page import Extra, Section, render
from benchmark.report.precision import precision_tables
from benchmark.report.protocols import protocols
from benchmark.report.published import beside
from benchmark.report.reproduced import reproduced_table, summary
from benchmark.report.speeds import speed_tables
from benchmark.report.tables import Table
from benchmark.report.theory import theory_sections
from benchmark.report.wording import slug
from benchmark.run import Run
from benchmark.store import Store

FORMATS = ("md", "csv", "tex", "html", "svg", "pdf")
TEXTS: dict[str, tuple[str, Callable[[Table], str]]] = {  # suffix -> its name on the page, and how a table is written
    "csv": ("CSV", Table.csv),
    "md": ("Markdown", Table.markdown),
    "tex": ("LaTeX", Table.latex),
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
    entries, complaints = gather(store, plan or planned(store))
    found, answers = protocols(entries), Answers(store)
    known = {word for protocol in found for row in protocol.rows for word in (row.method, row.label) if word}
    if baseline and baseline not in known:
        raise BadInput(f"--baseline: no record is of {baseline!r}; there are {', '.join(sorted(known)) or 'none'}")
    styles, precise = styles_of(found), precision_tables(found)
    sections = [
        section(protocol, styles, answers, baseline or BASELINE, precise.get(protocol.slug)) for protocol in found
    ]
    extras, unread = others(store)
    files = written([*sections, *extras], formats)
    if "html" in formats:
        quoted = [quote for part in sections for quote in part.quoted]
        texts = [(name, suffix) for suffix, (name, _) in TEXTS.items() if suffix in formats]
        complaints = [*complaints, *answers.complaints, *unread]
        files["index.html"] = render(sections, entries, complaints, extras, [summary(quoted)], texts).encode()
    publish(Path(out), files, formats)
    return Path(out) / "index.html" if "html" in formats else Path(out)


def others(store: Store) -> tuple[list[Extra], list[str]]:
    """The sections that are no protocol's, the papers' claims and the speed of machines; and complaints."""
    claims, unread = theory_sections(store)
    named = [(f"Claims · {title}", tables, pictures) for title, tables, pictures in claims]
    found = [Extra(title, slug(title), CLAIMS, tables, pictures) for title, tables, pictures in named]
    tables, unclear = speed_tables(store)
    if tables:
        found.append(Extra("Speed", "speed", "How fast this suite trains, beside what it asks of itself.", tables))
    return found, [*unread, *unclear]


def planned(store: Store) -> list[Run]:
    """The runs of a sweep under way; none if what was kept of it cannot be read."""
    try:
        return [Run.model_validate(run) for run in store.planned()]
    except ValidationError:
        return []


def section(protocol: Protocol, styles: dict, answers: Answers, baseline: str, precise: Table | None) -> Section:
    """A protocol with the tables that have lines and the pictures that have numbers."""
    pairs, quoted = compare(protocol, answers.right), beside(protocol)
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


def written(parts: Iterable[Section | Extra], formats: Collection[str]) -> dict[str, bytes]:
    """Path below the report's folder -> bytes, of every table and picture."""
    files: dict[str, bytes] = {}
    for part in parts:
        for table in part.tables:
            wanted = {suffix: text for suffix, (_, text) in TEXTS.items() if suffix in formats}
            files |= {
                f"tables/{table.name}.{suffix}": text(table.in_print()).encode() for suffix, text in wanted.items()
            }
        for drawing in part.drawings:
            files |= {f"figures/{name}": data for name, data in both(drawing).items() if name[-3:] in formats}
    return files


def both(drawing: Drawing) -> dict[str, bytes]:
    """A picture's two files."""
    return {f"{drawing.name}.svg": drawing.svg.encode(), f"{drawing.name}.pdf": drawing.pdf}
