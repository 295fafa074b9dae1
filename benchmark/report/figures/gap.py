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
from benchmark.report.figures.teacher import teacher_score, teacher_scores
from benchmark.report.formatting import join_distinct
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics.blocks import Key, crossed_error, matched, seed_of, teacher_of
from benchmark.report.statistics.summary import Summary, t_quantile
from benchmark.report.tables.table import percent_level, teachers_phrase

MIN_PERCENT, MAX_PERCENT = -100.0, 200.0  # limits of the axis, in percent
CAPTION = (
    "(method − plain student) / (teacher − plain student) in percent, over the seeds that both have; 100: as good as "
    f"the teacher. Bars: {percent_level()} t interval by the delta method, row by row, TEACHERS; none "
    f"where n = 1. Small dots: seeds. Cut off below −{-MIN_PERCENT:.0f} and above {MAX_PERCENT:.0f}."
)
GapClosed = dict[Row, Summary]
Teacher = float | Mapping[int, float]  # a teacher's accuracy, a fraction; of several, seed -> its accuracy


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
    caption = CAPTION.replace("TEACHERS", teachers_phrase(protocol))
    if excluded:
        caption += f" Left out, because the teacher is no better than the plain student: {join_distinct(excluded)}."
    panel = partial(draw_gap, by_pair=by_pair, limits=limits)
    return [FigureSpec("gap", "Gap to the teacher closed", caption, panel, axis="", legend=None, shared_labels=True)]


def gaps_of_pair(protocol: Protocol, pair: Pair) -> GapClosed | None:
    """Row -> percent of the gap that it closes; None if the teacher is not better, empty if scores are missing."""
    plain = plain_student(protocol, pair)
    teacher = teachers_of(protocol, pair)
    if teacher is None or not plain:
        return {}
    gaps = {}
    for cell in (cell for cell in protocol.student_cells(pair) if cell.row.kind == "method"):
        scores = with_known_teacher(cell.by_block(), teacher)
        if matched(scores, plain):
            gaps[cell.row] = gap_closed(scores, plain, teacher)
    return None if None in gaps.values() else gaps


def plain_student(protocol: Protocol, pair: Pair) -> dict[Key, float]:
    """The accuracies of the first row without a teacher; empty without one."""
    return next((cell.by_block() for cell in protocol.student_cells(pair) if cell.row.kind == "student"), {})


def teachers_of(protocol: Protocol, pair: Pair) -> Teacher | None:
    """The accuracy of the pair's teacher, a fraction; of several, by seed; None if it is not known."""
    if len(pair.teachers) > 1:
        return teacher_scores(protocol, pair) or None
    percent = teacher_score(protocol, pair)
    return None if percent is None else percent / 100


def with_known_teacher(scores: Mapping[Key, float], teacher: Teacher) -> dict[Key, float]:
    """The runs whose own teacher's accuracy is known."""
    several = isinstance(teacher, Mapping)
    return {key: value for key, value in scores.items() if not several or teacher_of(key) in teacher}


def accuracy_of(teacher: Teacher, key: Key) -> float:
    """The accuracy of the teacher of a run."""
    return teacher[teacher_of(key)] if isinstance(teacher, Mapping) else teacher


def gap_closed(method: Mapping[Key, float], plain: Mapping[Key, float], teacher: Teacher) -> Summary | None:
    """(m − s) / (t − s) in percent, for m, s and t the means over common blocks; None unless t > s.

    Delta method: to first order, block i contributes (m_i − s_i − r (t_i − s_i)) / (t − s) to the ratio r; the mean is
    0.  With several teachers t_i is that of the run, and the contributions are put together by `crossed_error`.
    """
    pairs = matched(method, plain)
    n = len(pairs)
    m, s = (math.fsum(values) / n for values in zip(*pairs.values(), strict=True))
    several = isinstance(teacher, Mapping)
    t = math.fsum(accuracy_of(teacher, key) for key in pairs) / n if several else teacher
    if t <= s:
        return None
    r = (m - s) / (t - s)
    if n == 1 or (several and len({*map(seed_of, pairs)}) == 1):  # one run of the plain student shows no spread
        return Summary(100 * r, n)
    influence = {key: (a - b - r * (accuracy_of(teacher, key) - b)) / (t - s) for key, (a, b) in pairs.items()}
    sd = 100 * math.sqrt(math.fsum(value**2 for value in influence.values()) / (n - 1))
    error, degrees = sd / math.sqrt(n), n - 1
    if several:
        error, degrees = crossed_error(influence)
        error *= 100
    half_width = t_quantile(degrees) * error
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
    plain, teacher = plain_student(protocol, pair), teachers_of(protocol, pair)
    for index, row in enumerate(rows):
        if row in gaps:
            draw_bar(axes, index, row, gaps[row], styles[row][0])
            scores = with_known_teacher(protocol.cells[row, pair].by_block(), teacher)
            draw_seeds(axes, block_gaps(scores, plain, teacher), index + 0.25, row, "%")
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


def block_gaps(method: Mapping[Key, float], plain: Mapping[Key, float], teacher: Teacher) -> dict[Key, float]:
    """Block -> 100 (m_i − s_i) / (t_i − s) for the common blocks, s the mean over them; {} for less than two."""
    pairs = matched(method, plain)
    mean = math.fsum(own for _, own in pairs.values()) / max(len(pairs), 1)
    gaps = {key: 100 * (a - b) / (accuracy_of(teacher, key) - mean) for key, (a, b) in pairs.items()}
    return gaps if len(pairs) > 1 else {}
