"""Axes of panels that list the methods along the y axis."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from benchmark.report.figures.style import FOREGROUND
from benchmark.report.records.cells import Row


def label_rows(axes: Axes, rows: Sequence[Row], limits: tuple[float, float], *reference_lines: float) -> None:
    """Label the y axis with the rows from top to bottom, set the x limits and draw vertical reference lines."""
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(*limits)
    axes.grid(False)
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0)
    for position in reference_lines:
        axes.axvline(position, color=FOREGROUND, linewidth=0.8, zorder=1)


def padded(low: float, high: float) -> tuple[float, float]:
    """The limits widened by 4 % of their span on both sides."""
    padding = 0.04 * (high - low)
    return low - padding, high + padding
