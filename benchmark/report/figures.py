"""The pictures of a protocol: accuracy against compute, and accuracy over the epochs."""

from __future__ import annotations

from math import log10

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmark.report.cells import Cell, Pair, Protocol, Row
from benchmark.report.drawing import INK, Drawing, Picture, Style, draw, face, students
from benchmark.report.entries import Entry
from benchmark.report.statistics import summarise
from benchmark.report.tables import percent_level
from benchmark.report.wording import amount

COMPUTE = (
    "Top-1 accuracy after the last epoch against the multiply-accumulates of the deployed network, one image "
    f"(logarithmic scale). Bars: {percent_level()} t interval of the mean, where n > 1. Methods that deploy the same "
    "network stand side by side, in the legend’s order. Star, dashed line: the teacher. Each panel has its own scale."
)
CURVES = (
    "Top-1 accuracy after each epoch, those of earlier stages included: mean over seeds, band from the lowest to the "
    "highest seed. Dashed line: the teacher after its last epoch. The scale is made for the last third of "
    "the training, what lies below is cut off. Runs that did not finish are left out."
)


def drawings(protocol: Protocol, styles: dict[Row, Style]) -> list[Drawing]:
    """The pictures for which there are numbers."""
    pictures = (
        Picture("compute", "Accuracy against compute", COMPUTE, draw_compute),
        Picture("curves", "Accuracy over the epochs", CURVES, draw_curves),
    )
    return [drawing for picture in pictures if (drawing := draw(picture, protocol, styles))]


# ---- accuracy against compute
def draw_compute(axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style]) -> list[Row]:
    """Accuracy against MACs; the rows that were drawn."""
    found = [(cell, macs.mean) for cell in students(protocol, pair) if (macs := cell.summary(read_macs))]
    found = [(cell, macs) for cell, macs in found if macs > 0]
    if not found:
        return []
    cost = teacher_macs(protocol, pair)
    ends = [macs for _, macs in found] + ([cost] if cost else [])
    width = max(log10(max(ends) / min(ends)), 0.3)  # of the axis, in powers of ten
    apart = 0.05 * width * min(1, 9 / len(found))
    steps = [index - (len(found) - 1) / 2 for index in range(len(found))]
    places = [macs * 10 ** (apart * step) for (_, macs), step in zip(found, steps, strict=True)]
    for (cell, _), place in zip(found, places, strict=True):
        draw_mean(axes, cell, place, styles[cell.row])
    axes.set_xscale("log")
    axes.set_xlim(min(places + ends) / 10 ** (0.1 * width), max(places + ends) * 10 ** (0.1 * width))
    axes.xaxis.set_major_locator(FixedLocator(sorted({found[0][1], ends[-1]})))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("MACs")
    return [cell.row for cell, _ in found] + draw_teacher(axes, protocol, pair, cost)


def draw_mean(axes: Axes, cell: Cell, place: float, style: Style) -> None:
    """A cell's mean at a place on the axis, with its interval."""
    top1, (colour, marker) = cell.summary(), style
    bars = None if top1.high is None else [100 * (top1.high - top1.mean)]
    look = {"color": colour, "marker": marker, "elinewidth": 1, "capsize": 2}
    axes.errorbar([place], [100 * top1.mean], yerr=bars, **look, **face(cell.row))


def draw_teacher(axes: Axes, protocol: Protocol, pair: Pair, cost: float | None = None) -> list[Row]:
    """The teacher's accuracy across the panel, and a star at its MACs."""
    mark = teacher_score(protocol, pair)
    if mark is None:
        return []
    axes.axhline(mark, color=INK, linewidth=0.8, linestyle="--")
    if cost:
        axes.plot([cost], [mark], color=INK, marker="*", markersize=9)
    return [Row("teacher")]


def read_macs(entry: Entry) -> float | None:
    """Multiply-accumulates of the deployed student for one image."""
    return entry.size("macs")


def teacher_score(protocol: Protocol, pair: Pair) -> float | None:
    """In percent."""
    cell = protocol.cells.get((Row("teacher"), pair))
    summary = cell and cell.summary()
    value = summary.mean if summary else cell and cell.told
    return None if value is None else 100 * value


def teacher_macs(protocol: Protocol, pair: Pair) -> float | None:
    """Of the teacher's own record, or of its students'."""
    own = protocol.cells.get((Row("teacher"), pair))
    summary = own and own.summary(read_macs)
    told = [entry.size("teacher_macs") for cell in students(protocol, pair) for entry in cell.scored]
    return summary.mean if summary else next((macs for macs in told if macs), None)


# ---- accuracy over the epochs
def draw_curves(axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style]) -> list[Row]:
    """Accuracy over epochs; the rows that were drawn."""
    cells = [cell for cell in students(protocol, pair) if any(per_epoch(cell))]
    axes.set_xlabel("epoch")
    if not cells:
        return []
    floor = min(draw_curve(axes, cell, styles[cell.row], i / len(cells)) for i, cell in enumerate(cells))
    rows = [cell.row for cell in cells] + draw_teacher(axes, protocol, pair)
    top = axes.get_ylim()[1]
    axes.set_ylim(floor - 0.08 * (top - floor), top)
    return rows


def draw_curve(axes: Axes, cell: Cell, style: Style, shift: float) -> float:
    """One cell's mean and band; markers `shift` of their distance late.  Returns the last third's lowest mean."""
    epochs = [(epoch, values) for epoch, values in enumerate(per_epoch(cell), start=1) if values]
    places = [epoch for epoch, _ in epochs]
    means = [summarise(values).mean for _, values in epochs]
    every = max(1, len(places) // 6)
    look = {"color": style[0], "marker": style[1], "linewidth": 1.1, "markevery": (int(shift * every), every)}
    axes.plot(places, means, **look, **face(cell.row))
    if len(cell.scored) > 1:
        low, high = [min(values) for _, values in epochs], [max(values) for _, values in epochs]
        axes.fill_between(places, low, high, color=style[0], alpha=0.18, linewidth=0)
    return min(means[len(means) * 2 // 3 :])


def per_epoch(cell: Cell) -> list[list[float]]:
    """Epoch by epoch the accuracies of the seeds in percent; an epoch without accuracy is empty."""
    curves = [entry.accuracies() for entry in cell.scored]
    length = max(map(len, curves), default=0)
    padded = [curve + [None] * (length - len(curve)) for curve in curves]
    return [[100 * value for value in values if value is not None] for values in zip(*padded, strict=True)]
