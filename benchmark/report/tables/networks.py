"""The table of student networks: a line per pair with depth, size and the accuracy of each method.

The layout is that of FitNets (arXiv:1412.6550, tables 1, 2 and 5): layers, parameters, multiplications, accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from benchmark.report.formatting import MISSING, format_count, format_percent, format_ratio, format_rounded
from benchmark.report.records.cells import Cell, Pair, Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.tables.long import scored_cells
from benchmark.report.tables.table import Table, TableCell, TableLine, key_columns, scoring_sentence

HEADS = ("layers", "parameters", "multiplications", "compression", "speed-up")
CAPTION = (
    "Layers with weights, one after another, shortcuts beside them left out. Parameters and multiplications (of "
    "convolutions and linear layers, one image) of the network itself, without what a method adds. Compression and "
    "speed-up: the teacher’s parameters and multiplications over the network’s. Then top-1 accuracy in percent after "
    "the last epoch, mean over seeds."
)


def networks_table(protocol: Protocol) -> Table:
    """The table: a line for each pair's student, a column for each row of the accuracy table."""
    lines = [line for pair in protocol.pairs for line in pair_lines(protocol, pair)]
    return Table(
        name=f"{protocol.slug}-networks",
        title=f"Networks · {protocol.label}",
        caption=f"{protocol.label}. {scoring_sentence(protocol)} {CAPTION}",
        heads=(*HEADS, *(row.label for row in protocol.rows)),
        lines=tuple(lines),
        tidy=pd.DataFrame([tidy_line(protocol, cell) for cell in scored_cells(protocol)]),
        head="pair",
    ).concise("not in the records, or not run")


def pair_lines(protocol: Protocol, pair: Pair) -> Iterator[TableLine]:
    """The pair's line; none if no cell of the pair has a score."""
    if any(cell.scored for cell in pair_cells(protocol, pair)):
        sizes = network_sizes(protocol, pair)
        formatters = (format_rounded, format_count, format_count, format_ratio, format_ratio)
        counts = [
            TableCell(MISSING if value is None else formatter(value))
            for value, formatter in zip(sizes.values(), formatters, strict=True)
        ]
        means = mean_scores(protocol, pair).values()
        yield TableLine(
            pair.label, (*counts, *(TableCell(MISSING if mean is None else format_percent(mean)) for mean in means))
        )


def tidy_line(protocol: Protocol, cell: Cell) -> dict[str, object]:
    """A cell as a line of CSV; the accuracy as a fraction."""
    mean = {"top1": cell.summary().mean} | {"records": cell.scored_records}
    return key_columns(protocol, cell) | network_sizes(protocol, cell.pair) | mean


def network_sizes(protocol: Protocol, pair: Pair) -> dict[str, float | None]:
    """Header of HEADS -> its number: depth and size of the student's network, and the teacher's size over it."""
    runs = [entry for cell in pair_cells(protocol, pair) if cell.row.kind != "teacher" for entry in cell.scored]
    sizes = {
        name: first_known(entry.size(name) for entry in runs) for name in ("layers", "macs", "teacher", "teacher_macs")
    }
    parameters = first_known(own_parameters(entry) for entry in runs)
    ratios = [ratio_of(sizes["teacher"], parameters), ratio_of(sizes["teacher_macs"], sizes["macs"])]
    return dict(zip(HEADS, (sizes["layers"], parameters, sizes["macs"], *ratios), strict=True))


def own_parameters(entry: Entry) -> float | None:
    """The network's parameters without those that the method added."""
    deployed = entry.size("student")
    return None if deployed is None else deployed - (entry.size("added") or 0)


def mean_scores(protocol: Protocol, pair: Pair) -> dict[str, float | None]:
    """Label of the row -> mean top-1, a fraction; None without a score."""
    summaries = {cell.row.label: cell.summary() for cell in pair_cells(protocol, pair)}
    return {label: summary.mean if summary else None for label, summary in summaries.items()}


def pair_cells(protocol: Protocol, pair: Pair) -> list[Cell]:
    """The pair's cells, in the order of the rows."""
    return [protocol.cells[row, pair] for row in protocol.rows]


def first_known(values: Iterable[float | None]) -> float | None:
    """The first value that is not None: it is the same for all runs of a network."""
    return next((value for value in values if value is not None), None)


def ratio_of(a: float | None, b: float | None) -> float | None:
    """a / b; None where either is missing or 0."""
    return a / b if a and b else None
