"""The figure of published numbers against ours: how far each is from it, with the margin as a band."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.figures.drawing.cache import NO_CACHE, FigureCache
from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.panels import add_legend, marker_style
from benchmark.report.figures.style import FOREGROUND, RenderedFigure, render_figure
from benchmark.report.formatting import format_interval, format_points
from benchmark.report.published import PublishedMatch
from benchmark.report.records.cells import Protocol, Row
from benchmark.report.statistics.equivalence import MARGIN, TOST_LEVEL
from benchmark.report.tables.table import mark_legend

SIZE = (6.4, 3.8)  # inches
CAPTION = (
    "Our mean top-1 minus the published one, for every cell whose published number was made under the same protocol. "
    f"Band: ± {100 * MARGIN:g} points, within which a number counts as reproduced. Bars: {100 * TOST_LEVEL:g} % "
    "interval. Marks of the teacher: stars. Where several papers print a number for a cell, the first one."
)


def published_figure(
    protocol: Protocol, matches: Sequence[PublishedMatch], styles: dict[Row, Style], kept: FigureCache = NO_CACHE
) -> RenderedFigure | None:
    """The figure; None without a number of the same protocol."""
    first: dict[tuple, PublishedMatch] = {}
    for match in matches:
        if not match.departures:
            first.setdefault((match.cell.row, match.cell.pair), match)
    if not first:
        return None
    name, title = f"{protocol.slug}-published", f"Ours minus published · {protocol.label}"
    caption = " ".join([CAPTION, *mark_legend(match.cell.row.mark for match in first.values())])
    return render_figure(name, title, caption, lambda: compose(protocol, list(first.values()), styles), kept)


def compose(protocol: Protocol, matches: Sequence[PublishedMatch], styles: dict[Row, Style]) -> Figure:
    """One panel: the difference over the published number."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.axhspan(-100 * MARGIN, 100 * MARGIN, color=FOREGROUND, alpha=0.08, linewidth=0)
    axes.axhline(0, color=FOREGROUND, linewidth=0.8)
    for match in matches:
        draw_match(axes, match, styles[match.cell.row])
    axes.set_xlabel("published top-1 (%)")
    axes.set_ylabel("ours minus published (points)")
    shown = {match.cell.row for match in matches}
    add_legend(figure, [row for row in protocol.rows if row in shown], styles)
    return figure


def draw_match(axes: Axes, match: PublishedMatch, style: Style) -> None:
    """Draw one cell, with its interval."""
    comparison, row, (colour, marker) = match.comparison, match.cell.row, style
    ends = None if comparison.low is None else (comparison.low, comparison.high)
    middle = comparison.difference
    error = None if ends is None else [[100 * (middle - ends[0])], [100 * (ends[1] - middle)]]
    options = {"color": colour, "marker": marker, "elinewidth": 0.8} | marker_style(row)
    line, _, bars = axes.errorbar([float(match.quoted.value)], [100 * middle], yerr=error, **options)
    reading = f"{match.cell.pair.label}, {format_points(middle)} points, {format_interval(*(ends or (None, None)))}"
    for artist in (line, *bars):
        tag(artist, row.label, f"{reading}: {match.verdict}")
