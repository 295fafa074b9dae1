"""Accuracy against what it costs: parameters, multiply-accumulates, the time of a step, the hours of a training."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import log10

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmark.report.figures.panels import FigureSpec, Style, marker_style
from benchmark.report.figures.style import FOREGROUND
from benchmark.report.figures.teacher import draw_teacher, teacher_score, teacher_size
from benchmark.report.formatting import format_count
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.records.entries import Entry
from benchmark.report.tables.table import percent_level

APART = {"log": 0.045, "linear": 0.03}  # of the axis: distance of marks that would hide each other
SHARED = (
    f"Bars: {percent_level()} t interval of the mean, where n > 1. Dotted: the Pareto frontier, through the means that "
    "none of the same or a lower cost exceeds. Marks that would hide each other stand side by side. "
    "Each panel has its own scale."
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What runs rightwards."""

    axis: str
    scale: str  # log: a count, that the teacher has too; linear: a time
    read: Callable[[Entry], float | None]
    sizes: tuple[str, str] | None = None  # the teacher's count in its own record, and in those of its students


def tradeoffs(protocol: Protocol) -> list[FigureSpec]:
    """A picture for each cost."""
    found = [
        picture("parameters", "Accuracy against parameters", PARAMETERS, Cost(
            "parameters", "log", lambda entry: entry.size("student"), ("student", "teacher")
        )),
        picture("compute", "Accuracy against compute", MACS, Cost(
            "MACs", "log", lambda entry: entry.size("macs"), ("macs", "teacher_macs")
        )),
    ]  # fmt: skip
    where = next(iter(protocol.places), None)
    if where:
        cost = Cost("ms per step", "linear", lambda entry: (price := entry.cost(where)) and price.clock("step_ms"))
        found.append(picture("step", "Accuracy against the time of a step", STEP.format(*where), cost))
    device = usual_device(protocol)
    if device:
        name = "device-hours" if re.search(r", \d+ threads$", device) else "GPU-hours"
        cost = Cost(name, "linear", partial(hours, device=device))
        found.append(picture("hours", f"Accuracy against {name}", HOURS.format(device), cost))
    return found


def picture(word: str, title: str, caption: str, cost: Cost) -> FigureSpec:
    """Accuracy against a cost."""
    return FigureSpec(word, title, f"{caption} {SHARED}", partial(draw_tradeoff, cost=cost))


PARAMETERS = (
    "Top-1 accuracy after the last epoch against the parameters of the deployed network (logarithmic scale). "
    "Star, dashed line: the teacher."
)
MACS = (
    "Top-1 accuracy after the last epoch against the multiply-accumulates of the deployed network, one image "
    "(logarithmic scale). Star, dashed line: the teacher."
)
STEP = (
    "Top-1 accuracy after the last epoch against the milliseconds of one training step, the teacher’s forward "
    "included, measured alone on {} in {}. Dashed line: the teacher."
)
HOURS = (
    "Top-1 accuracy after the last epoch against the hours that a run took on {}; runs on other devices are left "
    "out. Runs that trained in company share the clock evenly: their hours do not tell which method is the slower one. "
    "The teacher’s training is not counted. Dashed line: the teacher."
)


def usual_device(protocol: Protocol) -> str | None:
    """The device of most of the runs whose hours are known."""
    runs = [entry for cell in protocol.cells.values() if cell.row.kind != "teacher" for entry in cell.scored]
    found = Counter(device for entry in runs if hours(entry, device := str(entry.provenance("device"))))
    return min(found, key=lambda device: (-found[device], device), default=None)


def hours(entry: Entry, device: str) -> float | None:
    """A run's share of the hours that its company kept the device busy."""
    spent, lanes = entry.clock("train_s"), entry.clock("lanes")
    return spent / lanes / 3600 if spent and lanes and entry.provenance("device") == device else None


# ---- a panel
def draw_tradeoff(axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style], cost: Cost) -> list[Row]:
    """Accuracy against the cost; the rows that were drawn."""
    known = [(cell, mean.mean) for cell in protocol.students(pair) if (mean := cell.summary(cost.read))]
    found = sorted(((cell, value) for cell, value in known if value > 0), key=lambda item: item[1])
    if not found:
        return []
    own, mark = cost.sizes and teacher_size(protocol, pair, *cost.sizes), teacher_score(protocol, pair)
    values = [value for _, value in found]
    places = spread(values, own, cost.scale)
    for (cell, _), place in zip(found, places, strict=True):
        draw_mean(axes, cell, place, styles[cell.row])
    points = [(value, 100 * cell.summary().mean) for cell, value in found]
    if own and mark:
        points, places = [*points, (own, mark)], [*places, own]
    best = [(places[index], points[index][1]) for index in frontier(points)]
    axes.step(*zip(*best, strict=True), where="post", color=FOREGROUND, linestyle=":", linewidth=1, zorder=1)
    axes.set_xlabel(cost.axis)
    if cost.scale == "log":
        axes.set_xscale("log")
        label_ends(axes, values[0], own or values[-1], places)
    else:
        axes.margins(x=0.12)
    return [cell.row for cell, _ in found] + draw_teacher(axes, protocol, pair, own)


def label_ends(axes: Axes, low: float, high: float, places: Sequence[float]) -> None:
    """A logarithmic axis with two numbers, those of a student and of the teacher."""
    ends = (min(low, *places), max(high, *places))
    room = 10 ** (0.1 * span(ends))
    axes.set_xlim(ends[0] / room, ends[1] * room)
    near = log10(max(low, high) / min(low, high)) < 0.15 * span(ends)
    axes.xaxis.set_major_locator(FixedLocator([low] if near else sorted({low, high})))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def draw_mean(axes: Axes, cell: Cell, place: float, style: Style) -> None:
    """A cell's mean at a place on the axis, with its interval."""
    top1, (colour, marker) = cell.summary(), style
    bars = None if top1.high is None else [100 * (top1.high - top1.mean)]
    look = {"color": colour, "marker": marker, "elinewidth": 1.2}
    axes.errorbar([place], [100 * top1.mean], yerr=bars, **look, **marker_style(cell.row))


# ---- where marks stand
def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """Of (cost, accuracy) those that no other point beats, being no worse in both and better in one; by cost."""
    found: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not found or points[index][1] > points[found[-1]][1] or points[index] == points[found[-1]]:
            found.append(index)
    return found


def spread(values: Sequence[float], teacher: float | None, scale: str) -> list[float]:
    """Places for values in rising order: their own, moved as little as keeps them apart, in the same order."""
    if scale == "log":
        exponents = spread([log10(value) for value in values], log10(teacher) if teacher else None, "")
        return [10**place for place in exponents]
    ends = [*values, teacher] if teacher is not None else values
    wide = max(max(ends) - min(ends), 0.3 if scale == "" else 0.1 * max(ends))
    apart = min(APART[scale or "log"], 0.45 / len(values)) * wide
    groups: list[tuple[float, int]] = []  # (centre, count) of marks that stand side by side
    for value in values:
        groups.append((value, 1))
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < apart * (groups[-1][1] + groups[-2][1]) / 2:
            (second, m), (first, n) = groups.pop(), groups.pop()
            groups.append(((first * n + second * m) / (n + m), n + m))
    return [centre + apart * (index - (count - 1) / 2) for centre, count in groups for index in range(count)]


def span(ends: Sequence[float]) -> float:
    """Of an axis in powers of ten."""
    return max(log10(max(ends) / min(ends)), 0.3)
