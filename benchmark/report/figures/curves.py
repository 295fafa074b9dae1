"""The figure of accuracy over the epochs: a line per method with a band over its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes

from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.drawing.labels import label_ends
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.panels import FigureSpec, axes_height, marker_style
from benchmark.report.figures.style import FOREGROUND
from benchmark.report.figures.teacher import draw_teacher, teacher_score
from benchmark.report.records.cells import Pair, Protocol, Row

BANDS_SENTENCE = (
    "Mean over seeds, band from the lowest to the highest seed; every epoch. Runs that did not finish are left out."
)


def draw_curves(axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style]) -> list[Row]:
    """Draw the accuracy of each row over the epochs; return the drawn rows."""
    cells = [(cell, per_epoch(entry.accuracies() for entry in cell.scored)) for cell in protocol.student_cells(pair)]
    cells = [(cell, 100 * values) for cell, values in cells if np.isfinite(values).any()]
    axes.set_xlabel("epoch")
    if not cells:
        return []
    labels = []
    for index, (cell, values) in enumerate(cells):
        options = line_options(cell.row, styles[cell.row])
        means = draw_band(axes, values, options, index / len(cells), cell.row.label)
        labels.append((float(means[-1]), cell.row, options["color"]))
    axes.set_xlim(1, max(2, axes.dataLim.x1))
    teacher = draw_teacher(axes, protocol, pair)
    if teacher:
        labels.append((teacher_score(protocol, pair), teacher[0], FOREGROUND))
    axes.margins(y=0.04)
    axes.autoscale_view(scalex=False)
    label_ends(axes, labels, axes_height(protocol))
    return [cell.row for cell, _ in cells] + teacher


def per_epoch(curves: Iterable[Sequence[float | None]]) -> np.ndarray:
    """Curves as an array (seeds, epochs), nan where a number is missing."""
    curves = list(curves)
    array = np.full((len(curves), max(map(len, curves), default=0)), np.nan)
    for line, curve in zip(array, curves, strict=True):
        line[: len(curve)] = np.array(curve, float)
    return array


def draw_band(axes: Axes, values: np.ndarray, options: dict[str, object], shift: float, label: str) -> np.ndarray:
    """Draw mean and range over seeds; return the means of all epochs with a number.

    values: (seeds, epochs); shift: offset of the markers, as a fraction of their distance; label: of the row.
    """
    finite = np.isfinite(values).any(0)
    epochs, values = np.flatnonzero(finite) + 1, values[:, finite]
    step, means = max(1, len(epochs) // 6), np.nanmean(values, 0)
    (line,) = axes.plot(epochs, means, linewidth=1.1, markevery=(int(shift * step), step), **options)
    tag(line, label, f"{means[-1]:.4g} after epoch {epochs[-1]}")
    if len(values) > 1:
        low, high = np.nanmin(values, 0), np.nanmax(values, 0)
        tag(axes.fill_between(epochs, low, high, color=options["color"], alpha=0.18, linewidth=0), label)
    return means


def line_options(row: Row, style: Style) -> dict[str, object]:
    """Keyword arguments of `Axes.plot` for a row: colour and marker."""
    return {"color": style[0], "marker": style[1]} | marker_style(row) | {"markersize": 4}


CURVES = FigureSpec(
    "curves",
    "Accuracy over the epochs",
    f"Top-1 accuracy after each epoch, those of earlier stages included. {BANDS_SENTENCE} Dashed line: the teacher’s "
    "kept file.",
    draw_curves,
    legend=None,
    tall=True,
    end_labels=True,
)
