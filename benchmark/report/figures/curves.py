"""Accuracy over the epochs: a line per method, a band over its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes

from benchmark.report.figures.panels import FigureSpec, Style, marker_style
from benchmark.report.figures.teacher import draw_teacher
from benchmark.report.records.cells import Pair, Protocol, Row

POINTS = 80  # of a line at most: more cannot be seen in a panel
BANDS = (
    "Mean over seeds, band from the lowest to the highest seed. Of long trainings every second, third or later epoch "
    f"is drawn, so that a line has {POINTS} points at most, and the last. Runs that did not finish are left out."
)


def draw_curves(axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style]) -> list[Row]:
    """Accuracy over epochs; the rows that were drawn."""
    cells = [(cell, per_epoch(entry.accuracies() for entry in cell.scored)) for cell in protocol.students(pair)]
    cells = [(cell, 100 * values) for cell, values in cells if np.isfinite(values).any()]
    axes.set_xlabel("epoch")
    if not cells:
        return []
    floors = []
    for index, (cell, values) in enumerate(cells):
        means = draw_band(axes, values, line_look(cell.row, styles[cell.row]), index / len(cells))
        floors.append(means[len(means) * 2 // 3 :].min())
    rows = [cell.row for cell, _ in cells] + draw_teacher(axes, protocol, pair)
    room = 0.08 * max(axes.dataLim.y1 - min(floors), 1.0)
    axes.set_ylim(min(floors) - room, axes.dataLim.y1 + room)
    return rows


def per_epoch(curves: Iterable[Sequence[float | None]]) -> np.ndarray:
    """(seeds, epochs); nan where there is no number."""
    curves = list(curves)
    found = np.full((len(curves), max(map(len, curves), default=0)), np.nan)
    for line, curve in zip(found, curves, strict=True):
        line[: len(curve)] = [np.nan if value is None else value for value in curve]
    return found


def draw_band(axes: Axes, values: np.ndarray, look: dict[str, object], shift: float) -> np.ndarray:
    """Mean and band of (seeds, epochs); markers `shift` of their distance late.  Returns all means that there are."""
    known = np.isfinite(values).any(0)
    epochs, values = np.flatnonzero(known) + 1, values[:, known]
    drawn = np.unique([*range(0, len(epochs), -(-len(epochs) // POINTS)), len(epochs) - 1])
    every, means = max(1, len(drawn) // 6), np.nanmean(values, 0)
    axes.plot(epochs[drawn], means[drawn], linewidth=1.1, markevery=(int(shift * every), every), **look)
    if len(values) > 1:
        low, high = np.nanmin(values[:, drawn], 0), np.nanmax(values[:, drawn], 0)
        axes.fill_between(epochs[drawn], low, high, color=look["color"], alpha=0.18, linewidth=0)
    return means


def line_look(row: Row, style: Style) -> dict[str, object]:
    """A line in the row's colour with its marker."""
    return {"color": style[0], "marker": style[1], **marker_style(row)}


CURVES = FigureSpec(
    "curves",
    "Accuracy over the epochs",
    f"Top-1 accuracy after each epoch, those of earlier stages included. {BANDS} Dashed line: the teacher after its "
    "last epoch. The scale is made for the last third of the training, what lies below is cut off.",
    draw_curves,
)
