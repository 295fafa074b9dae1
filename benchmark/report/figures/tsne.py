"""The same images in the feature spaces of teacher and students, as `theory` laid them out.

n images
"""

from __future__ import annotations

import textwrap
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.report.figures.style import COLOURS, FOREGROUND, MARKERS
from benchmark.report.records.findings import Finding

ACROSS, WIDE = 5, 1.85  # panels in a row; inches of one
CAPTION = (
    "Embeddings of the same judged images, a few of some classes, by t-SNE. The "
    "teacher’s starts at its principal components; each student’s starts at the teacher’s places, without "
    "exaggeration, so that the layouts correspond. That they look alike is therefore no finding; what tells is where "
    "a student mixes classes that the teacher keeps apart. Distances between groups and their sizes mean little. "
    "Numbers: the classes."
)


def points(found: Finding) -> Figure | None:
    """A panel for the teacher and each student that was laid out; None without the teacher's."""
    labels, known = found.arrays.get("labels_shown"), {"teacher": "teacher"} | found.labels
    places = {id: found.arrays[f"place_{id}"].astype(float) for id in known if f"place_{id}" in found.arrays}
    if "teacher" not in places:
        return None
    across = min(ACROSS, len(places))
    down = ceil(len(places) / across)
    x, y = 1.06 * np.max([np.abs(place).max(0) for place in places.values()], 0)  # both sides, all panels
    figure = Figure(figsize=(WIDE * across, (WIDE * y / x + 0.2) * down + 0.5), layout="constrained")
    for index, (id, place) in enumerate(places.items()):
        axes = figure.add_subplot(down, across, index + 1)
        axes.set_title(textwrap.fill(known[id], 26), fontsize=7.5)
        marks = draw_points(axes, place, labels, (x, y))
        if id == "teacher":
            name_classes(axes, place, labels)
    names = [f"{label}" for label in np.unique(labels)]
    figure.legend(marks, names, title="class", loc="outside lower center", ncols=10, markerscale=1.6)
    return figure


def draw_points(axes: Axes, place: np.ndarray, labels: np.ndarray, ends: tuple[float, float]) -> list[object]:
    """One network's images, a colour and a marker for each class; the marks, class by class."""
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[], xlim=(-ends[0], ends[0]), ylim=(-ends[1], ends[1]), aspect="equal")
    axes.spines[:].set(visible=True, alpha=0.4)
    colours, found = (*COLOURS, FOREGROUND), []
    for index, y in enumerate(np.unique(labels)):
        look = {"color": colours[index % len(colours)], "marker": MARKERS[index % len(MARKERS)], "markersize": 3}
        look |= {"markerfacecolor": "none"} if index >= len(colours) else {}
        found += axes.plot(*place[labels == y].T, linestyle="none", markeredgewidth=0.5, **look)
    return found


def name_classes(axes: Axes, place: np.ndarray, labels: np.ndarray) -> None:
    """Each class's number beside its images, for where colours cannot be seen."""
    for y in np.unique(labels):
        across, upwards = place[labels == y].T
        beside = (np.quantile(across, 0.9), np.median(upwards))
        axes.annotate(f"{y}", beside, (2, 0), textcoords="offset points", va="center", fontsize=6.5)


POINTS = ("points", "The images in feature space", CAPTION, points)
