"""The findings of the first screen as sentences, and how far they can be trusted; "" for what is not known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from benchmark.report.formatting import count_of, format_interval, format_points, format_ratio
from benchmark.report.page.leaderboard import Contrasts, full_pairs, mean_of, step_ratio
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics.families import BETTER, NO_VERDICT, WORSE, Contrast, verdicts_over_pairs
from benchmark.report.statistics.power import detectable
from benchmark.report.tables.comparisons import count_range, points_range
from benchmark.report.tables.table import percent_level, run_counts, runs_per_cell, several_teachers

NAMED = 3  # methods that a finding names


def better_sentence(protocol: Protocol, ranked: Sequence[Row], contrasts: Contrasts) -> str:
    """Which methods are better than the plain student by more than chance explains, and by how much."""
    methods = [row for row in ranked if row.kind == "method"]
    if all(each.verdict in NO_VERDICT for each in contrasts.values()):
        return "No difference can be told from chance yet: that takes several seeds of the plain student and a method."
    judged = [row for row in methods if any(each.verdict not in NO_VERDICT for each in contrasts_of(row, contrasts))]
    counts, several = verdict_counts(methods, contrasts), len(full_pairs(protocol)) > 1
    winners = sorted((row for row in methods if counts[row][BETTER]), key=lambda row: -counts[row][BETTER])
    somewhere = " on some pair (Holm’s adjustment over the pairs)" if several else ""
    if not winners:
        none = f"None of {count_of(len(methods), 'method')}"
        return f"{none} is better than the plain student by more than chance{somewhere}."
    verb, firsts = "is" if len(winners) == 1 else "are", {row: contrasts_of(row, contrasts)[0] for row in winners}
    first = firsts[winners[0]]
    interval = f" points, {percent_level()} interval {format_interval(first.low, first.high)}"
    named = [
        f"{row.label} ({pairs_text(protocol, counts[row])})" if several
        else f"{row.label} ({format_points(firsts[row].difference)}{interval * (row == winners[0])})"
        for row in winners[:NAMED]
    ]  # fmt: skip
    more = f" and {len(winners) - NAMED} more" if len(winners) > NAMED else ""
    rows = f"{count_of(len(judged), 'row')} with a teacher{' and several runs' * (len(judged) < len(methods))}"
    return (
        f"{len(winners)} of {rows} {verb} better than the plain student by more than chance explains{somewhere}: "
        f"{'; '.join(named)}{more}."
    )


def contrasts_of(row: Row, contrasts: Contrasts) -> list[Contrast]:
    """The contrasts of a row, by pair."""
    return [contrast for (each, _), contrast in contrasts.items() if each == row]


def verdict_counts(rows: Iterable[Row], contrasts: Contrasts) -> dict[Row, Counter[str]]:
    """Row -> the number of pairs by verdict, adjusted for looking at all pairs."""
    return {row: Counter(verdicts_over_pairs(contrasts_of(row, contrasts))) for row in rows}


def pairs_text(protocol: Protocol, counts: Counter[str]) -> str:
    """In how many pairs a row is better than the plain student, and in how many worse."""
    worse = f", worse in {counts[WORSE]}" if counts[WORSE] else ""
    return f"in {counts[BETTER]} of {len(full_pairs(protocol))} pairs{worse}"


def cost_sentence(
    protocol: Protocol, pairs: Sequence[Pair], ranked: Sequence[Row], plain: Row | None, contrasts: Contrasts
) -> str:
    """What a step of the best method costs, and which better method is the cheapest; "" if it was not measured."""
    ratios = {row: step_ratio(protocol, pairs, row, plain) for row in ranked if row.kind == "method"}
    ratios = {row: ratio for row, ratio in ratios.items() if ratio}
    best = next((row for row in ranked if row.kind == "method"), None)
    if best not in ratios:
        return ""
    text = f"The best mean, {best.label}, costs {format_ratio(ratios[best])} the plain student’s training step"
    counts = verdict_counts(ratios, contrasts)
    better = [row for row in ratios if counts[row][BETTER] > counts[row][WORSE]]
    cheapest = min(better, key=ratios.get, default=best)
    other = f"; the cheapest of the better ones, {cheapest.label}, {format_ratio(ratios[cheapest])}"
    return text + (other if cheapest != best else "") + "."


def gap_sentence(protocol: Protocol, pairs: Sequence[Pair], ranked: Sequence[Row]) -> str:
    """How much of the gap to the teacher the best method closes; "" without one of the three, or without a gap."""
    leaders = [next((row for row in ranked if row.kind == kind), None) for kind in ("teacher", "student", "method")]
    if None in leaders:
        return ""
    teacher, plain, best = (mean_of(protocol, pairs, row) for row in leaders)
    if teacher <= plain:
        return ""
    share = f"{100 * (best - plain) / (teacher - plain):.0f} %".replace("-", "−")
    return f"The best mean closes {share} of the {points_range([teacher - plain])} points from student to teacher."


def trust_sentence(protocol: Protocol) -> str:
    """How far the numbers can be trusted: runs, teachers, and the difference that would be found."""
    number = several_teachers(protocol)
    teachers = f"{number} teachers" if number else "one teacher"
    text = f"{runs_per_cell(run_counts(protocol))}, {teachers} for each pair."
    found = [each for model in protocol.models.values() if (each := detectable(model))]
    if not found:
        return text
    seeds = count_range([each.seeds for each in found])
    difference = points_range([each.family for each in found])
    return f"{text} A true difference of {difference} points between rows with {seeds} seeds is found in 80 % of cases."
