"""Build the tables that papers print: one for each suite and protocol, in a folder of their own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmark.errors import BadInput, printable
from benchmark.experiment.suite import Suite, read_suite, suite_label, suite_names
from benchmark.report.formatting import slug
from benchmark.report.output_folder import PAPER, publish
from benchmark.report.records.cells import Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.records.marks import method_marks
from benchmark.report.records.names import departures, protocol_names, suite_keys
from benchmark.report.records.protocols import protocols
from benchmark.report.records.studies import read_studies, without_trials
from benchmark.report.tables.paper import PaperTable, paper_table
from benchmark.report.tables.paper_formats import paper_csv, paper_latex, paper_markdown
from benchmark.store import Store

WRITERS = {"md": paper_markdown, "csv": paper_csv, "tex": paper_latex}


def build_paper(
    store: Store, out: Path, entries: Sequence[Entry], suite: str = "", formats: Collection[str] = tuple(WRITERS)
) -> list[Path]:
    """Write the tables of a suite, or of every suite that the entries name; return their paths.

    Raises BadInput for an unknown format, and if there is nothing to write.
    """
    unknown = [name for name in formats if name not in WRITERS]
    if unknown:
        raise BadInput(f"--format: {unknown[0]!r} is not written with --style paper; there are {', '.join(WRITERS)}")
    entries = without_trials(entries, read_studies(store)[0])
    named = sorted({str(label) for entry in entries if (label := entry.provenance("suite"))})
    marks, all_protocols = method_marks(entries), protocols(entries)
    tables: dict[str, PaperTable] = {}
    for label in [suite_label(suite)] if suite else named:
        definition = definition_of(label, suite)
        for table in suite_tables(label, definition, all_protocols, marks):
            name = f"{slug(label)}-{table.name}" if table.name in tables else table.name
            tables[name] = replace(table, name=name)
    if not tables:
        asked, there = f"of {printable(suite)!r} " if suite else "", ", ".join(named) or "none"
        raise BadInput(f"{store.root} has no runs {asked}with a teacher to tabulate; its records are of: {there}")
    files = {f"{PAPER}/{name}.{end}": WRITERS[end](each).encode() for name, each in tables.items() for end in formats}
    publish(Path(out), files, () if suite else formats, (PAPER,))
    return [Path(out) / name for name in files]


def definition_of(label: str, given: str) -> Suite | None:
    """The suite of a record's label, if it comes with the project or is the file that was given."""
    name = label if label in suite_names() else given
    return read_suite(name) if name in suite_names() or (name and Path(name).is_file()) else None


def suite_tables(
    suite: str, definition: Suite | None, all_protocols: Iterable[Protocol], marks: dict[str, str]
) -> Iterable[PaperTable]:
    """The tables of a suite: one for each protocol that it has records of, or that is its own."""
    own = {(each.terms, each.teacher_terms): each for each in all_protocols}
    own = {key: each for key, each in own.items() if key in suite_keys(suite) or names_suite(each, suite)}
    names = protocol_names({key: each.entries for key, each in own.items()}, suite)
    references = suite_keys(suite)
    for key, protocol in own.items():
        title = ", ".join([definition.title, *departures(key, references)]) if references else protocol.label
        if table := paper_table(protocol, suite, definition, f"{names[key]}-accuracy", title, marks):
            yield table


def names_suite(protocol: Protocol, suite: str) -> bool:
    """Whether a record of the protocol names the suite."""
    return any(entry.provenance("suite") == suite for entry in protocol.entries)
