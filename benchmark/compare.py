"""Two folders of results side by side: which cells changed, by how much, and whether one got significantly worse."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from benchmark.errors import BadInput
from benchmark.report.cells import Cell
from benchmark.report.entries import Entry, gather
from benchmark.report.protocols import protocols
from benchmark.report.statistics import LEVEL, summarise, welch
from benchmark.report.wording import NOTHING, percent, points, some
from benchmark.store import Store

WORSE, UNCHANGED = "worse", "unchanged"
UNTOLD = "cannot be told"
VERDICTS = (WORSE, "better", UNTOLD, "no score now", "scored now", "without score", "appeared", "vanished", UNCHANGED)
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
        words = [f"n = {scores.n}"] if scores else []
        words += [f"{count} {state}" for state, count in sorted(lacking.items())]
        return f"{percent(scores.mean)} ({'; '.join(words)})" if scores else "; ".join(words) or NOTHING


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a cell; fractions."""

    verdict: str
    difference: float | None = None
    interval: tuple[float, float] | None = None
    how: str = ""


def compare(old: Path, new: Path) -> tuple[str, bool]:
    """What to print, and whether a cell got significantly worse.  Raises BadInput for a folder without records."""
    (before, odd), (after, odder) = read(old), read(new)
    counts: Counter[str] = Counter()
    parts = [f"old {old}: {some(len(before), 'run')}; new {new}: {some(len(after), 'run')}"]
    for protocol in protocols([*(before | after).values()]):
        lines = []
        for cell in (protocol.cells[row, pair] for pair in protocol.pairs for row in protocol.rows):
            own, other = side(cell, before), side(cell, after)
            if cell.refusal or not (own.runs or other.runs):
                continue
            change = judge(own, other)
            counts[change.verdict] += 1
            if change.verdict != UNCHANGED:
                lines.append(line(cell, own, other, change))
        if lines:
            table = tabulate(lines, HEADS, tablefmt="plain", disable_numparse=True)
            parts.append("\n".join(text.rstrip() for text in [protocol.label, *table.splitlines()]))
    parts.append("\n".join([summary(counts), *(f"left out: {complaint}" for complaint in [*odd, *odder])]))
    return "\n\n".join(parts), bool(counts[WORSE])


def read(results: Path) -> tuple[dict[str, Entry], list[str]]:
    """id -> the run's entry, and complaints about what cannot be read.  Raises BadInput."""
    entries, complaints = gather(Store(results))
    if not entries:
        raise BadInput(f"{results} holds no records of runs; name a folder of results, one that has records/ in it")
    return {entry.run.id: entry for entry in entries}, complaints


def side(cell: Cell, known: dict[str, Entry]) -> Side:
    """The cell's runs as one folder has them."""
    return Side({entry.run.id: known[entry.run.id] for entry in cell.entries if entry.run.id in known})


def judge(old: Side, new: Side) -> Change:
    """Whether a cell changed, and what can be said of it."""
    a, b = old.scores, new.scores
    if (a, old.states) == (b, new.states):
        return Change(UNCHANGED)
    if not old.runs or not new.runs:
        return Change("vanished" if old.runs else "appeared")
    if not a or not b:
        return Change("no score now" if a else "scored now" if b else "without score")
    return measured(a, b)


def measured(old: dict[str, float], new: dict[str, float]) -> Change:
    """New minus old: paired over the seeds that both have, if there are two; else between their means."""
    common = sorted(set(old) & set(new))
    a, b = summarise(old.values()), summarise(new.values())
    difference, interval, how = b.mean - a.mean, welch(b, a), "Welch"
    if len(common) > 1:
        paired = summarise(new[id] - old[id] for id in common)
        difference, interval, how = paired.mean, (paired.low, paired.high), f"paired over {len(common)} seeds"
    if interval is None:
        return Change(UNTOLD, difference, how="n = 1: no interval")
    low, high = interval
    return Change(WORSE if high < 0 else "better" if low > 0 else UNTOLD, difference, interval, how)


def line(cell: Cell, old: Side, new: Side, change: Change) -> list[str]:
    """A changed cell as a row to print."""
    difference = "" if change.difference is None else points(change.difference)
    interval = f"[{', '.join(map(points, change.interval))}]" if change.interval else ""
    return [change.verdict, cell.row.label, cell.pair.label, str(old), str(new), difference, interval, change.how]


def summary(counts: Counter[str]) -> str:
    """How many cells of each kind, and how to read them."""
    told = [f"{counts[word]} {word}" for word in VERDICTS if counts[word]]
    cells = some(sum(counts.values()), "cell")
    if not set(counts) - {UNCHANGED}:
        return f"{cells}, nothing changed"
    reading = "worse and better: the interval of new − old leaves out 0; not corrected for the number of cells"
    return f"{cells}: {', '.join(told)}\ntop-1 in percent; {reading}"
