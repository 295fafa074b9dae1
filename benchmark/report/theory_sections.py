"""Build the sections on the papers' claims, from the files that `theory` writes to results/features.

theory_sections(store)     (title, tables, figures) of each pair, and a sentence for each file that cannot be read
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence

from benchmark.report.figures.drawing.cache import NO_CACHE, FigureCache
from benchmark.report.figures.studies.theory import theory_figures
from benchmark.report.figures.style import RenderedFigure
from benchmark.report.records.findings import read_finding
from benchmark.report.tables.table import Table
from benchmark.report.tables.theory import theory_tables
from benchmark.store import Store

TheorySection = tuple[str, Sequence[Table], Sequence[RenderedFigure]]
READ_ERRORS = (
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


def theory_sections(store: Store, kept: FigureCache = NO_CACHE) -> tuple[list[TheorySection], list[str]]:
    """The sections of all pairs in order of file name, and a sentence for each damaged or foreign file."""
    sections, complaints = [], []
    for path in sorted((store.root / "features").glob("[!.]*.json")):
        try:
            finding = read_finding(path)
            found = theory_figures(finding, kept.of([path.read_bytes(), path.with_suffix(".npz").read_bytes()]))
            sections.append((finding.title, theory_tables(finding), found))
        except READ_ERRORS as fault:
            why = " ".join(f"{type(fault).__name__}: {fault}".split())
            complaints.append(
                f"{path}: not what `theory` writes, left out ({why}); remove it or examine the pair again"
            )
    return sections, complaints
