"""The figure of the time of a training step: plain student's step, teacher's forward, and the method's own time."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.panels import FigureSpec
from benchmark.report.figures.style import COLOURS
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.records.entries import Entry
from benchmark.report.tables.measures import format_milliseconds

PARTS = {"plain_ms": "plain student’s step", "teacher_ms": "teacher’s forward", "method_ms": "method’s own"}
PART_COLOURS = dict(zip(PARTS, (COLOURS[5], COLOURS[4], COLOURS[0]), strict=True))
CAPTION = (
    "Milliseconds of one training step, each method measured alone on the device that the table of costs names: the "
    "plain student’s step, the teacher’s forward, and what the method adds to both, not drawn where noise makes it "
    "negative. The number is the whole step. Each panel has its own scale."
)


def draw_step_time(axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style]) -> list[Row]:
    """Draw a bar for each row whose step was measured; return the drawn rows."""
    platform = next(iter(protocol.cost_platforms), None)
    costs = [(cell.row, cell.scored[0].cost(platform)) for cell in protocol.student_cells(pair)]
    costs = [(row, cost) for row, cost in costs if cost and cost.clock("step_ms") is not None]
    for index, (row, cost) in enumerate(costs):
        draw_bar(axes, index, row, cost)
    axes.set_yticks(range(len(costs)), [row.marked for row, _ in costs])
    for text, (row, _) in zip(axes.get_yticklabels(), costs, strict=True):
        tag(text, row.label)
    axes.set_ylim(len(costs) - 0.4, -0.6)
    axes.margins(x=0.15)
    axes.grid(False)
    axes.set_xlabel("ms")
    return [row for row, _ in costs]


def draw_bar(axes: Axes, index: int, row: Row, cost: Entry) -> None:
    """Draw the parts of a step as a stacked bar, with the whole step's time as a number."""
    left, whole = 0.0, format_milliseconds(cost.clock("step_ms"))
    for part, colour in PART_COLOURS.items():
        time = cost.clock(part) or 0.0
        bar = axes.barh(index, max(time, 0.0), left=left, height=0.7, color=colour).patches[0]
        tag(bar, row.label, f"{PARTS[part]} {format_milliseconds(time)} of {whole} ms")
        left += max(time, 0.0)
    options = {"xytext": (3, 0), "textcoords": "offset points", "va": "center", "fontsize": 7.5}
    tag(axes.annotate(whole, (left, index), **options), row.label)


def add_parts_legend(figure: Figure, rows: Sequence[Row], styles: dict[Row, Style]) -> None:
    """Add a legend of the parts below the panels."""
    handles = [Patch(color=PART_COLOURS[part], label=name) for part, name in PARTS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


STEP_TIME = FigureSpec(
    "split", "Where a step’s time goes", CAPTION, draw_step_time, legend=add_parts_legend, axis="", scored=False
)
