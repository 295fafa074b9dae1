"""The figures of accuracy against cost: parameters, multiply-accumulates, time of a step, hours of training."""

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

MIN_DISTANCE = {"log": 0.045, "linear": 0.03}  # scale -> smallest distance between marks, as a fraction of the axis
SHARED_CAPTION = (
    f"Bars: {percent_level()} t interval of the mean, where n > 1. Dotted: the Pareto frontier, through the means that "
    "none of the same or a lower cost exceeds. Marks that would hide each other stand side by side. "
    "Each panel has its own scale."
)


@dataclass(frozen=True, slots=True)
class CostAxis:
    """The x axis: label, scale, and how to read the cost."""

    label: str
    scale: str  # "log" for counts, "linear" for times
    read: Callable[[Entry], float | None]
    sizes: tuple[str, str] | None = None  # name of the teacher's count in its own record, and in its students'


def tradeoff_figures(protocol: Protocol) -> list[FigureSpec]:
    """A figure for each cost that is known."""
    specs = [
        tradeoff_figure("parameters", "Accuracy against parameters", PARAMETERS, CostAxis(
            "parameters", "log", lambda entry: entry.size("student"), ("student", "teacher")
        )),
        tradeoff_figure("compute", "Accuracy against compute", MACS, CostAxis(
            "MACs", "log", lambda entry: entry.size("macs"), ("macs", "teacher_macs")
        )),
    ]  # fmt: skip
    platform = next(iter(protocol.cost_platforms), None)
    if platform:
        cost = CostAxis("ms per step", "linear", lambda entry: (cost := entry.cost(platform)) and cost.clock("step_ms"))
        specs.append(tradeoff_figure("step", "Accuracy against the time of a step", STEP.format(*platform), cost))
    device = most_common_device(protocol)
    if device:
        name = "device-hours" if re.search(r", \d+ threads$", device) else "GPU-hours"
        cost = CostAxis(name, "linear", partial(device_hours, device=device))
        specs.append(tradeoff_figure("hours", f"Accuracy against {name}", HOURS.format(device), cost))
    return specs


def tradeoff_figure(name: str, title: str, caption: str, cost: CostAxis) -> FigureSpec:
    """The figure of accuracy against one cost; name: the last part of its files' names."""
    return FigureSpec(name, title, f"{caption} {SHARED_CAPTION}", partial(draw_tradeoff, cost=cost))


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


def most_common_device(protocol: Protocol) -> str | None:
    """The device that most runs with known hours were trained on; None without any."""
    runs = [entry for cell in protocol.cells.values() if cell.row.kind != "teacher" for entry in cell.scored]
    counts = Counter(device for entry in runs if device_hours(entry, device := str(entry.provenance("device"))))
    return min(counts, key=lambda device: (-counts[device], device), default=None)


def device_hours(entry: Entry, device: str) -> float | None:
    """The training hours of a run's cohort divided by its lanes; None on another device or if not recorded."""
    seconds, lanes = entry.clock("train_s"), entry.clock("lanes")
    return seconds / lanes / 3600 if seconds and lanes and entry.provenance("device") == device else None


# ---- a panel
def draw_tradeoff(axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style], cost: CostAxis) -> list[Row]:
    """Draw accuracy against a cost, with the Pareto frontier; return the drawn rows."""
    known = [(cell, summary.mean) for cell in protocol.student_cells(pair) if (summary := cell.summary(cost.read))]
    costs = sorted(((cell, value) for cell, value in known if value > 0), key=lambda item: item[1])
    if not costs:
        return []
    teacher_cost = cost.sizes and teacher_size(protocol, pair, *cost.sizes)
    teacher_percent = teacher_score(protocol, pair)
    values = [value for _, value in costs]
    positions = separate_marks(values, teacher_cost, cost.scale)
    for (cell, _), position in zip(costs, positions, strict=True):
        draw_mean(axes, cell, position, styles[cell.row])
    points = [(value, 100 * cell.summary().mean) for cell, value in costs]
    if teacher_cost and teacher_percent:
        points, positions = [*points, (teacher_cost, teacher_percent)], [*positions, teacher_cost]
    best = [(positions[index], points[index][1]) for index in pareto_frontier(points)]
    axes.step(*zip(*best, strict=True), where="post", color=FOREGROUND, linestyle=":", linewidth=1, zorder=1)
    axes.set_xlabel(cost.label)
    if cost.scale == "log":
        axes.set_xscale("log")
        label_log_axis(axes, values[0], teacher_cost or values[-1], positions)
    else:
        axes.margins(x=0.12)
    return [cell.row for cell, _ in costs] + draw_teacher(axes, protocol, pair, teacher_cost)


def label_log_axis(axes: Axes, low: float, high: float, positions: Sequence[float]) -> None:
    """Label a logarithmic x axis at two values, `low` and `high`; one label if they are close together."""
    ends = (min(low, *positions), max(high, *positions))
    padding = 10 ** (0.1 * decades(ends))
    axes.set_xlim(ends[0] / padding, ends[1] * padding)
    close = log10(max(low, high) / min(low, high)) < 0.15 * decades(ends)
    axes.xaxis.set_major_locator(FixedLocator([low] if close else sorted({low, high})))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def draw_mean(axes: Axes, cell: Cell, position: float, style: Style) -> None:
    """Draw a cell's mean accuracy with its interval at a position on the x axis."""
    top1, (colour, marker) = cell.summary(), style
    error = None if top1.high is None else [100 * (top1.high - top1.mean)]
    options = {"color": colour, "marker": marker, "elinewidth": 1.2}
    axes.errorbar([position], [100 * top1.mean], yerr=error, **options, **marker_style(cell.row))


# ---- frontier and positions of marks
def pareto_frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """The indices of the points (cost, accuracy) that no other point dominates, in order of cost."""
    best: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not best or points[index][1] > points[best[-1]][1] or points[index] == points[best[-1]]:
            best.append(index)
    return best


def separate_marks(values: Sequence[float], teacher: float | None, scale: str) -> list[float]:
    """Positions of marks for ascending values, shifted where needed so that marks do not overlap; the order is kept.

    teacher: a further value that the axis has to cover; scale: "log" or "linear" ("" for exponents).
    """
    if scale == "log":
        exponents = separate_marks([log10(value) for value in values], log10(teacher) if teacher else None, "")
        return [10**exponent for exponent in exponents]
    extent = [*values, teacher] if teacher is not None else values
    width = max(max(extent) - min(extent), 0.3 if scale == "" else 0.1 * max(extent))
    distance = min(MIN_DISTANCE[scale or "log"], 0.45 / len(values)) * width
    groups: list[tuple[float, int]] = []  # (centre, count) of marks side by side
    for value in values:
        groups.append((value, 1))
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < distance * (groups[-1][1] + groups[-2][1]) / 2:
            (second, m), (first, n) = groups.pop(), groups.pop()
            groups.append(((first * n + second * m) / (n + m), n + m))
    return [centre + distance * (index - (count - 1) / 2) for centre, count in groups for index in range(count)]


def decades(ends: Sequence[float]) -> float:
    """The length of a logarithmic axis in powers of ten, at least 0.3."""
    return max(log10(max(ends) / min(ends)), 0.3)
