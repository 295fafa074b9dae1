"""The picture of what a step takes: the plain student's part, the teacher's, and the method's own."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmark.report.figures.panels import COLOURS, FigureSpec, Style
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.records.entries import Entry
from benchmark.report.tables.measures import milliseconds

PARTS = {"plain_ms": "plain student’s step", "teacher_ms": "teacher’s forward", "method_ms": "method’s own"}
SHADES = dict(zip(PARTS, (COLOURS[5], COLOURS[4], COLOURS[0]), strict=True))
CAPTION = (
    "Milliseconds of one training step, each method measured alone on the device that the table of costs names: the "
    "plain student’s step, the teacher’s forward, and what the method adds to both, not drawn where noise makes it "
    "negative. The number is the whole step. Each panel has its own scale."
)


def draw_split(axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style]) -> list[Row]:
    """A bar for each row whose step was measured; the rows that were drawn."""
    where = next(iter(protocol.places), None)
    found = [(cell.row, cell.scored[0].cost(where)) for cell in protocol.students(pair)]
    found = [(row, price) for row, price in found if price and price.clock("step_ms") is not None]
    for height, (_, price) in enumerate(found):
        draw_bar(axes, height, price)
    axes.set_yticks(range(len(found)), [row.label for row, _ in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.margins(x=0.15)
    axes.grid(False)
    axes.set_xlabel("ms")
    return [row for row, _ in found]


def draw_bar(axes: Axes, height: int, price: Entry) -> None:
    """The parts of a step end to end, and the whole as a number."""
    left = 0.0
    for word, colour in SHADES.items():
        width = max(price.clock(word) or 0.0, 0.0)
        axes.barh(height, width, left=left, height=0.7, color=colour)
        left += width
    axes.annotate(
        milliseconds(price.clock("step_ms")),
        (left, height),
        xytext=(3, 0),
        textcoords="offset points",
        va="center",
        fontsize=7.5,
    )


def name_parts(figure: Figure, rows: Sequence[Row], styles: dict[Row, Style]) -> None:
    """The parts' names below the panels."""
    handles = [Patch(color=SHADES[word], label=name) for word, name in PARTS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


SPLIT = FigureSpec("split", "Where a step’s time goes", CAPTION, draw_split, legend=name_parts, axis="")
