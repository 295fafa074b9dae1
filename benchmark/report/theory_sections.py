"""The papers' claims as `theory` has measured them: tables and pictures out of results/features.

theory_sections(store)     a (title, tables, drawings) for each pair, and complaints about what cannot be read
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence

from benchmark.report.figures.panels import RenderedFigure
from benchmark.report.figures.theory import drawings
from benchmark.report.records.findings import read_finding
from benchmark.report.tables.table import Table
from benchmark.report.tables.theory import tables
from benchmark.store import Store

Part = tuple[str, Sequence[Table], Sequence[RenderedFigure]]
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    StopIteration,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)


def theory_sections(store: Store) -> tuple[list[Part], list[str]]:
    """Every pair that was examined, in order of file name; a damaged or foreign file becomes a sentence."""
    parts, complaints = [], []
    for path in sorted((store.root / "features").glob("[!.]*.json")):
        try:
            found = read_finding(path)
            parts.append((found.title, tables(found), drawings(found)))
        except DAMAGE as fault:
            why = " ".join(f"{type(fault).__name__}: {fault}".split())
            complaints.append(
                f"{path}: not what `theory` writes, left out ({why}); remove it or examine the pair again"
            )
    return parts, complaints
