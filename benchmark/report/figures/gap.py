"""How much of the gap between student and teacher each method closes, as bars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from matplotlib.axes import Axes

from benchmark.report.figures.method_axis import name_rows, padded
from benchmark.report.figures.panels import FigureSpec, Style
from benchmark.report.figures.style import FOREGROUND
from benchmark.report.figures.teacher import teacher_score
from benchmark.report.formatting import join_distinct
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics import Summary, quantile
from benchmark.report.tables.comparisons import by_seed
from benchmark.report.tables.table import percent_level

LOW, HIGH = -100.0, 200.0  # percent: what lies beyond is cut off
CAPTION = (
    "(method − plain student) / (teacher − plain student) in percent, accuracies after the last epoch averaged over "
    f"the seeds that method and plain student both have; 100: as good as the teacher. Bars: {percent_level()} t "
    "interval by the delta method over those seeds, pairing them and taking the teacher as it is; none where n = 1. "
    f"Cut off below −{-LOW:.0f} and above {HIGH:.0f}."
)
Closed = dict[Row, Summary]


def gap(protocol: Protocol) -> list[FigureSpec]:
    """The picture, for the pairs whose teacher is better than the plain student."""
    found, worse = {}, []
    for pair in protocol.pairs:
        own = gaps_of_pair(protocol, pair)
        if own is None:
            worse.append(pair.label)
        elif own:
            found[pair] = own
    ends = [end for own in found.values() for one in own.values() for end in (one.mean, one.low, one.high) if end]
    frame = padded(max(LOW, min(0.0, *ends, 0.0)), min(HIGH, max(100.0, *ends, 0.0)))
    sentence = (
        f" Left out, because the teacher is no better than the plain student: {join_distinct(worse)}." if worse else ""
    )
    panel = partial(draw_gap, found=found, frame=frame)
    return [
        FigureSpec("gap", "Gap to the teacher closed", CAPTION + sentence, panel, axis="", legend=None, shared=True)
    ]


def gaps_of_pair(protocol: Protocol, pair: Pair) -> Closed | None:
    """Row -> percent of the gap that it closes; None where there is no gap."""
    plain = next((by_seed(cell) for cell in protocol.students(pair) if cell.row.kind == "student"), {})
    mark = teacher_score(protocol, pair)
    if mark is None or not plain:
        return {}
    found = {}
    for cell in (cell for cell in protocol.students(pair) if cell.row.kind == "method"):
        own = by_seed(cell)
        if own.keys() & plain.keys():
            found[cell.row] = gap_closed(own, plain, mark / 100)
    return None if None in found.values() else found


def gap_closed(method: Mapping[int, float], plain: Mapping[int, float], teacher: float) -> Summary | None:
    """(m − s) / (t − s) in percent, for m and s the means over common seeds; None unless t > s.

    Delta method: to first order a seed moves the ratio r by (m_i − s_i − r (t − s_i)) / (t − s), which averages to 0.
    """
    seeds = sorted(method.keys() & plain.keys())
    n = len(seeds)
    m, s = (math.fsum(values[seed] for seed in seeds) / n for values in (method, plain))
    if teacher <= s:
        return None
    r = (m - s) / (teacher - s)
    if n == 1:
        return Summary(100 * r, n)
    moved = [(method[seed] - plain[seed] - r * (teacher - plain[seed])) / (teacher - s) for seed in seeds]
    sd = 100 * math.sqrt(math.fsum(value**2 for value in moved) / (n - 1))
    half = quantile(n - 1) * sd / math.sqrt(n)
    return Summary(100 * r, n, sd, 100 * r - half, 100 * r + half)


def draw_gap(
    axes: Axes,
    protocol: Protocol,
    pair: Pair,
    styles: dict[Row, Style],
    found: dict[Pair, Closed],
    frame: tuple[float, float],
) -> list[Row]:
    """A bar for each method; the rows that were drawn."""
    own = found.get(pair, {})
    rows = [row for row in protocol.rows if any(row in other for other in found.values())]
    places = [place for place, row in enumerate(rows) if row in own]
    known = [own[row] for row in rows if row in own]
    colours = [styles[row][0] for row in rows if row in own]
    axes.barh(places, [one.mean for one in known], height=0.7, color=colours, zorder=2)
    sure = [(place, one) for place, one in zip(places, known, strict=True) if one.high is not None]
    if sure:
        bars = [one.high - one.mean for _, one in sure]
        look = {"fmt": "none", "ecolor": FOREGROUND, "elinewidth": 1.2, "zorder": 3}
        axes.errorbar([one.mean for _, one in sure], [place for place, _ in sure], xerr=bars, **look)
    name_rows(axes, rows, frame, 0.0, 100.0)
    axes.set_xlabel("gap closed (%)")
    return list(own)
