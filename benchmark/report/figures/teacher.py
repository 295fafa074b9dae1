"""The teacher of a panel: its accuracy as a line across, and a star where its cost is on the axis."""

from __future__ import annotations

from matplotlib.axes import Axes

from benchmark.report.figures.style import FOREGROUND
from benchmark.report.records.cells import Pair, Protocol, Row


def draw_teacher(axes: Axes, protocol: Protocol, pair: Pair, cost: float | None = None) -> list[Row]:
    """The teacher's accuracy across the panel, and a star at its cost."""
    mark = teacher_score(protocol, pair)
    if mark is None:
        return []
    axes.axhline(mark, color=FOREGROUND, linewidth=0.8, linestyle="--")
    if cost:
        axes.plot([cost], [mark], color=FOREGROUND, marker="*", markersize=9)
    return [Row("teacher")]


def teacher_score(protocol: Protocol, pair: Pair) -> float | None:
    """In percent."""
    cell = protocol.cells.get((Row("teacher"), pair))
    summary = cell and cell.summary()
    value = summary.mean if summary else cell and cell.reported_top1
    return None if value is None else 100 * value


def teacher_size(protocol: Protocol, pair: Pair, word: str, student_word: str) -> float | None:
    """A count of the teacher's own record, or of its students', where it has another name."""
    own = protocol.cells.get((Row("teacher"), pair))
    summary = own and own.summary(lambda entry: entry.size(word))
    said = [entry.size(student_word) for cell in protocol.students(pair) for entry in cell.scored]
    return summary.mean if summary else next((size for size in said if size), None)
