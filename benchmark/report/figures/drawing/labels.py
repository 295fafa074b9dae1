"""Labels beside the marks and lines of a panel, instead of a legend: moved apart so that none hides another."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.style import FOREGROUND, text_width
from benchmark.report.records.cells import Row

SIZE, LINE = 7.0, 0.125  # of a label: points; inches from one to the next
Label = tuple[float, Row, str]  # y in the axes' data, row, colour


def label_ends(axes: Axes, labels: Sequence[Label], height: float) -> None:
    """Write a label right of the axes for each line that ends there, with a thin line to it where it had to move.

    height: of the axes, in inches.
    """
    low, high = axes.get_ylim()
    ordered = sorted(labels, key=lambda label: (label[0], label[1].label))
    ends = [min(max((y - low) / (high - low), 0.0), 1.0) for y, *_ in ordered]
    places = spread(ends, LINE / height)
    for (_, row, colour), end, place in zip(ordered, ends, places, strict=True):
        options = {"xycoords": "axes fraction", "textcoords": "axes fraction", "annotation_clip": False}
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}
        options |= {"fontsize": SIZE, "color": FOREGROUND, "va": "center", "arrowprops": leader}
        written = axes.annotate(row.marked, (1.0, end), (1.035, place), **options)
        written.set_in_layout(False)
        tag(written, row.label)


def spread(values: Sequence[float], distance: float) -> list[float]:
    """Ascending positions from 0 to 1 near ascending values, at least `distance` apart; groups keep their centre."""
    groups: list[tuple[float, int]] = []  # (centre, count)
    for value in values:
        groups.append((value, 1))
        while len(groups) > 1 and groups[-1][0] - groups[-2][0] < distance * (groups[-1][1] + groups[-2][1]) / 2:
            (second, m), (first, n) = groups.pop(), groups.pop()
            half, centre = distance * (n + m - 1) / 2, (first * n + second * m) / (n + m)
            groups.append((max(half, min(centre, 1 - half)), n + m))
    return [centre + distance * (index - (count - 1) / 2) for centre, count in groups for index in range(count)]


def label_marks(axes: Axes, marks: Sequence[tuple[float, float, str, str]], size: tuple[float, float]) -> None:
    """Write a label beside each mark (x, y, text, row), at the nearest place that no mark and no earlier label takes.

    row: label of the row that the mark is of; size: width and height of the axes, in inches.
    """
    to_inches = axes.transData + axes.transAxes.inverted()
    centres = [tuple(p * s for p, s in zip(to_inches.transform((x, y)), size, strict=True)) for x, y, *_ in marks]
    taken = [(x - 0.04, y - 0.04, x + 0.04, y + 0.04) for x, y in centres]
    for (x, y), (*_, text, row) in zip(centres, marks, strict=True):
        width = text_width(text, SIZE)
        left, bottom = min(
            ((x + dx if dx > 0 else x + dx - width, y + dy - LINE / 2) for dx, dy in CANDIDATES),
            key=lambda place: overlap((*place, place[0] + width, place[1] + LINE), taken, size),
        )
        taken.append((left, bottom, left + width, bottom + LINE))
        place = (left / size[0], (bottom + LINE / 2) / size[1])
        tag(axes.text(*place, text, transform=axes.transAxes, fontsize=SIZE, color=FOREGROUND, va="center"), row)


CANDIDATES = tuple((dx, LINE * dy) for dy in (0, 0.7, -0.7, 1.2, -1.2, 1.9, -1.9) for dx in (0.08, -0.08))
Box = tuple[float, float, float, float]  # left, bottom, right, top in inches


def overlap(box: Box, taken: Sequence[Box], size: tuple[float, float]) -> float:
    """The area of a box that others take or that is outside of the axes, in square inches."""
    boxes = [*taken, (-9, -9, 0, 99), (size[0], -9, 99, 99), (-9, -9, 99, 0), (-9, size[1], 99, 99)]
    sides = [
        (min(box[2], other[2]) - max(box[0], other[0]), min(box[3], other[3]) - max(box[1], other[1]))
        for other in boxes
    ]
    return round(sum(width * height for width, height in sides if width > 0 and height > 0), 6)
