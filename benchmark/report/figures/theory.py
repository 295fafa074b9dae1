"""The pictures of a pair that was examined: hash agreement against the angle, matrices of likeness, maps of points."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from benchmark.report.figures.style import COLOURS, FOREGROUND, MARKERS, RenderedFigure, render_figure
from benchmark.report.figures.tsne import POINTS
from benchmark.report.records.findings import Finding

FEW = 10  # images without which a bin of angles is not drawn, as `theory` leaves it out of the worst bin
ACROSS = 5  # matrices in a row


def drawings(found: Finding) -> list[RenderedFigure]:
    """The pictures for which there are numbers."""
    drawings = [draw(found, *picture) for picture in (ANGLES, LIKENESS, POINTS)]
    return [drawing for drawing in drawings if drawing]


def draw(
    found: Finding, word: str, title: str, caption: str, compose: Callable[[Finding], Figure | None]
) -> RenderedFigure | None:
    """A picture as SVG and PDF: equal findings, equal bytes."""
    return render_figure(f"{found.name}-{word}", f"{title} · {found.title}", caption, lambda: compose(found))


# ---- LSHFM
def angles(found: Finding) -> Figure | None:
    """Measured agreement in bins of the angle, and the formula as a line."""
    known = [one for one in found.value["hashing"] if any(part["images"] >= FEW for part in one.get("bins", ()))]
    if not known:
        return None
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 180], [1, 0], color=FOREGROUND, linewidth=0.8, linestyle="--", label="1 − θ/π")
    for index, one in enumerate(known):
        bins = [part for part in one["bins"] if part["images"] >= FEW]
        look = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)], "markersize": 5}
        places, values = ([part[key] for part in bins] for key in ("angle", "agreement"))
        axes.plot(places, values, linestyle="none", label=found.labels[one["id"]], **look)
    axes.set_xlabel("angle θ between student’s and teacher’s feature (°)")
    axes.set_ylabel("planes with both on one side")
    axes.set_xlim(0, max(90, max(part["angle"] for one in known for part in one["bins"]) + 5))
    axes.set_ylim(bottom=min(0.45, min(part["agreement"] for one in known for part in one["bins"]) - 0.05), top=1.02)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


# ---- SP
def matrices(found: Finding) -> Figure:
    """The teacher's likeness beside that of first weights and of each student; one scale of colour."""
    named = [("teacher", "alike_teacher"), ("before training", "alike_untrained")]
    named += [(label, f"alike_{id}") for id, label in found.labels.items()]
    values = [(label, found.arrays[name].astype(float)) for label, name in named]
    every = np.concatenate([value.ravel() for _, value in values])
    scale = (min(0.0, float(every.min())), float(np.quantile(every, 0.995)))
    across = min(ACROSS, len(values))
    down = ceil(len(values) / across)
    figure = Figure(figsize=(1.75 * across + 0.6, 1.95 * down), layout="constrained")
    panels = []
    for index, (label, value) in enumerate(values):
        panels.append(figure.add_subplot(down, across, index + 1))
        image = matrix(panels[-1], label, value, scale)
    figure.colorbar(image, ax=panels, fraction=0.03)
    return figure


def matrix(axes: Axes, label: str, value: np.ndarray, scale: tuple[float, float]) -> AxesImage:
    """One matrix of likeness; its own pixels, not smoothed."""
    axes.set_title(label, fontsize=7.5)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(value, cmap="cividis", vmin=scale[0], vmax=scale[1], interpolation="none")


ANGLES = (
    "angles",
    "Hash agreement against the angle",
    "Each mark: the judged images whose feature in the student stands at about this angle to the teacher’s, in bins of "
    f"10° with at least {FEW} images; mean share of random planes through the origin that have both on one side. "
    "Dashed: what it should be.",
    angles,
)
LIKENESS = (
    "matrices",
    "Likeness of images",
    "Likeness of the last map, rows of unit length, as SP takes it, of judged images sorted by class; brighter is more "
    "alike, one scale for all. Before training: the first weights, which all methods start from.",
    matrices,
)
