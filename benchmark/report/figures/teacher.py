"""Draw a pair's teacher into a panel, and read its accuracy and sizes."""

from __future__ import annotations

from matplotlib.axes import Axes

from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.style import FOREGROUND
from benchmark.report.records.cells import Pair, Protocol, Row


def draw_teacher(axes: Axes, protocol: Protocol, pair: Pair, cost: float | None = None) -> list[Row]:
    """Draw the teacher's accuracy as a line across the panel and, with a cost, a star; return the drawn rows."""
    percent = teacher_score(protocol, pair)
    if percent is None:
        return []
    row = Row("teacher")
    marks = [axes.axhline(percent, color=FOREGROUND, linewidth=0.8, linestyle="--")]
    if cost:
        marks += axes.plot([cost], [percent], color=FOREGROUND, marker="*", markersize=9)
    for mark in marks:
        tag(mark, row.label, f"{percent:.2f} %")
    return [row]


def teacher_score(protocol: Protocol, pair: Pair) -> float | None:
    """The teacher's top-1 in percent, the mean of several, from its record or its students'; None if in neither."""
    cell = protocol.cells.get((Row("teacher"), pair))
    summary = cell and cell.summary()
    value = summary.mean if summary else cell and cell.reported_top1
    return None if value is None else 100 * value


def teacher_scores(protocol: Protocol, pair: Pair) -> dict[int, float]:
    """Seed of a teacher -> its top-1, a fraction; empty where the students are judged on other images."""
    cell = protocol.cells.get((Row("teacher"), pair))
    return dict(cell.teacher_scores) if cell else {}


def teacher_size(protocol: Protocol, pair: Pair, name: str, name_in_students: str) -> float | None:
    """A size of the teacher, from its record or, under another name, from its students'; None if it is in neither."""
    cell = protocol.cells.get((Row("teacher"), pair))
    summary = cell and cell.summary(lambda entry: entry.size(name))
    sizes = [entry.size(name_in_students) for cell in protocol.student_cells(pair) for entry in cell.scored]
    return summary.mean if summary else next((size for size in sizes if size), None)
