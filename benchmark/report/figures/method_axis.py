"""Panels that have the methods upwards by name: what their axes share."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from benchmark.report.figures.style import FOREGROUND
from benchmark.report.records.cells import Row


def name_rows(axes: Axes, rows: Sequence[Row], frame: tuple[float, float], *marks: float) -> None:
    """The rows from top to bottom, a line at each of the marks, and nothing beyond the frame."""
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(*frame)
    axes.grid(False)
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0)
    for mark in marks:
        axes.axvline(mark, color=FOREGROUND, linewidth=0.8, zorder=1)


def padded(low: float, high: float) -> tuple[float, float]:
    """A little room on both sides."""
    room = 0.04 * (high - low)
    return low - room, high + room
