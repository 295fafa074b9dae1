"""The figure of paired differences to a baseline, as a forest plot."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes

from benchmark.report.figures.method_axis import label_rows, padded
from benchmark.report.figures.panels import FigureSpec, Style
from benchmark.report.figures.style import BACKGROUND
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics import Paired
from benchmark.report.tables.comparisons import BASELINE, paired_differences
from benchmark.report.tables.table import percent_level

MAX_REACH = 2.5  # the axis extends to at most this multiple of the largest difference
CAPTION = (
    "Top-1 accuracy after the last epoch minus that of {}, in percentage points: mean over the seeds that both have, "
    f"and {percent_level()} t interval of the paired differences, cut off at the frame. Hollow: one seed, no interval. "
    "An interval that contains 0 cannot tell the two apart; no correction for the number of methods."
)


def forest_figures(protocol: Protocol, baseline: str = BASELINE) -> list[FigureSpec]:
    """The figure against the named method or, without scores of it, the plain student; empty without a common seed."""
    base = baseline_row(protocol, baseline)
    by_row = paired_differences(protocol, base) if base else {}
    differences = {(row, pair): paired for (row, pair, _), paired in by_row.items()}
    if not differences:
        return []
    largest = max(abs(paired.mean) for paired in differences.values())
    ends = [abs(end) for paired in differences.values() for end in (paired.low, paired.high) if end is not None]
    reach = 100 * max(largest, min(MAX_REACH * largest, max(ends, default=0))) or 1.0
    panel = partial(draw_forest, differences=differences, limits=padded(-reach, reach))
    title, caption = f"Paired differences to {base.label}", CAPTION.format(base.label)
    return [FigureSpec("forest", title, caption, panel, axis="", legend=None, shared_labels=True)]


def baseline_row(protocol: Protocol, named: str) -> Row | None:
    """The row of the named method with most scores or, without any, the plain student's row."""
    counts = {row: sum(len(protocol.cells[row, pair].scored) for pair in protocol.pairs) for row in protocol.rows}
    rows = [row for row in protocol.rows if row.kind == "method" and named in (row.method, row.label)]
    rows = [row for row in rows if counts[row]] or [row for row in protocol.rows if row.kind == "student"]
    return max(rows, key=counts.get, default=None)


def draw_forest(
    axes: Axes,
    protocol: Protocol,
    pair: Pair,
    styles: dict[Row, Style],
    differences: dict[tuple[Row, Pair], Paired],
    limits: tuple[float, float],
) -> list[Row]:
    """Draw mean and interval of each row's difference; return the drawn rows."""
    rows = [row for row in protocol.rows if any(row == other for other, _ in differences)]
    drawn = [row for row in rows if (row, pair) in differences]
    for index, row in enumerate(rows):
        if (row, pair) not in differences:
            continue
        difference, (colour, marker) = differences[row, pair], styles[row]
        error = None if difference.high is None else [100 * (difference.high - difference.mean)]
        options = {"color": colour, "marker": marker, "elinewidth": 1.6, "markersize": 5}
        options |= {"markerfacecolor": BACKGROUND if difference.high is None else colour, "zorder": 3}
        axes.errorbar([100 * difference.mean], [index], xerr=error, **options)
    label_rows(axes, rows, limits, 0.0)
    axes.set_xlabel("difference (points)")
    return drawn
