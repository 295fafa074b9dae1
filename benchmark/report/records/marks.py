"""The marks of methods whose code is not the paper's: † adapted, ‡ re-derived."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmark.report.docstrings import parse_docstring, status_mark
from benchmark.report.records.cells import Row
from benchmark.report.records.entries import Entry, newest_by_method


def method_marks(entries: Sequence[Entry]) -> dict[str, str]:
    """Method -> its mark, "" for an exact one; by the docstring in its newest record."""
    newest = newest_by_method(entries).items()
    return {name: status_mark(parse_docstring(entry.record.about).status) for name, entry in newest}


def row_marks(rows: Iterable[Row], marks: dict[str, str]) -> dict[str, str]:
    """Label of a method's row -> its mark."""
    return {row.label: marks[row.method] for row in rows if row.kind == "method" and marks.get(row.method)}
