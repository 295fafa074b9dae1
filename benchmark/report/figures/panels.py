"""How a picture of a protocol is drawn: one panel per pair, places reckoned in inches, a legend below.

Matplotlib's own layouts measure every text several times; with 13 pairs that takes longer than the drawing.
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

from benchmark.report.figures.style import (
    BACKGROUND,
    COLOURS,
    FOREGROUND,
    MARKERS,
    TITLE,
    RenderedFigure,
    render_figure,
    width,
)
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.tables.table import scoring_sentence

Style = tuple[str, str]  # colour, marker
ACROSS, WIDE, HIGH = 3, 2.55, 1.95  # panels abreast; a panel in inches, without what stands around it
LINE, GAP, PAD = 0.17, 0.2, 0.08  # a line of text; right of each panel; at the edges


def styles_of(protocols: Sequence[Protocol]) -> dict[Row, Style]:
    """A colour and a marker for every row, the same in all pictures of a report."""
    rows = dict.fromkeys(row for protocol in protocols for row in protocol.rows)
    found: dict[Row, Style] = {}
    for index, row in enumerate(row for row in rows if row.kind == "method"):
        found[row] = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    for index, row in enumerate(row for row in rows if row.kind == "student"):
        found[row] = FOREGROUND, MARKERS[index % len(MARKERS)]
    return found | {row: (FOREGROUND, "*") for row in rows if row.kind == "teacher"}


def add_legend(figure: Figure, rows: Sequence[Row], styles: dict[Row, Style]) -> None:
    """Names below the panels."""
    looks = [
        {"color": styles[row][0], "marker": styles[row][1], "linestyle": line_style(row), **marker_style(row)}
        for row in rows
    ]
    name_lines(figure, looks, [row.label for row in rows])


def name_lines(figure: Figure, looks: Sequence[dict[str, object]], names: Sequence[str]) -> None:
    """A legend of lines, in as many columns as there is room for."""
    columns = max(1, int((figure.get_figwidth() - PAD) / (max(map(width, names)) + 0.65)))
    handles = [Line2D([], [], **look) for look in looks]
    figure.legend(handles, names, loc="outside lower center", ncols=min(columns, len(names)), handlelength=2.6)


def marker_style(row: Row) -> dict[str, object]:
    """Students without a teacher have hollow markers."""
    return {
        "markersize": 8 if row.kind == "teacher" else 5,
        "markerfacecolor": BACKGROUND if row.kind == "student" else None,
    }


def line_style(row: Row) -> str:
    """Dashed for a teacher, solid for who learns from one."""
    return "--" if row.kind == "teacher" else "-"


@dataclass(frozen=True, slots=True)
class FigureSpec:
    """What to draw into each panel; `panel` returns the rows that it has drawn."""

    word: str  # in the names of its files
    title: str
    caption: str
    panel: Callable[[Axes, Protocol, Pair, dict[Row, Style]], Sequence[Row]]
    axis: str = "top-1 accuracy (%)"  # what runs upwards
    legend: Callable[[Figure, Sequence[Row], dict[Row, Style]], None] | None = add_legend
    shared: bool = False  # all panels have the same words upwards, which the first of a line shows


def draw_figure(picture: FigureSpec, protocol: Protocol, styles: dict[Row, Style]) -> RenderedFigure | None:
    """The picture of a protocol; None if no panel has anything to show."""
    name, title = f"{protocol.slug}-{picture.word}", f"{picture.title} · {protocol.label}"
    caption = f"{scoring_sentence(protocol)} {picture.caption}"
    return render_figure(name, title, caption, lambda: compose(picture, protocol, styles))


def compose(picture: FigureSpec, protocol: Protocol, styles: dict[Row, Style]) -> Figure | None:
    """A panel for each pair that has something to show, and the legend."""
    figure, seen, panels = Figure(), set(), []
    for pair in (pair for pair in protocol.pairs if protocol.students(pair)):
        axes = figure.add_axes((0, 0, 1, 1), label=str(len(panels)))
        axes.locator_params(nbins=4)
        rows = picture.panel(axes, protocol, pair, styles)
        if rows:
            letters = int(len(pair.label) * WIDE / width(pair.label, TITLE))
            axes.set_title(textwrap.fill(pair.label, max(letters, 12)), loc="left", y=1, fontsize=TITLE)
            panels.append(axes)
            seen.update(rows)
        else:
            axes.remove()
    if not panels:
        return None
    across = 2 if len(panels) in (2, 4) else min(ACROSS, len(panels))
    grid = [panels[start : start + across] for start in range(0, len(panels), across)]
    lefts = margins(picture, grid)
    wide = WIDE + 1.3 * (across == 1)
    figure.set_figwidth(sum(lefts) + across * (wide + GAP) + PAD)
    if picture.legend:
        picture.legend(figure, [row for row in protocol.rows if row in seen], styles)
    arrange(picture, figure, grid, lefts, wide)
    return figure


def margins(picture: FigureSpec, grid: Sequence[Sequence[Axes]]) -> list[float]:
    """Inches that the words left of each column of panels take."""
    lefts = [0.0] * len(grid[0])
    for place, axes in [(place, axes) for line in grid for place, axes in enumerate(line)]:
        if place and picture.shared:
            axes.tick_params(labelleft=False)
            lefts[place] = GAP
        else:
            labels = axes.yaxis.get_major_formatter().format_ticks(axes.get_yticks())
            lefts[place] = max(lefts[place], max(map(width, labels), default=0) + 0.1)
    for line in grid:
        line[0].set_ylabel(picture.axis)
    return [left + (LINE + 0.05) * (place == 0 and picture.axis != "") for place, left in enumerate(lefts)]


def arrange(
    picture: FigureSpec, figure: Figure, grid: Sequence[Sequence[Axes]], lefts: Sequence[float], wide: float
) -> None:
    """Put every panel in its place, from the legend upwards; only the lowest of a column says what runs rightwards."""
    lines = max(len(axes.get_yticks()) for line in grid for axes in line)
    high = max(HIGH * (not picture.shared), 0.25 + (LINE + 0.03) * lines)
    places, level, below = [], PAD + sum(map(height, figure.legends)), 0
    for line in reversed(grid):
        named = [axes for axes in line[below:] if axes.get_xlabel()]
        level += LINE + 0.1 + (LINE if named else 0)
        for place, axes in enumerate(line):
            left = PAD + sum(lefts[: place + 1]) + place * (wide + GAP)
            places.append((axes, left, level))
            axes.set_xlabel(axes.get_xlabel() if place >= below else "")
            axes.xaxis.set_label_coords(0.5, -(LINE + 0.08) / high)
            axes.yaxis.set_label_coords(-(lefts[0] - LINE) / wide, 0.5)
        titles = max(axes.get_title(loc="left").count("\n") + 1 for axes in line)
        level, below = level + high + titles * LINE + 0.12, len(line)
    figure.set_figheight(level + PAD)
    for axes, left, bottom in places:
        axes.set_position(
            (
                left / figure.get_figwidth(),
                bottom / figure.get_figheight(),
                wide / figure.get_figwidth(),
                high / figure.get_figheight(),
            )
        )


def height(legend: Legend) -> float:
    """In inches."""
    return legend.get_window_extent(FigureCanvasAgg(legend.figure).get_renderer()).height / legend.figure.dpi
