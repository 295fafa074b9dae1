"""The figures of the papers' claims for one pair: hash agreement over angle, similarity matrices, t-SNE embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from benchmark.report.figures.drawing.cache import NO_CACHE, FigureCache
from benchmark.report.figures.drawing.colours import Style, method_style
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.studies.tsne import TSNE
from benchmark.report.figures.style import FOREGROUND, RenderedFigure, render_figure
from benchmark.report.records.findings import Finding

MIN_IMAGES = 10  # bins of angles with fewer images are not drawn; `theory` leaves them out of the worst bin too
MAX_COLUMNS = 5  # matrices side by side


def theory_figures(
    finding: Finding, kept: FigureCache = NO_CACHE, styles: Mapping[str, Style] | None = None
) -> list[RenderedFigure]:
    """The figures of a pair that have data; kept: figures drawn for earlier reports.

    styles: run id -> colour and marker of its row in the other figures; a run without has its method's.
    """
    shown = method_styles(finding) | dict(styles or {})
    specs = ((*ANGLES, partial(angle_figure, styles=shown)), SIMILARITY, TSNE)
    figures = [render_theory_figure(finding, kept, *spec) for spec in specs]
    return [figure for figure in figures if figure]


def method_styles(finding: Finding) -> dict[str, Style]:
    """Run id -> colour and marker by its method; several runs of one method are its settings, in order."""
    methods = [run.get("method", run["label"]) for run in finding.value["runs"]]
    ids = [run["id"] for run in finding.value["runs"]]
    return {id: method_style(methods[n], methods[:n].count(methods[n])) for n, id in enumerate(ids)}


def render_theory_figure(
    finding: Finding,
    kept: FigureCache,
    name: str,
    title: str,
    caption: str,
    compose: Callable[[Finding], Figure | None],
) -> RenderedFigure | None:
    """Render a figure of a pair; name: the last part of its files' names."""
    whole = f"{title} · {finding.title}"
    return render_figure(f"{finding.name}-{name}", whole, caption, lambda: compose(finding), kept)


# ---- LSHFM
def angle_figure(finding: Finding, styles: Mapping[str, Style]) -> Figure | None:
    """The measured hash agreement in bins of the angle, and the formula as a line; None without full bins."""
    rows = [row for row in finding.value["hashing"] if any(b["images"] >= MIN_IMAGES for b in row.get("bins", ()))]
    if not rows:
        return None
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    handles = axes.plot([0, 180], [1, 0], color=FOREGROUND, linewidth=0.8, linestyle="--")
    labels = ["1 − θ/π", *(finding.labels[row["id"]] for row in rows)]
    handles += [draw_bins(axes, row["bins"], finding.labels[row["id"]], styles[row["id"]]) for row in rows]
    axes.set_xlabel("angle θ between student’s and teacher’s feature (°)")
    axes.set_ylabel("planes with both on one side")
    all_bins = [each for row in rows for each in row["bins"]]
    axes.set_xlim(0, max(90, max(each["angle"] for each in all_bins) + 5))
    axes.set_ylim(bottom=min(0.45, min(each["agreement"] for each in all_bins) - 0.05), top=1.02)
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=4)
    for text, label in zip(legend.get_texts()[1:], labels[1:], strict=True):
        tag(text, label)
    return figure


def draw_bins(axes: Axes, bins: Sequence[dict[str, Any]], label: str, style: Style) -> Line2D:
    """Draw a run's mark for each bin with enough images; return one of them."""
    options = {"color": style[0], "marker": style[1], "markersize": 5, "linestyle": "none"}
    for each in (each for each in bins if each["images"] >= MIN_IMAGES):
        (mark,) = axes.plot([each["angle"]], [each["agreement"]], **options)
        values = f"{each['agreement']:.3f} of planes, {each['formula']:.3f} by the formula"
        tag(mark, label, f"{each['angle']:.1f}°, {values}, {each['images']:,} images")
    return Line2D([], [], **options)


# ---- SP
def similarity_figure(finding: Finding) -> Figure:
    """The similarity matrices of the teacher, the initial weights and each student, on one colour scale."""
    names = [("teacher", "alike_teacher"), ("before training", "alike_untrained")]
    names += [(label, f"alike_{id}") for id, label in finding.labels.items()]
    values = [(label, finding.arrays[name].astype(float)) for label, name in names]
    entries = np.concatenate([value.ravel() for _, value in values])
    scale = (min(0.0, float(entries.min())), float(np.quantile(entries, 0.995)))
    columns = min(MAX_COLUMNS, len(values))
    rows = ceil(len(values) / columns)
    figure = Figure(figsize=(1.75 * columns + 0.6, 1.95 * rows), layout="constrained")
    panels = []
    for index, (label, value) in enumerate(values):
        panels.append(figure.add_subplot(rows, columns, index + 1))
        image = draw_matrix(panels[-1], label, value, scale)
    figure.colorbar(image, ax=panels, fraction=0.03)
    return figure


def draw_matrix(axes: Axes, label: str, value: np.ndarray, scale: tuple[float, float]) -> AxesImage:
    """Draw one similarity matrix without interpolation."""
    axes.set_title(label, fontsize=7.5)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    return axes.imshow(value, cmap="cividis", vmin=scale[0], vmax=scale[1], interpolation="none")


ANGLES = (
    "angles",
    "Hash agreement against the angle",
    "Each mark: the judged images whose feature in the student stands at about this angle to the teacher’s, in bins of "
    f"10° with at least {MIN_IMAGES} images; mean share of random planes through the origin that have both on one "
    "side. Dashed: what it should be.",
)
SIMILARITY = (
    "matrices",
    "Likeness of images",
    "Likeness of the last map, rows of unit length, as SP takes it, of judged images sorted by class; brighter is more "
    "alike, one scale for all. Before training: the first weights, which all methods start from.",
    similarity_figure,
)
