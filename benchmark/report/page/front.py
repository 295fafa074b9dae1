"""The first screen of the page: leaderboard, one figure, findings as sentences, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.figures.style import RenderedFigure
from benchmark.report.figures.tradeoff import step_milliseconds
from benchmark.report.formatting import count_of, format_interval, format_percent, format_points, format_ratio
from benchmark.report.page.sections import Section
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics.families import BETTER, WORSE, Contrast
from benchmark.report.tables.comparisons import baseline_contrasts, detectable, points_range
from benchmark.report.tables.reproduced import summary
from benchmark.report.tables.table import percent_level, run_counts, runs_per_cell

MARKS = {BETTER: "▲", WORSE: "▼"}
NAMED = 3  # methods that a finding names
HEADLINES = ("published", "forest")  # the figure beside the leaderboard: the first of these that there is
Contrasts = dict[tuple[Row, Pair], Contrast]


@dataclass(frozen=True, slots=True)
class BoardLine:
    """A line of the leaderboard."""

    label: str
    top1: str
    gain: str = ""  # over the plain student, points
    interval: str = ""  # with one pair
    mark: str = ""
    cost: str = ""  # of a training step, in steps of the plain student


@dataclass(frozen=True, slots=True)
class Front:
    """The first screen."""

    section: Section
    averaged: str  # what the accuracies are of: a pair, or so many pairs
    plain: str  # label of the plain student, "" without one
    lines: tuple[BoardLine, ...]
    figure: RenderedFigure | None
    findings: tuple[str, ...]
    trust: str

    @property
    def costly(self) -> bool:
        """Whether the time of steps is known."""
        return any(line.cost for line in self.lines)

    @property
    def several(self) -> bool:
        """Whether the accuracies are means over several pairs."""
        return len(full_pairs(self.section.protocol)) > 1


def front(sections: Sequence[Section]) -> Front | None:
    """The first screen, of the section with most scored cells; None without any."""
    counts = [sum(bool(cell.scored) for cell in section.protocol.cells.values()) for section in sections]
    if not any(counts):
        return None
    section = sections[counts.index(max(counts))]
    protocol, pairs = section.protocol, full_pairs(section.protocol)
    plain = next((row for row in protocol.rows if row.kind == "student"), None)
    contrasts = baseline_contrasts(protocol, plain) if plain else {}
    ranked = ranked_rows(protocol, pairs)
    figures = {section.part_of(figure.name): figure for figure in section.figures}
    return Front(
        section,
        pairs[0].label if len(pairs) == 1 else f"mean of {len(pairs)} pairs",
        plain.label if plain else "",
        tuple(board_line(protocol, pairs, row, plain, contrasts) for row in ranked),
        next((figures[name] for name in HEADLINES if name in figures), None),
        (better_sentence(protocol, ranked, contrasts), cost_sentence(protocol, pairs, ranked, plain, contrasts),
         summary(match for each in sections for match in each.quoted)),
        trust_sentence(protocol),
    )  # fmt: skip


# ---- the leaderboard
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
    verdicts = [each.verdict for each in own]
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


# ---- findings
def better_sentence(protocol: Protocol, ranked: Sequence[Row], contrasts: Contrasts) -> str:
    """Which methods are better than the plain student by more than chance explains, and by how much."""
    methods = [row for row in ranked if row.kind == "method"]
    if not contrasts or all(each.low is None for each in contrasts.values()):
        return "No difference can be told from chance yet: that takes several seeds of the plain student and a method."
    wins = {row: [c for (r, _), c in contrasts.items() if r == row and c.verdict == BETTER] for row in methods}
    winners = sorted((row for row in methods if wins[row]), key=lambda row: -len(wins[row]))
    if not winners:
        return f"None of {count_of(len(methods), 'method')} is better than the plain student by more than chance."
    several = len(full_pairs(protocol)) > 1
    verb, first = "is" if len(winners) == 1 else "are", wins[winners[0]][0]
    interval = f" points, {percent_level()} interval {format_interval(first.low, first.high)}"
    named = [
        f"{row.label} (in {len(wins[row])} of {len(full_pairs(protocol))} pairs)" if several
        else f"{row.label} ({format_points(wins[row][0].difference)}{interval * (row == winners[0])})"
        for row in winners[:NAMED]
    ]  # fmt: skip
    more = f" and {len(winners) - NAMED} more" if len(winners) > NAMED else ""
    return (
        f"{len(winners)} of {count_of(len(methods), 'row')} with a teacher {verb} better than the plain student by "
        f"more than chance explains{' on some pair' if several else ''}: {', '.join(named)}{more}."
    )


def cost_sentence(
    protocol: Protocol, pairs: Sequence[Pair], ranked: Sequence[Row], plain: Row | None, contrasts: Contrasts
) -> str:
    """What a step of the best method costs, and which better method is the cheapest."""
    ratios = {row: step_ratio(protocol, pairs, row, plain) for row in ranked if row.kind == "method"}
    ratios = {row: ratio for row, ratio in ratios.items() if ratio}
    best = next((row for row in ranked if row.kind == "method"), None)
    if best not in ratios:
        return "What the best method’s step costs was not measured."
    text = f"The best mean, {best.label}, costs {format_ratio(ratios[best])} the plain student’s training step"
    better = [row for row in ratios if any(r == row and c.verdict == BETTER for (r, _), c in contrasts.items())]
    cheapest = min(better, key=ratios.get, default=best)
    other = f"; the cheapest of the better ones, {cheapest.label}, {format_ratio(ratios[cheapest])}"
    return text + (other if cheapest != best else "") + "."


def trust_sentence(protocol: Protocol) -> str:
    """How far the numbers can be trusted: runs, teachers, and the difference that would be found."""
    text = f"{runs_per_cell(run_counts(protocol))}, one teacher for each pair."
    family = [found[1] for model in protocol.models.values() if (found := detectable(model))]
    return text + (f" A true difference of {points_range(family)} points is found in 80 % of cases." if family else "")
