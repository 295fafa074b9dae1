"""Build a report from a store's records: tables, figures and the page.  Equal records give equal bytes.

build(store, out)      writes OUT/index.html, OUT/tables/, OUT/figures/, and the tables in an OUT/FINDINGS.md
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.report.figures import protocol_figures
from benchmark.report.figures.drawing.cache import FigureCache
from benchmark.report.figures.drawing.colours import styles_of
from benchmark.report.formatting import slug
from benchmark.report.judging import judging_section
from benchmark.report.loading import Loaded, with_plan
from benchmark.report.output_folder import publish
from benchmark.report.page.render import render
from benchmark.report.page.sections import Extra, Section
from benchmark.report.published import match_published
from benchmark.report.records.cells import Protocol
from benchmark.report.records.entries import load_entries
from benchmark.report.records.marks import method_marks, row_marks
from benchmark.report.records.predictions import Predictions
from benchmark.report.records.protocols import protocols
from benchmark.report.records.studies import read_studies, without_trials
from benchmark.report.tables.accuracy import accuracy_table
from benchmark.report.tables.across import across_table
from benchmark.report.tables.comparison_table import comparison_table
from benchmark.report.tables.comparisons import BASELINE, compare_rows
from benchmark.report.tables.deployment import deployment_tables
from benchmark.report.tables.latex import to_latex
from benchmark.report.tables.measures import cost_table, quality_table, size_table
from benchmark.report.tables.networks import networks_table
from benchmark.report.tables.precision import precision_tables
from benchmark.report.tables.prose import findings
from benchmark.report.tables.reproduced import reproduced_table
from benchmark.report.tables.speed import speed_tables
from benchmark.report.tables.table import Table
from benchmark.report.tables.text_formats import to_csv, to_markdown
from benchmark.report.theory_sections import theory_sections
from benchmark.report.tuning_sections import tuning_sections
from benchmark.store import Record, Store

FORMATS = ("md", "csv", "tex", "html", "svg", "pdf")
DEFAULT_FORMATS = FORMATS[:-1]  # a PDF takes longer than all else
TEXT_FORMATS: dict[str, tuple[str, Callable[[Table], str]]] = {  # suffix -> name on the page, writer of a table
    "csv": ("CSV", to_csv),
    "md": ("Markdown", to_markdown),
    "tex": ("LaTeX", to_latex),
}
CLAIMS_INTRO = "The papers’ own claims, measured on features of the trained networks."


def build(
    store: Store,
    out: Path,
    plan: Sequence[Run] | None = None,
    *,
    formats: Collection[str] = DEFAULT_FORMATS,
    baseline: str = "",
    loaded: Loaded | None = None,
    warn: Callable[[list[str]], object] = list,
) -> Path:
    """Write the report of a store's records; return the path of the page, or of the folder without a page.

    plan: runs that are shown as "not run" if they have no record; by default those of a sweep in progress.
    formats: what to write; files of other formats are left as they are.
    baseline: the method that tables and figures compare with.
    loaded: entries and complaints, where the caller has loaded them; warn: gets the further ones.
    Raises BadInput for an unknown format or a method without records.
    """
    check_formats(formats)
    entries, complaints = loaded or with_plan(store, load_entries, plan)
    studies, odd = read_studies(store)
    all_protocols, predictions = protocols(without_trials(entries, studies)), Predictions(store)
    check_baseline(baseline, all_protocols)
    kept = FigureCache.beside(store.root)
    sections = make_sections(store, all_protocols, predictions, baseline or BASELINE, kept)
    extras, unreadable = extra_sections(store, kept, all_protocols)
    extras = [*tuning_sections(studies, entries), *extras]
    tables = printed_tables([*sections, *extras], method_marks(entries))
    files = render_files([*sections, *extras], tables, formats)
    prose, unfilled = findings(Path(out), {table.name: table for table in tables}) if "md" in formats else ({}, [])
    left_out = [*predictions.complaints, *odd, *unreadable]
    warn([*left_out, *unfilled])
    if "html" in formats:
        shown = [one.replace(f"{store.root}/", "") for one in (*complaints, *left_out)]  # anybody may read the page
        files["index.html"] = render_page(sections, entries, shown, extras, formats, files)
    kept.remove_unused()
    publish(Path(out), files | prose, formats)
    return Path(out) / "index.html" if "html" in formats else Path(out)


def render_page(sections, entries, complaints, extras, formats: Collection[str], files: dict[str, bytes]) -> bytes:
    """The page, with links to the files that are written, as `render` takes them."""
    text_formats = [(name, suffix) for suffix, (name, _) in TEXT_FORMATS.items() if suffix in formats]
    texts = {path: data.decode() for path, data in files.items() if path.startswith("tables/")}
    return render(sections, entries, complaints, extras, text_formats, texts, formats).encode()


def check_formats(formats: Iterable[str]) -> None:
    """Raise BadInput for a format that is not one of FORMATS."""
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise BadInput(f"--format: there is no {unknown[0]!r}; there are {', '.join(FORMATS)}")


def check_baseline(baseline: str, all_protocols: Iterable[Protocol]) -> None:
    """Raise BadInput for a baseline that is neither "" nor a method or row of some protocol."""
    names = {name for protocol in all_protocols for row in protocol.rows for name in (row.method, row.label) if name}
    if baseline and baseline not in names:
        raise BadInput(f"--baseline: no record is of {baseline!r}; there are {', '.join(sorted(names)) or 'none'}")


def extra_sections(store: Store, kept: FigureCache, judged: Sequence[Protocol]) -> tuple[list[Extra], list[str]]:
    """The sections on the papers' claims and on speed, and a sentence for each file that cannot be read.

    judged: the protocols that a section on how numbers are judged follows; none if there are none.
    """
    claims, unreadable = theory_sections(store, kept, judged)
    titled = [(f"Claims · {title}", tables, figures) for title, tables, figures in claims]
    extras = [Extra(title, slug(title), CLAIMS_INTRO, tables, figures) for title, tables, figures in titled]
    tables, complaints = speed_tables(store)
    if tables:
        extras.append(Extra("Speed", "speed", "How fast this suite trains, beside what it asks of itself.", tables))
    if networks := deployment_tables(store):
        extras.append(Extra("Deployment", "deployment", "What the networks cost where they are used.", networks))
    return [*extras, *[judging_section(judged)] * bool(judged)], [*unreadable, *complaints]


def make_sections(
    store: Store, all_protocols: Sequence[Protocol], predictions: Predictions, baseline: str, kept: FigureCache
) -> list[Section]:
    """The section of each protocol; what it has of other protocols are colours and the table of both precisions."""
    styles, precision = styles_of(all_protocols), precision_tables(all_protocols)
    deployed = list(store.records("deployment"))
    return [
        make_section(protocol, styles, predictions, baseline, precision.get(protocol.slug), deployed, kept)
        for protocol in all_protocols
    ]


def make_section(
    protocol: Protocol,
    styles: dict,
    predictions: Predictions,
    baseline: str,
    precision: Table | None,
    deployed: Sequence[Record],
    kept: FigureCache,
) -> Section:
    """The section of a protocol: its tables that have lines and its figures that have data.

    styles: row -> colour and marker; precision: the table of bf16 against fp32, if it belongs to this protocol;
    deployed: records of kind "deployment".
    """
    comparisons, matches = compare_rows(protocol, predictions.correct), match_published(protocol)
    tables = (
        accuracy_table(protocol),
        across_table(protocol, baseline),
        comparison_table(protocol, comparisons, baseline, predictions.missing_reason),
        reproduced_table(protocol, matches),
        precision,
        quality_table(protocol, predictions),
        networks_table(protocol),
        size_table(protocol),
        cost_table(protocol),
    )
    shown = tuple(table for table in tables if table and table.lines)
    figures = protocol_figures(protocol, styles, baseline, matches, deployed, kept)
    return Section(protocol, shown, tuple(figures), tuple(matches))


def printed_tables(sections: Iterable[Section | Extra], marks: dict[str, str]) -> list[Table]:
    """All tables as they are printed.  marks: method -> mark at its name."""
    own = [row_marks(each.protocol.rows, marks) if isinstance(each, Section) else {} for each in sections]
    return [table.for_print().marked(names) for each, names in zip(sections, own, strict=True) for table in each.tables]


def render_files(
    sections: Iterable[Section | Extra], tables: Iterable[Table], formats: Collection[str]
) -> dict[str, bytes]:
    """Path below the report's folder -> contents, for all tables and figures."""
    writers = {suffix: write for suffix, (_, write) in TEXT_FORMATS.items() if suffix in formats}
    files = {
        f"tables/{table.name}.{suffix}": write(table).encode() for table in tables for suffix, write in writers.items()
    }
    for figure in (figure for section in sections for figure in section.figures):
        files |= {f"figures/{figure.name}.svg": figure.svg.encode()} if "svg" in formats else {}
        files |= {f"figures/{figure.name}.pdf": figure.pdf} if "pdf" in formats else {}
    return files
