"""The critical-difference diagram: average ranks over pairs, with bars that join rows not told apart.

J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), figure 1.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.figures.drawing.cache import NO_CACHE, FigureCache
from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.style import FOREGROUND, RenderedFigure, render_figure, text_width
from benchmark.report.records.cells import Protocol, Row
from benchmark.report.statistics.across import cliques
from benchmark.report.tables.across import Overview, overview
from benchmark.report.tables.table import mark_legend

WIDTH, LINE, MARGIN = 4.2, 0.24, 0.12  # inches: of the axis of ranks; of a row; at the edges
CAPTION = (
    "Average rank over {} pairs, the best on the left. A bar joins rows that are closer than the critical "
    "difference of {:.2f} (Nemenyi, 5 %) and so not told apart. Pairs share networks: they are fewer independent "
    "cases than that."
)


def rank_figure(protocol: Protocol, styles: dict[Row, Style], kept: FigureCache = NO_CACHE) -> RenderedFigure | None:
    """The diagram of a protocol; None where there are no two pairs to rank on.  kept: figures drawn earlier."""
    found = overview(protocol)
    if found is None:
        return None
    caption = CAPTION.format(len(found.pairs), found.ranks.critical_difference)
    caption = " ".join([caption, *mark_legend(row.mark for row in found.rows)])
    name, title = f"{protocol.slug}-ranks", f"Average ranks · {protocol.label}"
    return render_figure(name, title, caption, lambda: compose(found, styles), kept)


def compose(found: Overview, styles: dict[Row, Style]) -> Figure:
    """One axis of ranks; below it a line per row, in order of rank, and the bars."""
    averages = found.ranks.averages.tolist()
    order = sorted(range(len(averages)), key=lambda i: (averages[i], found.rows[i].label))
    groups = cliques(averages, found.ranks.critical_difference)
    left = MARGIN + 0.1 + max(text_width(row.marked) for row in found.rows)
    depth = len(order) + 0.6 * len(groups)
    width, height = left + WIDTH + MARGIN, LINE * (depth + 1.5) + 2 * MARGIN
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, MARGIN / height, WIDTH / width, LINE * (depth + 0.5) / height))
    for place, i in enumerate(order):
        colour, marker = styles[found.rows[i]]
        (mark,) = axes.plot([averages[i]], [place], color=colour, marker=marker, markersize=6, zorder=3)
        tag(mark, found.rows[i].label, f"average rank {averages[i]:.2f}")
        axes.plot([0.7, averages[i]], [place, place], color="#9aa0a8", linewidth=0.6, zorder=1)
    draw_bars(axes, averages, groups, len(order))
    axes.set_yticks(range(len(order)), [found.rows[i].marked for i in order])
    for text, i in zip(axes.get_yticklabels(), order, strict=True):
        tag(text, found.rows[i].label)
    axes.set_xlim(0.7, len(order) + 0.3)
    axes.set_ylim(depth - 0.3, -0.6)
    axes.xaxis.tick_top()
    axes.tick_params(axis="both", length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return figure


def draw_bars(axes: Axes, averages: list[float], groups: list[tuple[int, ...]], lines: int) -> None:
    """A bar below the rows for each group whose ranks are not told apart."""
    for place, group in enumerate(groups):
        ends = [averages[i] for i in group]
        height = lines - 0.3 + 0.6 * place
        axes.plot([min(ends) - 0.05, max(ends) + 0.05], [height] * 2, color=FOREGROUND, linewidth=2.5, zorder=2)
