"""The figure of accuracy against the time of a training step, with the Pareto frontier."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes

from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.drawing.labels import label_marks
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.panels import LONE_WIDTH, PANEL_WIDTH, FigureSpec, axes_height, marker_style
from benchmark.report.figures.style import FOREGROUND
from benchmark.report.figures.teacher import draw_teacher
from benchmark.report.formatting import format_percent
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.records.entries import Platform
from benchmark.report.tables.measures import format_milliseconds
from benchmark.report.tables.table import device_text, percent_level

CAPTION = (
    "Top-1 accuracy after the last epoch against the milliseconds of one training step, the teacher’s forward "
    "included, measured alone on {} in {}. Dashed line: the teacher. Bars: {} t interval of the mean, where n > 1. "
    "Dotted: the Pareto frontier, through the means that none of the same or a lower cost exceeds. Each panel has its "
    "own scale."
)


def tradeoff_figures(protocol: Protocol) -> list[FigureSpec]:
    """The figure, if the time of steps was measured."""
    platform = next(iter(protocol.cost_platforms), None)
    if platform is None:
        return []
    caption = CAPTION.format(device_text(platform[0]), platform[1], percent_level())
    panel = partial(draw_tradeoff, platform=platform)
    return [FigureSpec("step", "Accuracy against the time of a step", caption, panel, legend=None, tall=True)]


def draw_tradeoff(
    axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style], platform: Platform
) -> list[Row]:
    """Draw accuracy against a step's time, with the Pareto frontier; return the drawn rows."""
    known = [(cell, step_milliseconds(cell, platform)) for cell in protocol.student_cells(pair)]
    known = sorted(((cell, cost) for cell, cost in known if cost), key=lambda item: item[1])
    if not known:
        return []
    for cell, cost in known:
        draw_mean(axes, cell, cost, styles[cell.row])
    points = [(cost, 100 * cell.summary().mean) for cell, cost in known]
    best = [points[index] for index in pareto_frontier(points)]
    axes.step(*zip(*best, strict=True), where="post", color=FOREGROUND, linestyle=":", linewidth=1, zorder=1)
    axes.set_xlabel("ms per step")
    axes.margins(x=0.08, y=0.1)
    teacher = draw_teacher(axes, protocol, pair)
    lone = sum(bool(protocol.student_cells(each)) for each in protocol.pairs) == 1
    marks = [(*point, cell.row.marked, cell.row.label) for (cell, _), point in zip(known, points, strict=True)]
    axes.autoscale_view()
    label_marks(axes, marks, (LONE_WIDTH if lone else PANEL_WIDTH, axes_height(protocol)))
    return [cell.row for cell, _ in known] + teacher


def step_milliseconds(cell: Cell, platform: Platform) -> float | None:
    """The mean time of a training step of the cell's runs on a platform; None if it was not measured there."""
    summary = cell.summary(lambda entry: (cost := entry.cost(platform)) and cost.clock("step_ms"))
    return summary.mean if summary else None


def draw_mean(axes: Axes, cell: Cell, position: float, style: Style) -> None:
    """Draw a cell's mean accuracy with its interval at a position on the x axis."""
    top1, (colour, marker) = cell.summary(), style
    error = None if top1.high is None else [100 * (top1.high - top1.mean)]
    options = {"color": colour, "marker": marker, "elinewidth": 1.0}
    line, _, bars = axes.errorbar([position], [100 * top1.mean], yerr=error, **options, **marker_style(cell.row))
    for artist in (line, *bars):
        tag(artist, cell.row.label, f"{format_percent(top1.mean)} %, {format_milliseconds(position)} ms a step")


def pareto_frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """The indices of the points (cost, accuracy) that no other point dominates, in order of cost."""
    best: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not best or points[index][1] > points[best[-1]][1] or points[index] == points[best[-1]]:
            best.append(index)
    return best
