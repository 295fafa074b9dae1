"""Paired differences to a baseline as a forest plot."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes

from benchmark.report.figures.method_axis import name_rows, padded
from benchmark.report.figures.panels import FigureSpec, Style
from benchmark.report.figures.style import BACKGROUND
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics import Paired
from benchmark.report.tables.comparisons import BASELINE, differences
from benchmark.report.tables.table import percent_level

REACH = 2.5  # times the largest difference, how far an interval is drawn
CAPTION = (
    "Top-1 accuracy after the last epoch minus that of {}, in percentage points: mean over the seeds that both have, "
    f"and {percent_level()} t interval of the paired differences, cut off at the frame. Hollow: one seed, no interval. "
    "An interval that contains 0 cannot tell the two apart; no correction for the number of methods."
)


def forest(protocol: Protocol, baseline: str = BASELINE) -> list[FigureSpec]:
    """The picture against the method named, or else against the plain student."""
    base = base_of(protocol, baseline)
    found = {(row, pair): both for (row, pair, _), both in differences(protocol, base).items()} if base else {}
    if not found:
        return []
    far = max(abs(both.mean) for both in found.values())
    ends = [abs(end) for both in found.values() for end in (both.low, both.high) if end is not None]
    reach = 100 * max(far, min(REACH * far, max(ends, default=0))) or 1.0
    panel = partial(draw_forest, found=found, frame=padded(-reach, reach))
    title, caption = f"Paired differences to {base.label}", CAPTION.format(base.label)
    return [FigureSpec("forest", title, caption, panel, axis="", legend=None, shared=True)]


def base_of(protocol: Protocol, named: str) -> Row | None:
    """The method's row that has most scores, or else the plain student's."""
    counts = {row: sum(len(protocol.cells[row, pair].scored) for pair in protocol.pairs) for row in protocol.rows}
    rows = [row for row in protocol.rows if row.kind == "method" and named in (row.method, row.label)]
    rows = [row for row in rows if counts[row]] or [row for row in protocol.rows if row.kind == "student"]
    return max(rows, key=counts.get, default=None)


def draw_forest(
    axes: Axes,
    protocol: Protocol,
    pair: Pair,
    styles: dict[Row, Style],
    found: dict[tuple[Row, Pair], Paired],
    frame: tuple[float, float],
) -> list[Row]:
    """A mark and an interval for each row; the rows that were drawn."""
    rows = [row for row in protocol.rows if any(row == other for other, _ in found)]
    drawn = [row for row in rows if (row, pair) in found]
    for place, row in enumerate(rows):
        if (row, pair) not in found:
            continue
        both, (colour, marker) = found[row, pair], styles[row]
        bars = None if both.high is None else [100 * (both.high - both.mean)]
        look = {"color": colour, "marker": marker, "elinewidth": 1.6, "markersize": 5}
        look |= {"markerfacecolor": BACKGROUND if both.high is None else colour, "zorder": 3}
        axes.errorbar([100 * both.mean], [place], xerr=bars, **look)
    name_rows(axes, rows, frame, 0.0)
    axes.set_xlabel("difference (points)")
    return drawn
