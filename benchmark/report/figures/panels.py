"""Lay out the figures of a protocol: one panel per pair, positions computed in inches, a legend below.

Matplotlib's own layout engines measure every text several times; with 13 pairs that takes longer than the drawing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from benchmark.report.figures.drawing.cache import NO_CACHE, FigureCache
from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.drawing.labels import LINE as LABEL_LINE
from benchmark.report.figures.drawing.labels import SIZE as LABEL_SIZE
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.style import (
    BACKGROUND,
    TITLE,
    RenderedFigure,
    render_figure,
    text_width,
)
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.tables.table import mark_legend, scoring_sentence

MAX_COLUMNS = 3  # panels side by side
PANEL_WIDTH, PANEL_HEIGHT, LONE_WIDTH = 2.55, 1.95, 4.6  # of a panel's axes, and of the only one, in inches
LINE_HEIGHT, PANEL_GAP, MARGIN = 0.17, 0.2, 0.08  # inches: a line of text; right of each panel; at the edges


def add_legend(figure: Figure, rows: Sequence[Row], styles: dict[Row, Style]) -> None:
    """Add a legend of rows below the panels."""
    line_options = [
        {"color": styles[row][0], "marker": styles[row][1], "linestyle": legend_line_style(row), **marker_style(row)}
        for row in rows
    ]
    add_line_legend(figure, line_options, [row.marked for row in rows], rows)


def add_line_legend(
    figure: Figure, line_options: Sequence[dict[str, object]], labels: Sequence[str], rows: Sequence[Row]
) -> None:
    """Add a legend of lines below the panels, in as many columns as fit; rows: whose line each is."""
    columns = max(1, int((figure.get_figwidth() - MARGIN) / (max(map(text_width, labels)) + 0.65)))
    handles = [Line2D([], [], **options) for options in line_options]
    legend = figure.legend(
        handles, labels, loc="outside lower center", ncols=min(columns, len(labels)), handlelength=2.6
    )
    for text, row in zip(legend.get_texts(), rows, strict=True):
        tag(text, row.label)


def marker_style(row: Row) -> dict[str, object]:
    """Marker size and fill of a row: hollow for students without a teacher, larger for teachers."""
    return {
        "markersize": 8 if row.kind == "teacher" else 5,
        "markerfacecolor": BACKGROUND if row.kind == "student" else None,
    }


def legend_line_style(row: Row) -> str:
    """The line style of a row in the legend: dashed for a teacher, solid for students."""
    return "--" if row.kind == "teacher" else "-"


def axes_height(protocol: Protocol) -> float:
    """The height in inches of panels in which every row has a label of its own."""
    return max(PANEL_HEIGHT, LABEL_LINE * (len(protocol.rows) + 1))


def label_margin(spec: FigureSpec, protocol: Protocol) -> float:
    """The width in inches right of each panel: of the rows' labels, where they stand there."""
    widths = [text_width(row.marked, LABEL_SIZE) for row in protocol.rows] if spec.end_labels else []
    return max([PANEL_GAP, *(0.25 + width for width in widths)])


@dataclass(frozen=True, slots=True)
class FigureSpec:
    """The description of a figure: its texts and the function that draws a panel and returns the rows it drew."""

    name: str  # last part of its files' names
    title: str
    caption: str
    panel: Callable[[Axes, Protocol, Pair, dict[Row, Style]], Sequence[Row]]
    axis: str = "top-1 accuracy (%)"  # label of the y axis
    legend: Callable[[Figure, Sequence[Row], dict[Row, Style]], None] | None = add_legend
    shared_labels: bool = False  # all panels have the same y tick labels, shown in the first column only
    tall: bool = False  # every row has a label of its own in each panel
    end_labels: bool = False  # these labels stand right of it
    scored: bool = True  # whether it shows scores


def draw_figure(
    spec: FigureSpec, protocol: Protocol, styles: dict[Row, Style], kept: FigureCache = NO_CACHE
) -> RenderedFigure | None:
    """Render the figure of a protocol; None if no panel has data."""
    name, title = f"{protocol.slug}-{spec.name}", f"{spec.title} · {protocol.label}"
    scoring = [scoring_sentence(protocol)] if spec.scored else []
    caption = " ".join([*scoring, spec.caption, *row_legend(protocol)])
    return render_figure(name, title, caption, lambda: compose(spec, protocol, styles), kept)


def row_legend(protocol: Protocol) -> list[str]:
    """The explanations of the marks at the names of a protocol's methods that have a score."""
    return mark_legend(cell.row.mark for pair in protocol.pairs for cell in protocol.student_cells(pair))


def compose(spec: FigureSpec, protocol: Protocol, styles: dict[Row, Style]) -> Figure | None:
    """Draw a panel for each pair with data, and the legend; None if there is no panel."""
    figure, drawn_rows, panels = Figure(), set(), []
    for pair in (pair for pair in protocol.pairs if protocol.student_cells(pair)):
        axes = figure.add_axes((0, 0, 1, 1), label=str(len(panels)))
        axes.locator_params(nbins=4)
        rows = spec.panel(axes, protocol, pair, styles)
        if rows:
            characters = int(len(pair.label) * PANEL_WIDTH / text_width(pair.label, TITLE))
            axes.set_title(textwrap.fill(pair.label, max(characters, 12)), loc="left", y=1, fontsize=TITLE)
            panels.append(axes)
            drawn_rows.update(rows)
        else:
            axes.remove()
    if not panels:
        return None
    columns = 2 if len(panels) in (2, 4) else min(MAX_COLUMNS, len(panels))
    grid = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    margins = left_margins(spec, grid)
    size = LONE_WIDTH if columns == 1 else PANEL_WIDTH, panel_height(spec, protocol, panels)
    gap = label_margin(spec, protocol)
    figure.set_figwidth(sum(margins) + columns * (size[0] + gap) + MARGIN)
    if spec.legend:
        spec.legend(figure, [row for row in protocol.rows if row in drawn_rows], styles)
    place_panels(figure, grid, margins, size, gap)
    return figure


def panel_height(spec: FigureSpec, protocol: Protocol, panels: Sequence[Axes]) -> float:
    """The height in inches of a panel's axes."""
    if spec.tall:
        return axes_height(protocol)
    count = max(len(axes.get_yticks()) for axes in panels)
    return max(PANEL_HEIGHT * (not spec.shared_labels), 0.25 + (LINE_HEIGHT + 0.03) * count)


def left_margins(spec: FigureSpec, grid: Sequence[Sequence[Axes]]) -> list[float]:
    """The width in inches of the labels left of each column of panels; sets or hides the labels too."""
    margins = [0.0] * len(grid[0])
    for column, axes in [(column, axes) for row in grid for column, axes in enumerate(row)]:
        if column and spec.shared_labels:
            axes.tick_params(labelleft=False)
            margins[column] = PANEL_GAP
        else:
            labels = axes.yaxis.get_major_formatter().format_ticks(axes.get_yticks())
            margins[column] = max(margins[column], max(map(text_width, labels), default=0) + 0.1)
    for row in grid:
        row[0].set_ylabel(spec.axis)
    return [left + (LINE_HEIGHT + 0.05) * (column == 0 and spec.axis != "") for column, left in enumerate(margins)]


def place_panels(
    figure: Figure, grid: Sequence[Sequence[Axes]], margins: Sequence[float], size: tuple[float, float], gap: float
) -> None:
    """Set the position of every panel, from the legend upwards; only the lowest panel of a column keeps its x label.

    size: width and height of a panel's axes; gap: right of each panel; all in inches.
    """
    width, height = size
    positions, bottom, columns_below = [], MARGIN + sum(map(legend_height, figure.legends)), 0
    for row in reversed(grid):
        labelled = [axes for axes in row[columns_below:] if axes.get_xlabel()]
        bottom += LINE_HEIGHT + 0.1 + (LINE_HEIGHT if labelled else 0)
        for column, axes in enumerate(row):
            left = MARGIN + sum(margins[: column + 1]) + column * (width + gap)
            positions.append((axes, left, bottom))
            axes.set_xlabel(axes.get_xlabel() if column >= columns_below else "")
            axes.xaxis.set_label_coords(0.5, -(LINE_HEIGHT + 0.08) / height)
            axes.yaxis.set_label_coords(-(margins[0] - LINE_HEIGHT) / width, 0.5)
        titles = max(axes.get_title(loc="left").count("\n") + 1 for axes in row)
        bottom, columns_below = bottom + height + titles * LINE_HEIGHT + 0.12, len(row)
    figure.set_figheight(bottom + MARGIN)
    for axes, left, bottom in positions:
        axes.set_position(
            (
                left / figure.get_figwidth(),
                bottom / figure.get_figheight(),
                width / figure.get_figwidth(),
                height / figure.get_figheight(),
            )
        )


def legend_height(legend: Legend) -> float:
    """The height of a legend in inches."""
    return legend.get_window_extent(FigureCanvasAgg(legend.figure).get_renderer()).height / legend.figure.dpi
