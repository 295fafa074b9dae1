"""Build the sections on the papers' claims, from the files that `theory` writes to results/features.

theory_sections(store)     (title, tables, figures) of each pair, and a sentence for each file that cannot be read
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.files import content_problem
from benchmark.report.figures.drawing.cache import NO_CACHE, FigureCache
from benchmark.report.figures.drawing.colours import Style, styles_of
from benchmark.report.figures.studies.theory import theory_figures
from benchmark.report.figures.style import RenderedFigure
from benchmark.report.records.cells import Protocol
from benchmark.report.records.findings import read_finding
from benchmark.report.tables.table import Table
from benchmark.report.tables.theory import theory_tables
from benchmark.store import Store

TheorySection = tuple[str, Sequence[Table], Sequence[RenderedFigure]]
UNUSABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    StopIteration,
    ArithmeticError,
    RuntimeError,
    MemoryError,
)


def theory_sections(
    store: Store, kept: FigureCache = NO_CACHE, protocols: Sequence[Protocol] = ()
) -> tuple[list[TheorySection], list[str]]:
    """The sections of all pairs in order of file name, and a sentence for each damaged or foreign file.

    protocols: those of the report, in whose figures the runs have their colours and markers.
    """
    sections, complaints, styles = [], [], run_styles(protocols)
    for path in sorted((store.root / "features").glob("[!.]*.json")):
        try:
            finding = read_finding(path)
            own = {id: styles[id] for id in finding.labels if id in styles}
            inputs = [path.read_bytes(), path.with_suffix(".npz").read_bytes(), repr(own)]
            found = theory_figures(finding, kept.of(inputs), own)
            sections.append((finding.title, theory_tables(finding), found))
        except UNUSABLE as fault:
            why = content_problem(fault)
            complaints.append(
                f"{path}: not what `theory` writes, left out ({why}); remove it or examine the pair again"
            )
    return sections, complaints


def run_styles(protocols: Sequence[Protocol]) -> dict[str, Style]:
    """Run id -> colour and marker of its row in the figures of protocols."""
    styles = styles_of(protocols)
    cells = [cell for protocol in protocols for cell in protocol.cells.values() if cell.row.kind != "teacher"]
    return {entry.run.id: styles[cell.row] for cell in cells for entry in cell.entries}
