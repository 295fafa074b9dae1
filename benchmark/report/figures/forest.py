"""The figure of differences to a baseline with simultaneous intervals, as a forest plot."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes

from benchmark.report.figures.method_axis import label_rows, padded
from benchmark.report.figures.panels import FigureSpec, Style
from benchmark.report.figures.style import BACKGROUND
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics.families import Contrast
from benchmark.report.tables.comparisons import BASELINE, baseline_contrasts
from benchmark.report.tables.table import percent_level

MAX_REACH = 2.5  # the axis extends to at most this multiple of the largest difference
CAPTION = (
    "Top-1 accuracy after the last epoch minus that of {}, in percentage points, with {} intervals that hold for "
    "all rows together (Dunnett), cut off at the frame. Hollow: n too small. An interval that contains 0 tells "
    "nothing apart; all for this one teacher."
)


def forest_figures(protocol: Protocol, baseline: str = BASELINE) -> list[FigureSpec]:
    """The figure against the named method or, without scores of it, the plain student; empty without a common seed."""
    base = protocol.baseline_row(baseline)
    differences = baseline_contrasts(protocol, base) if base else {}
    if not differences:
        return []
    largest = max(abs(contrast.difference) for contrast in differences.values())
    ends = [abs(end) for each in differences.values() for end in (each.low, each.high) if end is not None]
    reach = 100 * max(largest, min(MAX_REACH * largest, max(ends, default=0))) or 1.0
    panel = partial(draw_forest, differences=differences, limits=padded(-reach, reach))
    title, caption = f"Differences to {base.label}", CAPTION.format(base.label, percent_level())
    return [FigureSpec("forest", title, caption, panel, axis="", legend=None, shared_labels=True)]


def draw_forest(
    axes: Axes,
    protocol: Protocol,
    pair: Pair,
    styles: dict[Row, Style],
    differences: dict[tuple[Row, Pair], Contrast],
    limits: tuple[float, float],
) -> list[Row]:
    """Draw mean and interval of each row's difference; return the drawn rows."""
    rows = [row for row in protocol.rows if any(row == other for other, _ in differences)]
    drawn = [row for row in rows if (row, pair) in differences]
    for index, row in enumerate(rows):
        if (row, pair) not in differences:
            continue
        difference, (colour, marker) = differences[row, pair], styles[row]
        error = None if difference.high is None else [100 * (difference.high - difference.difference)]
        options = {"color": colour, "marker": marker, "elinewidth": 1.6, "markersize": 5}
        options |= {"markerfacecolor": BACKGROUND if difference.high is None else colour, "zorder": 3}
        axes.errorbar([100 * difference.difference], [index], xerr=error, **options)
    label_rows(axes, rows, limits, 0.0)
    axes.set_xlabel("difference (points)")
    return drawn
