"""The leaderboard of the first screen: each row's mean accuracy over pairs, its gain and the cost of its step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.figures.tradeoff import step_milliseconds
from benchmark.report.formatting import format_interval, format_percent, format_points, format_ratio
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics.families import BETTER, WORSE, Contrast, verdicts_over_pairs

MARKS = {BETTER: "▲", WORSE: "▼"}
Contrasts = dict[tuple[Row, Pair], Contrast]  # to the plain student


@dataclass(frozen=True, slots=True)
class BoardLine:
    """A line of the leaderboard."""

    label: str
    top1: str
    gain: str = ""  # over the plain student, points
    interval: str = ""  # with one pair
    mark: str = ""  # with several pairs their number, adjusted for looking at all of them
    cost: str = ""  # of a training step, in steps of the plain student


def full_pairs(protocol: Protocol) -> list[Pair]:
    """The pairs that have a score."""
    return [pair for pair in protocol.pairs if protocol.student_cells(pair)]


def ranked_rows(protocol: Protocol, pairs: Sequence[Pair]) -> list[Row]:
    """Teacher and plain student, then the methods with a score on every pair, the best mean first."""
    known = [row for row in protocol.rows if mean_of(protocol, pairs, row) is not None]
    order = {"teacher": 0, "student": 1, "method": 2}
    return sorted(known, key=lambda row: (order[row.kind], -mean_of(protocol, pairs, row), row.label))


def mean_of(protocol: Protocol, pairs: Sequence[Pair], row: Row) -> float | None:
    """The mean over pairs of a row's mean accuracy, a fraction; None where it lacks a score on some pair."""
    cells = [protocol.cells[row, pair] for pair in pairs]
    means = [found.mean if (found := cell.summary()) else cell.reported_top1 for cell in cells]
    return None if None in means or not means else sum(means) / len(means)


def board_line(
    protocol: Protocol, pairs: Sequence[Pair], row: Row, plain: Row | None, contrasts: Contrasts
) -> BoardLine:
    """The line of a row."""
    top1 = format_percent(mean_of(protocol, pairs, row))
    own = [contrasts[row, pair] for pair in pairs if (row, pair) in contrasts]
    ratio = step_ratio(protocol, pairs, row, plain)
    cost = format_ratio(ratio) if ratio else ""
    if row.kind == "teacher" or len(own) < len(pairs):
        return BoardLine(row.label, top1, cost=cost)
    gain = format_points(sum(each.difference for each in own) / len(own))
    if len(own) == 1:
        interval = format_interval(own[0].low, own[0].high) if own[0].low is not None else ""
        return BoardLine(row.label, top1, gain, interval, MARKS.get(own[0].verdict, ""), cost)
    verdicts = verdicts_over_pairs(own)
    marks = [f"{MARKS[verdict]} {verdicts.count(verdict)}" for verdict in MARKS if verdict in verdicts]
    return BoardLine(row.label, top1, gain, "", " ".join(marks), cost)


def step_ratio(protocol: Protocol, pairs: Sequence[Pair], row: Row, plain: Row | None) -> float | None:
    """The mean over pairs of a row's step time, in steps of the plain student; None where one is not measured."""
    platform = next(iter(protocol.cost_platforms), None)
    if plain is None or platform is None or row.kind == "teacher":
        return None
    times = [[step_milliseconds(protocol.cells[each, pair], platform) for each in (row, plain)] for pair in pairs]
    ratios = [own / base for own, base in times if own and base]
    return sum(ratios) / len(ratios) if len(ratios) == len(pairs) else None
