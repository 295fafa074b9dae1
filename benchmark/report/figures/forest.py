"""The figure of differences to a baseline with simultaneous intervals, as a forest plot."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes

from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.drawing.method_axis import draw_seeds, label_rows, order_by_effect, padded
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.panels import FigureSpec
from benchmark.report.figures.style import BACKGROUND
from benchmark.report.formatting import format_interval, format_points
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics.blocks import matched
from benchmark.report.statistics.families import NO_VERDICT, Contrast
from benchmark.report.tables.comparisons import BASELINE, baseline_contrasts
from benchmark.report.tables.table import percent_level, teachers_phrase

MAX_REACH = 2.5  # the axis extends to at most this multiple of the largest difference
CAPTION = (
    "Top-1 accuracy after the last epoch minus that of {}, in percentage points, with {} intervals that hold for "
    "all rows together (Dunnett; against another row, picked in the table, Tukey), cut off at the frame. Small dots: "
    "seeds. Hollow: one run or n too small, so no verdict. An interval that contains 0 tells nothing apart; all {}."
)


def forest_figures(protocol: Protocol, baseline: str = BASELINE) -> list[FigureSpec]:
    """The figure against the named method or, without scores of it, the plain student; empty without a common block."""
    base = protocol.baseline_row(baseline)
    differences = baseline_contrasts(protocol, base) if base else {}
    if not differences:
        return []
    largest = max(abs(contrast.difference) for contrast in differences.values())
    contrasts = differences.values()
    ends = [end for each in contrasts for end in (each.low, each.difference, each.high) if end is not None]
    reach = 100 * max(largest, min(MAX_REACH * largest, max(map(abs, ends), default=0))) or 1.0
    low, high = 100 * min(0.0, *ends), 100 * max(0.0, *ends)
    limits = padded(max(-reach, low), min(reach, high)) if high > low else (-1.0, 1.0)
    panel = partial(draw_forest, base=base, differences=differences, limits=limits)
    caption = CAPTION.format(base.label, percent_level(), teachers_phrase(protocol))
    return [
        FigureSpec("forest", f"Differences to {base.label}", caption, panel, axis="", legend=None, shared_labels=True)
    ]


def draw_forest(
    axes: Axes,
    protocol: Protocol,
    pair: Pair,
    styles: dict[Row, Style],
    base: Row,
    differences: dict[tuple[Row, Pair], Contrast],
    limits: tuple[float, float],
) -> list[Row]:
    """Draw mean, interval and seeds of each row's difference; return the drawn rows."""
    rows = order_by_effect({key: contrast.difference for key, contrast in differences.items()})
    baseline = protocol.cells[base, pair].by_block()
    for index, row in enumerate(rows):
        if (row, pair) not in differences:
            continue
        difference, (colour, marker) = differences[row, pair], styles[row]
        draw_difference(axes, index, row, difference, {"color": colour, "marker": marker})
        common = matched(protocol.cells[row, pair].by_block(), baseline)
        if len(common) > 1:
            dots = {block: 100 * (own - other) for block, (own, other) in common.items()}
            draw_seeds(axes, dots, index + 0.3, row, "points")
    label_rows(axes, rows, limits, 0.0)
    axes.set_xlabel(f"minus {base.label} (points)")
    return [row for row in rows if (row, pair) in differences]


def draw_difference(axes: Axes, place: int, row: Row, difference: Contrast, options: dict[str, object]) -> None:
    """Draw one difference with its interval; hollow without a verdict."""
    error = None if difference.high is None else [100 * (difference.high - difference.difference)]
    inside = BACKGROUND if difference.verdict in NO_VERDICT else options["color"]
    options = options | {"elinewidth": 1.6, "markersize": 5.5, "markerfacecolor": inside, "zorder": 3}
    line, _, bars = axes.errorbar([100 * difference.difference], [place], xerr=error, **options)
    interval = format_interval(difference.low, difference.high)
    reading = f"{format_points(difference.difference)} points, {interval}: {difference.verdict}"
    for artist in (line, *bars):
        tag(artist, row.label, reading)
