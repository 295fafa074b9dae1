"""The command `compare`: which cells differ between two folders of results, by how much, and which got worse."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from benchmark.report.formatting import MISSING, count_of, format_percent, format_points
from benchmark.report.records.cells import Cell
from benchmark.report.records.entries import Entry, require_entries
from benchmark.report.records.protocols import protocols
from benchmark.report.statistics.summary import LEVEL, summarise, welch_interval
from benchmark.store import Store

WORSE, UNCHANGED = "worse", "unchanged"
INCONCLUSIVE = "inconclusive"
VERDICTS = (
    WORSE,
    "better",
    INCONCLUSIVE,
    "score lost",
    "score gained",
    "no score",
    "only in new",
    "only in old",
    UNCHANGED,
)
HEADS = ("", "method", "pair", "old", "new", "new − old", f"{100 * LEVEL:g} % interval", "")


@dataclass(frozen=True, slots=True)
class CellResults:
    """The runs of a cell in one of the folders: id -> entry."""

    runs: dict[str, Entry]

    @property
    def scores(self) -> dict[str, float]:
        """Id -> top-1 of the runs that have one, as fractions."""
        scores = {id: entry.score("top1") for id, entry in self.runs.items() if entry.state == "done"}
        return {id: value for id, value in scores.items() if value is not None}

    @property
    def states(self) -> dict[str, str]:
        """Id -> the run's state."""
        return {id: entry.state for id, entry in self.runs.items()}

    def __str__(self) -> str:
        """Mean and n, and the number of runs in each other state."""
        scores = summarise(self.scores.values())
        unscored = Counter(state for state in self.states.values() if state != "done")
        parts = [f"n = {scores.n}"] if scores else []
        parts += [f"{count} {state}" for state, count in sorted(unscored.items())]
        return f"{format_percent(scores.mean)} ({'; '.join(parts)})" if scores else "; ".join(parts) or MISSING


@dataclass(frozen=True, slots=True)
class Change:
    """The change of a cell: verdict, and new minus old with its interval, as fractions."""

    verdict: str
    difference: float | None = None
    interval: tuple[float, float] | None = None
    basis: str = ""  # how the interval was computed


def compare(old: Path, new: Path) -> tuple[str, bool]:
    """The text to print, and whether a cell got significantly worse.  Raises BadInput for a folder without records."""
    (before, old_complaints), (after, new_complaints) = load_results(old), load_results(new)
    counts: Counter[str] = Counter()
    parts = [f"old {old}: {count_of(len(before), 'run')}; new {new}: {count_of(len(after), 'run')}"]
    for protocol in protocols([*(before | after).values()]):
        lines = []
        for cell in (protocol.cells[row, pair] for pair in protocol.pairs for row in protocol.rows):
            old_results, new_results = cell_results(cell, before), cell_results(cell, after)
            if cell.exclusion_reason or not (old_results.runs or new_results.runs):
                continue
            change = judge_change(old_results, new_results)
            counts[change.verdict] += 1
            if change.verdict != UNCHANGED:
                lines.append(change_line(cell, old_results, new_results, change))
        if lines:
            table = tabulate(lines, HEADS, tablefmt="plain", disable_numparse=True)
            parts.append("\n".join(text.rstrip() for text in [protocol.label, *table.splitlines()]))
    parts.append(
        "\n".join([summary(counts), *(f"left out: {complaint}" for complaint in [*old_complaints, *new_complaints])])
    )
    return "\n\n".join(parts), bool(counts[WORSE])


def load_results(results: Path) -> tuple[dict[str, Entry], list[str]]:
    """Id -> entry, and a sentence for each file that cannot be read.  Raises BadInput for a folder without records."""
    entries, complaints = require_entries(Store(results))
    return {entry.run.id: entry for entry in entries}, complaints


def cell_results(cell: Cell, entries: dict[str, Entry]) -> CellResults:
    """The runs of a cell that are in one of the folders; entries: id -> entry."""
    return CellResults({entry.run.id: entries[entry.run.id] for entry in cell.entries if entry.run.id in entries})


def judge_change(old: CellResults, new: CellResults) -> Change:
    """The change of a cell from the old results to the new."""
    old_scores, new_scores = old.scores, new.scores
    if (old_scores, old.states) == (new_scores, new.states):
        return Change(UNCHANGED)
    if not old.runs or not new.runs:
        return Change("only in old" if old.runs else "only in new")
    if not old_scores or not new_scores:
        return Change("score lost" if old_scores else "score gained" if new_scores else "no score")
    return measure_change(old_scores, new_scores)


def measure_change(old: dict[str, float], new: dict[str, float]) -> Change:
    """New minus old: paired over the common seeds if there are at least two, otherwise the difference of means."""
    shared = sorted(set(old) & set(new))
    old_summary, new_summary = summarise(old.values()), summarise(new.values())
    difference, interval, basis = new_summary.mean - old_summary.mean, welch_interval(new_summary, old_summary), "Welch"
    if len(shared) > 1:
        paired = summarise(new[id] - old[id] for id in shared)
        difference, interval, basis = paired.mean, (paired.low, paired.high), f"paired over {len(shared)} seeds"
    if interval is None:
        return Change(INCONCLUSIVE, difference, basis="n = 1: no interval")
    low, high = interval
    return Change(WORSE if high < 0 else "better" if low > 0 else INCONCLUSIVE, difference, interval, basis)


def change_line(cell: Cell, old: CellResults, new: CellResults, change: Change) -> list[str]:
    """A changed cell as a row of the printed table."""
    difference = "" if change.difference is None else format_points(change.difference)
    interval = f"[{', '.join(map(format_points, change.interval))}]" if change.interval else ""
    return [change.verdict, cell.row.label, cell.pair.label, str(old), str(new), difference, interval, change.basis]


def summary(counts: Counter[str]) -> str:
    """The number of cells with each verdict, and what the verdicts mean."""
    parts = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
    cells = count_of(sum(counts.values()), "cell")
    if not set(counts) - {UNCHANGED}:
        return f"{cells}, nothing changed"
    explanation = "worse, better: the interval of new − old excludes 0; not corrected for the number of cells"
    return f"{cells}: {', '.join(parts)}\ntop-1 in percent; {explanation}"
