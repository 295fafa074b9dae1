"""The layout of papers on thin networks: one line per network, its depth and size, and what each method makes of it.

As in FitNets (arXiv:1412.6550, tables 1, 2 and 5): layers, parameters, multiplications, accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from benchmark.report.formatting import MISSING, format_count, format_percent, format_ratio, format_rounded
from benchmark.report.records.cells import Cell, Pair, Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.tables.long import scored
from benchmark.report.tables.table import Table, TableCell, TableLine, columns_of, scoring_sentence

HEADS = ("layers", "parameters", "multiplications", "compression", "speed-up")
CAPTION = (
    "Layers with weights, one after another, shortcuts beside them left out. Parameters and multiplications (of "
    "convolutions and linear layers, one image) of the network itself, without what a method adds. Compression and "
    "speed-up: the teacher’s parameters and multiplications over the network’s. Then top-1 accuracy in percent after "
    f"the last epoch, mean over seeds. {MISSING}: not in the records, or not run."
)


def networks_table(protocol: Protocol) -> Table:
    """A line for each pair's student, a column for each row of the accuracy table."""
    lines = [line for pair in protocol.pairs for line in lines_of(protocol, pair)]
    return Table(
        name=f"{protocol.slug}-networks",
        title=f"Networks · {protocol.label}",
        caption=f"{protocol.label}. {scoring_sentence(protocol)} {CAPTION}",
        heads=(*HEADS, *(row.label for row in protocol.rows)),
        lines=tuple(lines),
        tidy=pd.DataFrame([tidy_line(protocol, cell) for cell in scored(protocol)]),
        head="pair",
    )


def lines_of(protocol: Protocol, pair: Pair) -> Iterator[TableLine]:
    """The pair's line, if any of its cells has a score."""
    if any(cell.scored for cell in cells(protocol, pair)):
        found = numbers(protocol, pair)
        shows = (format_rounded, format_count, format_count, format_ratio, format_ratio)
        counts = [
            TableCell(MISSING if value is None else show(value))
            for value, show in zip(found.values(), shows, strict=True)
        ]
        means = scores(protocol, pair).values()
        yield TableLine(
            pair.label, (*counts, *(TableCell(MISSING if mean is None else format_percent(mean)) for mean in means))
        )


def tidy_line(protocol: Protocol, cell: Cell) -> dict[str, object]:
    """A cell as a line of CSV; a fraction for the accuracy."""
    mean = {"top1": cell.summary().mean} | {"records": " ".join(entry.name for entry in cell.scored)}
    return columns_of(protocol, cell) | numbers(protocol, cell.pair) | mean


def numbers(protocol: Protocol, pair: Pair) -> dict[str, float | None]:
    """Depth and size of the student's network, and how much smaller than the teacher's it is."""
    runs = [entry for cell in cells(protocol, pair) if cell.row.kind != "teacher" for entry in cell.scored]
    own = {
        word: first_known(entry.size(word) for entry in runs) for word in ("layers", "macs", "teacher", "teacher_macs")
    }
    plain = first_known(own_parameters(entry) for entry in runs)
    ratios = [ratio_of(own["teacher"], plain), ratio_of(own["teacher_macs"], own["macs"])]
    return dict(zip(HEADS, (own["layers"], plain, own["macs"], *ratios), strict=True))


def own_parameters(entry: Entry) -> float | None:
    """Without what the method added."""
    deployed = entry.size("student")
    return None if deployed is None else deployed - (entry.size("added") or 0)


def scores(protocol: Protocol, pair: Pair) -> dict[str, float | None]:
    """Row -> mean top-1, a fraction."""
    found = {cell.row.label: cell.summary() for cell in cells(protocol, pair)}
    return {label: summary.mean if summary else None for label, summary in found.items()}


def cells(protocol: Protocol, pair: Pair) -> list[Cell]:
    """The pair's column."""
    return [protocol.cells[row, pair] for row in protocol.rows]


def first_known(values: Iterable[float | None]) -> float | None:
    """The first that is there: equal for all runs of a network."""
    return next((value for value in values if value is not None), None)


def ratio_of(a: float | None, b: float | None) -> float | None:
    """A ratio, where both are there."""
    return a / b if a and b else None
