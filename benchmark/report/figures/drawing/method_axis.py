"""Axes of panels that list the methods along the y axis, ordered by their effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.style import FOREGROUND
from benchmark.report.records.cells import Row
from benchmark.report.statistics.blocks import Key, key_text

NAMED_DOTS = 10  # of a row at most: each has its text
SEED = {"linestyle": "none", "marker": "o", "markersize": 2.6, "markeredgewidth": 0, "alpha": 0.55, "zorder": 4}


def order_by_effect(effects: Mapping[tuple[Row, object], float]) -> list[Row]:
    """The rows, those with the largest mean effect first; effects: (row, pair) -> effect."""
    found: dict[Row, list[float]] = {}
    for (row, _), effect in effects.items():
        found.setdefault(row, []).append(effect)
    return sorted(found, key=lambda row: (-sum(found[row]) / len(found[row]), row.label))


def draw_seeds(axes: Axes, values: Mapping[Key, float], place: float, row: Row, unit: str) -> None:
    """A dot for each block beside the interval of its row; values: block -> number on the x axis.

    With many blocks their dots are one mark, which takes less time and space, and none has a text.
    """
    if len(values) > NAMED_DOTS:
        (dots,) = axes.plot([*values.values()], [place] * len(values), color=FOREGROUND, **SEED)
        tag(dots, row.label)
        return
    for block, value in values.items():
        (dot,) = axes.plot([value], [place], color=FOREGROUND, **SEED)
        tag(dot, row.label, f"{key_text(block)}: {value:+.2f} {unit}")


def label_rows(axes: Axes, rows: Sequence[Row], limits: tuple[float, float], *reference_lines: float) -> None:
    """Label the y axis with the rows from top to bottom, set the x limits and draw vertical reference lines."""
    axes.set_yticks(range(len(rows)), [row.marked for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(*limits)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        tag(label, row.label)
    axes.grid(False)
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0)
    for position in reference_lines:
        axes.axvline(position, color=FOREGROUND, linewidth=0.8, zorder=1)


def padded(low: float, high: float) -> tuple[float, float]:
    """The limits widened by 4 % of their span on both sides."""
    padding = 0.04 * (high - low)
    return low - padding, high + padding
