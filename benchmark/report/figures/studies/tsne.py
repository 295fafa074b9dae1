"""The figure of the t-SNE embeddings that `theory` computes from the features of teacher and students.

n images
"""

from __future__ import annotations

import textwrap
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.style import COLOURS, FOREGROUND, MARKERS
from benchmark.report.records.findings import Finding

MAX_COLUMNS, PANEL_WIDTH = 5, 1.85  # panels side by side; width of one in inches
CAPTION = (
    "Embeddings of the same judged images, a few of some classes, by t-SNE. The "
    "teacher’s starts at its principal components; each student’s starts at the teacher’s places, without "
    "exaggeration, so that the layouts correspond. That they look alike is therefore no finding; what tells is where "
    "a student mixes classes that the teacher keeps apart. Distances between groups and their sizes mean little. "
    "Numbers: the classes."
)


def tsne_figure(finding: Finding) -> Figure | None:
    """A panel for each network that has an embedding; None if the teacher has none."""
    arrays, names = finding.arrays, {"teacher": "teacher"} | finding.labels
    classes = arrays.get("labels_shown")  # (n,)
    positions = {id: arrays[f"place_{id}"].astype(float) for id in names if f"place_{id}" in arrays}  # each (n, 2)
    if "teacher" not in positions:
        return None
    columns = min(MAX_COLUMNS, len(positions))
    rows = ceil(len(positions) / columns)
    x, y = 1.06 * np.max(
        [np.abs(position).max(0) for position in positions.values()], 0
    )  # the same limits in all panels
    figure = Figure(figsize=(PANEL_WIDTH * columns, (PANEL_WIDTH * y / x + 0.2) * rows + 0.5), layout="constrained")
    for index, (id, position) in enumerate(positions.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.set_title(textwrap.fill(names[id], 26), fontsize=7.5)
        handles = draw_points(axes, position, classes, (x, y))
        if id == "teacher":
            label_classes(axes, position, classes)
    labels = [f"{label}" for label in np.unique(classes)]
    legend = figure.legend(handles, labels, title="class", loc="outside lower center", ncols=10, markerscale=1.6)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        tag(text, f"class {label}")
    return figure


def draw_points(axes: Axes, positions: np.ndarray, classes: np.ndarray, limits: tuple[float, float]) -> list[object]:
    """Draw a network's images with a colour and a marker per class; return a legend handle per class."""
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[], xlim=(-limits[0], limits[0]), ylim=(-limits[1], limits[1]), aspect="equal")
    axes.spines[:].set(visible=True, alpha=0.4)
    colours, handles = (*COLOURS, FOREGROUND), []
    for index, label in enumerate(np.unique(classes)):
        options = {"color": colours[index % len(colours)], "marker": MARKERS[index % len(MARKERS)], "markersize": 3}
        options |= {"markerfacecolor": "none"} if index >= len(colours) else {}
        marks = axes.plot(*positions[classes == label].T, linestyle="none", markeredgewidth=0.5, **options)
        tag(marks[0], f"class {label}", f"{sum(classes == label)} images")
        handles += marks
    return handles


def label_classes(axes: Axes, positions: np.ndarray, classes: np.ndarray) -> None:
    """Write each class's number beside its images, for readers who cannot tell the colours apart."""
    for label in np.unique(classes):
        x, y = positions[classes == label].T
        beside = (np.quantile(x, 0.9), np.median(y))
        text = axes.annotate(f"{label}", beside, (2, 0), textcoords="offset points", va="center", fontsize=6.5)
        tag(text, f"class {label}")


TSNE = ("points", "The images in feature space", CAPTION, tsne_figure)
