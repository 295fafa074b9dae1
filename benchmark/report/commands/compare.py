"""Two folders of results side by side: which cells changed, by how much, and whether one got significantly worse."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from benchmark.errors import BadInput
from benchmark.report.formatting import MISSING, count_of, format_percent, format_points
from benchmark.report.records.cells import Cell
from benchmark.report.records.entries import Entry, load_entries
from benchmark.report.records.protocols import protocols
from benchmark.report.statistics import LEVEL, summarise, welch
from benchmark.store import Store

WORSE, UNCHANGED = "worse", "unchanged"
INCONCLUSIVE = "cannot be told"
VERDICTS = (
    WORSE,
    "better",
    INCONCLUSIVE,
    "no score now",
    "scored now",
    "without score",
    "appeared",
    "vanished",
    UNCHANGED,
)
HEADS = ("", "method", "pair", "old", "new", "new − old", f"{100 * LEVEL:g} % interval", "")


@dataclass(frozen=True, slots=True)
class Side:
    """A cell's runs in one of the folders, by id."""

    runs: dict[str, Entry]

    @property
    def scores(self) -> dict[str, float]:
        """id -> top-1 of the runs that have one."""
        found = {id: entry.score("top1") for id, entry in self.runs.items() if entry.state == "done"}
        return {id: value for id, value in found.items() if value is not None}

    @property
    def states(self) -> dict[str, str]:
        """id -> what became of the run."""
        return {id: entry.state for id, entry in self.runs.items()}

    def __str__(self) -> str:
        """Mean and n, and what is lacking."""
        scores = summarise(self.scores.values())
        lacking = Counter(state for state in self.states.values() if state != "done")
        parts = [f"n = {scores.n}"] if scores else []
        parts += [f"{count} {state}" for state, count in sorted(lacking.items())]
        return f"{format_percent(scores.mean)} ({'; '.join(parts)})" if scores else "; ".join(parts) or MISSING


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a cell; fractions."""

    verdict: str
    difference: float | None = None
    interval: tuple[float, float] | None = None
    how: str = ""


def compare(old: Path, new: Path) -> tuple[str, bool]:
    """What to print, and whether a cell got significantly worse.  Raises BadInput for a folder without records."""
    (before, odd), (after, odder) = load_results(old), load_results(new)
    counts: Counter[str] = Counter()
    parts = [f"old {old}: {count_of(len(before), 'run')}; new {new}: {count_of(len(after), 'run')}"]
    for protocol in protocols([*(before | after).values()]):
        lines = []
        for cell in (protocol.cells[row, pair] for pair in protocol.pairs for row in protocol.rows):
            own, other = cell_side(cell, before), cell_side(cell, after)
            if cell.refusal or not (own.runs or other.runs):
                continue
            change = judge_change(own, other)
            counts[change.verdict] += 1
            if change.verdict != UNCHANGED:
                lines.append(format_line(cell, own, other, change))
        if lines:
            table = tabulate(lines, HEADS, tablefmt="plain", disable_numparse=True)
            parts.append("\n".join(text.rstrip() for text in [protocol.label, *table.splitlines()]))
    parts.append("\n".join([summary(counts), *(f"left out: {complaint}" for complaint in [*odd, *odder])]))
    return "\n\n".join(parts), bool(counts[WORSE])


def load_results(results: Path) -> tuple[dict[str, Entry], list[str]]:
    """id -> the run's entry, and complaints about what cannot be read.  Raises BadInput."""
    entries, complaints = load_entries(Store(results))
    if not entries:
        raise BadInput(f"{results} holds no records of runs; name a folder of results, one that has records/ in it")
    return {entry.run.id: entry for entry in entries}, complaints


def cell_side(cell: Cell, known: dict[str, Entry]) -> Side:
    """The cell's runs as one folder has them."""
    return Side({entry.run.id: known[entry.run.id] for entry in cell.entries if entry.run.id in known})


def judge_change(old: Side, new: Side) -> Change:
    """Whether a cell changed, and what can be said of it."""
    a, b = old.scores, new.scores
    if (a, old.states) == (b, new.states):
        return Change(UNCHANGED)
    if not old.runs or not new.runs:
        return Change("vanished" if old.runs else "appeared")
    if not a or not b:
        return Change("no score now" if a else "scored now" if b else "without score")
    return measure_change(a, b)


def measure_change(old: dict[str, float], new: dict[str, float]) -> Change:
    """New minus old: paired over the seeds that both have, if there are two; else between their means."""
    common = sorted(set(old) & set(new))
    a, b = summarise(old.values()), summarise(new.values())
    difference, interval, how = b.mean - a.mean, welch(b, a), "Welch"
    if len(common) > 1:
        paired = summarise(new[id] - old[id] for id in common)
        difference, interval, how = paired.mean, (paired.low, paired.high), f"paired over {len(common)} seeds"
    if interval is None:
        return Change(INCONCLUSIVE, difference, how="n = 1: no interval")
    low, high = interval
    return Change(WORSE if high < 0 else "better" if low > 0 else INCONCLUSIVE, difference, interval, how)


def format_line(cell: Cell, old: Side, new: Side, change: Change) -> list[str]:
    """A changed cell as a row to print."""
    difference = "" if change.difference is None else format_points(change.difference)
    interval = f"[{', '.join(map(format_points, change.interval))}]" if change.interval else ""
    return [change.verdict, cell.row.label, cell.pair.label, str(old), str(new), difference, interval, change.how]


def summary(counts: Counter[str]) -> str:
    """How many cells of each kind, and how to read them."""
    parts = [f"{counts[word]} {word}" for word in VERDICTS if counts[word]]
    cells = count_of(sum(counts.values()), "cell")
    if not set(counts) - {UNCHANGED}:
        return f"{cells}, nothing changed"
    reading = "worse and better: the interval of new − old leaves out 0; not corrected for the number of cells"
    return f"{cells}: {', '.join(parts)}\ntop-1 in percent; {reading}"
