"""The figure of accuracy over the epochs: a line per method with a band over its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes

from benchmark.report.figures.panels import FigureSpec, Style, marker_style
from benchmark.report.figures.teacher import draw_teacher
from benchmark.report.records.cells import Pair, Protocol, Row

MAX_POINTS = 80  # of a line; more would not be visible in a panel
BANDS_SENTENCE = (
    "Mean over seeds, band from the lowest to the highest seed. Of long trainings every second, third or later epoch "
    f"is drawn, so that a line has {MAX_POINTS} points at most, and the last. Runs that did not finish are left out."
)


def draw_curves(axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style]) -> list[Row]:
    """Draw the accuracy of each row over the epochs; return the drawn rows."""
    cells = [(cell, per_epoch(entry.accuracies() for entry in cell.scored)) for cell in protocol.student_cells(pair)]
    cells = [(cell, 100 * values) for cell, values in cells if np.isfinite(values).any()]
    axes.set_xlabel("epoch")
    if not cells:
        return []
    minima = []
    for index, (cell, values) in enumerate(cells):
        means = draw_band(axes, values, line_options(cell.row, styles[cell.row]), index / len(cells))
        minima.append(means[len(means) * 2 // 3 :].min())
    rows = [cell.row for cell, _ in cells] + draw_teacher(axes, protocol, pair)
    padding = 0.08 * max(axes.dataLim.y1 - min(minima), 1.0)
    axes.set_ylim(min(minima) - padding, axes.dataLim.y1 + padding)
    return rows


def per_epoch(curves: Iterable[Sequence[float | None]]) -> np.ndarray:
    """Curves as an array (seeds, epochs), nan where a number is missing."""
    curves = list(curves)
    array = np.full((len(curves), max(map(len, curves), default=0)), np.nan)
    for line, curve in zip(array, curves, strict=True):
        line[: len(curve)] = [np.nan if value is None else value for value in curve]
    return array


def draw_band(axes: Axes, values: np.ndarray, options: dict[str, object], shift: float) -> np.ndarray:
    """Draw mean and range over seeds; return the means of all epochs with a number.

    values: (seeds, epochs); shift: offset of the markers, as a fraction of their distance.
    """
    finite = np.isfinite(values).any(0)
    epochs, values = np.flatnonzero(finite) + 1, values[:, finite]
    shown = np.unique([*range(0, len(epochs), -(-len(epochs) // MAX_POINTS)), len(epochs) - 1])
    marker_step, means = max(1, len(shown) // 6), np.nanmean(values, 0)
    axes.plot(epochs[shown], means[shown], linewidth=1.1, markevery=(int(shift * marker_step), marker_step), **options)
    if len(values) > 1:
        low, high = np.nanmin(values[:, shown], 0), np.nanmax(values[:, shown], 0)
        axes.fill_between(epochs[shown], low, high, color=options["color"], alpha=0.18, linewidth=0)
    return means


def line_options(row: Row, style: Style) -> dict[str, object]:
    """Keyword arguments of `Axes.plot` for a row: colour and marker."""
    return {"color": style[0], "marker": style[1], **marker_style(row)}


CURVES = FigureSpec(
    "curves",
    "Accuracy over the epochs",
    f"Top-1 accuracy after each epoch, those of earlier stages included. {BANDS_SENTENCE} Dashed line: the teacher "
    "after its last epoch. The scale is made for the last third of the training, what lies below is cut off.",
    draw_curves,
)
