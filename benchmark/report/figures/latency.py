"""The figure of accuracy against the time that a deployed network takes for one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmark.record import Record
from benchmark.report.figures.drawing.cache import NO_CACHE, FigureCache
from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.drawing.labels import label_marks
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.panels import add_legend, marker_style, row_legend
from benchmark.report.figures.style import RenderedFigure, render_figure
from benchmark.report.figures.teacher import teacher_score
from benchmark.report.formatting import format_percent
from benchmark.report.records.cells import Cell, Protocol, Row
from benchmark.report.records.entries import finite_number
from benchmark.report.tables.table import device_text

SIZE, PLOT = (6.4, 4.0), (5.4, 2.9)  # inches: the figure; about the size of its axes, to place labels
PRECISION = "fp32"
CAPTION = (
    "Top-1 accuracy after the last epoch against the milliseconds that the deployed network takes for one image on {}, "
    "in {}: no teacher, batch norm folded. Students of one network take the same time, whatever taught them, and form "
    "one column; a method that leaves a layer of its own in the network makes it slower, and stands beside them. "
    "Named: each network’s best mean, and the teachers (stars)."
)
Point = tuple[Cell, float, float]  # a cell, its milliseconds, its top-1 in percent


def latency_figure(
    protocol: Protocol, deployed: Sequence[Record], styles: dict[Row, Style], kept: FigureCache = NO_CACHE
) -> RenderedFigure | None:
    """The figure, of the device that most networks were measured on; None without a network of the protocol."""
    by_device = {device: points(protocol, deployed, device) for device in sorted(devices(deployed))}
    device = max(by_device, key=lambda each: len(by_device[each]), default=None)
    if device is None or not by_device[device]:
        return None
    name, title = f"{protocol.slug}-latency", f"Accuracy against the time of one image · {protocol.label}"
    found = by_device[device]
    kept = kept.of([repr([(cell.row, cell.pair, x, y) for cell, x, y in found])])
    caption = " ".join([CAPTION.format(device_text(device), PRECISION), *row_legend(protocol)])
    return render_figure(name, title, caption, lambda: compose(protocol, found, styles), kept)


def devices(deployed: Sequence[Record]) -> Counter[str]:
    """Device -> the number of its records."""
    return Counter(str(record.provenance.get("device")) for record in deployed)


def points(protocol: Protocol, deployed: Sequence[Record], device: str) -> list[Point]:
    """The cells whose network was measured on a device."""
    times = {}
    for record in deployed:
        milliseconds = finite_number((record.clock.get(PRECISION) or {}).get("latency_ms"))
        if record.provenance.get("device") == device and milliseconds:
            times[network_key(record.run, record.size.get("student"))] = milliseconds
    found = []
    for cell in protocol.cells.values():
        top1 = teacher_score(protocol, cell.pair) if cell.row.kind == "teacher" else None
        top1 = 100 * cell.summary().mean if cell.row.kind != "teacher" and cell.scored else top1
        keys = [network_key(entry.run.model_dump(mode="json"), entry.size("student")) for entry in cell.scored]
        time = next((times[key] for key in keys if key in times), None)
        if time and top1 is not None:
            found.append((cell, time, top1))
    return found


def network_key(run: dict[str, object], parameters: float | None) -> tuple:
    """What networks have in common that take the same time: data, architecture, and by its size a layer left in it."""
    return run["dataset"], run.get("content", ""), run["student"], parameters


def compose(protocol: Protocol, found: Sequence[Point], styles: dict[Row, Style]) -> Figure:
    """One panel: accuracy over the logarithm of the time."""
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    for cell, time, top1 in found:
        draw_point(axes, cell, time, top1, styles[cell.row])
    axes.margins(x=0.12, y=0.12)
    axes.set_xlabel("ms for one image")
    axes.set_ylabel("top-1 accuracy (%)")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.autoscale_view()
    label_marks(axes, named_points(found), PLOT)
    shown = {cell.row for cell, *_ in found}
    add_legend(figure, [row for row in protocol.rows if row in shown], styles)
    return figure


def draw_point(axes: Axes, cell: Cell, time: float, top1: float, style: Style) -> None:
    """Draw one cell."""
    options = {"color": style[0], "marker": style[1], "linestyle": "none"} | marker_style(cell.row)
    (mark,) = axes.plot([time], [top1], **options)
    tag(mark, cell.row.label, f"{cell.pair.label}, {format_percent(top1 / 100)} %, {time:.3g} ms")


def named_points(found: Sequence[Point]) -> list[tuple[float, float, str, str]]:
    """(Milliseconds, percent, text, row’s label) of the teachers, and of the best student of each network."""
    best: dict[tuple[str, str], Point] = {}
    for point in found:
        cell = point[0]
        run = cell.scored[0].run
        key = ("teacher" if cell.row.kind == "teacher" else "", run.student)
        if key not in best or point[2] > best[key][2]:
            best[key] = point
    found = [(student, *point) for (_, student), point in best.items()]
    return [(time, top1, f"{cell.row.marked}, {student}", cell.row.label) for student, cell, time, top1 in found]
