"""The figure of the share of the gap between plain student and teacher that each method closes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from matplotlib.axes import Axes

from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.drawing.method_axis import draw_seeds, label_rows, order_by_effect, padded
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.panels import FigureSpec
from benchmark.report.figures.style import FOREGROUND
from benchmark.report.figures.teacher import teacher_score
from benchmark.report.formatting import join_distinct
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics.summary import Summary, t_quantile
from benchmark.report.tables.table import percent_level

MIN_PERCENT, MAX_PERCENT = -100.0, 200.0  # limits of the axis, in percent
CAPTION = (
    "(method − plain student) / (teacher − plain student) in percent, over the seeds that both have; 100: as good as "
    f"the teacher. Bars: {percent_level()} t interval by the delta method, row by row, for this one teacher; none "
    f"where n = 1. Small dots: seeds. Cut off below −{-MIN_PERCENT:.0f} and above {MAX_PERCENT:.0f}."
)
GapClosed = dict[Row, Summary]


def gap_figures(protocol: Protocol) -> list[FigureSpec]:
    """The figure; pairs whose teacher is not better than the plain student are named in its caption."""
    by_pair, excluded = {}, []
    for pair in protocol.pairs:
        gaps = gaps_of_pair(protocol, pair)
        if gaps is None:
            excluded.append(pair.label)
        elif gaps:
            by_pair[pair] = gaps
    summaries = [summary for gaps in by_pair.values() for summary in gaps.values()]
    ends = [end for summary in summaries for end in (summary.mean, summary.low, summary.high) if end]
    limits = padded(max(MIN_PERCENT, min(0.0, *ends, 0.0)), min(MAX_PERCENT, max(100.0, *ends, 0.0)))
    caption = CAPTION
    if excluded:
        caption += f" Left out, because the teacher is no better than the plain student: {join_distinct(excluded)}."
    panel = partial(draw_gap, by_pair=by_pair, limits=limits)
    return [FigureSpec("gap", "Gap to the teacher closed", caption, panel, axis="", legend=None, shared_labels=True)]


def gaps_of_pair(protocol: Protocol, pair: Pair) -> GapClosed | None:
    """Row -> percent of the gap that it closes; None if the teacher is not better, empty if scores are missing."""
    plain = next((cell.by_seed for cell in protocol.student_cells(pair) if cell.row.kind == "student"), {})
    teacher_percent = teacher_score(protocol, pair)
    if teacher_percent is None or not plain:
        return {}
    gaps = {}
    for cell in (cell for cell in protocol.student_cells(pair) if cell.row.kind == "method"):
        scores = cell.by_seed
        if scores.keys() & plain.keys():
            gaps[cell.row] = gap_closed(scores, plain, teacher_percent / 100)
    return None if None in gaps.values() else gaps


def gap_closed(method: Mapping[int, float], plain: Mapping[int, float], teacher: float) -> Summary | None:
    """(m − s) / (t − s) in percent, for m and s the means over common seeds; None unless t > s.

    Delta method: to first order, seed i contributes (m_i − s_i − r (t − s_i)) / (t − s) to the ratio r; the mean is 0.
    """
    seeds = sorted(method.keys() & plain.keys())
    n = len(seeds)
    m, s = (math.fsum(values[seed] for seed in seeds) / n for values in (method, plain))
    if teacher <= s:
        return None
    r = (m - s) / (teacher - s)
    if n == 1:
        return Summary(100 * r, n)
    influence = [(method[seed] - plain[seed] - r * (teacher - plain[seed])) / (teacher - s) for seed in seeds]
    sd = 100 * math.sqrt(math.fsum(value**2 for value in influence) / (n - 1))
    half_width = t_quantile(n - 1) * sd / math.sqrt(n)
    return Summary(100 * r, n, sd, 100 * r - half_width, 100 * r + half_width)


def draw_gap(
    axes: Axes,
    protocol: Protocol,
    pair: Pair,
    styles: dict[Row, Style],
    by_pair: dict[Pair, GapClosed],
    limits: tuple[float, float],
) -> list[Row]:
    """Draw a bar for each method; return the drawn rows."""
    gaps = by_pair.get(pair, {})
    rows = order_by_effect({(row, each): gap.mean for each, own in by_pair.items() for row, gap in own.items()})
    plain = next((cell.by_seed for cell in protocol.student_cells(pair) if cell.row.kind == "student"), {})
    for index, row in enumerate(rows):
        if row in gaps:
            draw_bar(axes, index, row, gaps[row], styles[row][0])
            seeds = seed_gaps(protocol.cells[row, pair].by_seed, plain, (teacher_score(protocol, pair) or 0.0) / 100)
            draw_seeds(axes, seeds, index + 0.25, row, "%")
    label_rows(axes, rows, limits, 0.0, 100.0)
    axes.set_xlabel("gap closed (%)")
    return list(gaps)


def draw_bar(axes: Axes, place: int, row: Row, gap: Summary, colour: str) -> None:
    """Draw one bar with its interval."""
    options = {"ecolor": FOREGROUND, "elinewidth": 1.2}
    error = None if gap.high is None else [gap.high - gap.mean]
    bars = axes.barh([place], [gap.mean], height=0.7, color=colour, zorder=2, xerr=error, error_kw=options)
    interval = "" if gap.high is None else f", {gap.low:.0f} to {gap.high:.0f} %"
    tag(bars.patches[0], row.label, f"{gap.mean:.1f} % of the gap{interval}, n = {gap.n}")
    if bars.errorbar:
        tag(bars.errorbar[2][0], row.label)


def seed_gaps(method: Mapping[int, float], plain: Mapping[int, float], teacher: float) -> dict[int, float]:
    """Seed -> 100 (m_i − s_i) / (t − s) for the common seeds, s the mean over them; {} for less than two."""
    seeds = sorted(method.keys() & plain.keys())
    mean = math.fsum(plain[seed] for seed in seeds) / max(len(seeds), 1)
    return {seed: 100 * (method[seed] - plain[seed]) / (teacher - mean) for seed in seeds} if len(seeds) > 1 else {}
