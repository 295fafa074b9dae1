"""Whether bf16 changes accuracy: the same run trained in both precisions, paired by seed.

precision_tables(protocols)     slug of a protocol -> the table that stands there; nothing without such runs
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.experiment.run import Run
from benchmark.report.formatting import MISSING, count_of, format_percent, format_points
from benchmark.report.records.cells import Cell, Pair, Protocol, Row, Terms
from benchmark.report.records.entries import Entry
from benchmark.report.records.labels import name_protocols
from benchmark.report.statistics import Paired, paired, summarise
from benchmark.report.tables.comparisons import FEW
from benchmark.report.tables.table import Table, TableCell, TableLine, columns_of, percent_level

LIMIT = 0.005  # this suite's criterion: the mean difference is at most that, either way
WITHIN = f"within ±{100 * LIMIT:g}"
PICKED = ("bf16", "fp32")  # what a record may say; the first minus the second
CONTROLLED = ("device", "torch", "source")  # of the making; where they differ, precision is not all that does
HEADS = ("n", "bf16 %", "fp32 %", "difference", "95 % interval", f"mean {WITHIN}", f"interval {WITHIN}")
Twins = dict[str, Entry]  # picked precision -> a run in it; both are one run otherwise
Columns = dict[Pair, dict[Row, list[Twins]]]


@dataclass(frozen=True, slots=True)
class Compared:
    """A row on one pair, or the mean of a pair's rows, in both precisions."""

    cell: Cell
    values: Mapping[str, Mapping[int, float]]  # picked precision -> seed -> top-1, of the seeds done in both
    entries: tuple[Entry, ...]  # behind the values
    lost: str = ""  # seeds done in one precision only, and what became of the other

    @property
    def difference(self) -> Paired | None:
        """bf16 minus fp32; None without a seed that is done in both."""
        return paired(*(self.values[word] for word in PICKED))

    @property
    def means(self) -> dict[str, float | None]:
        """Picked precision -> mean top-1."""
        found = {word: summarise(self.values[word].values()) for word in PICKED}
        return {word: one and one.mean for word, one in found.items()}

    @property
    def verdicts(self) -> tuple[str, str]:
        """Whether the mean difference is within the limit, and whether all of its interval is."""
        one = self.difference
        if one is None:
            return MISSING, MISSING
        met = "met" if round(abs(one.mean), 12) <= LIMIT else "missed"
        return met, FEW if one.low is None else "yes" if max(-one.low, one.high) <= LIMIT else "no"


# ---- who is held against whom
def precision_tables(protocols: Sequence[Protocol]) -> dict[str, Table]:
    """Slug of a protocol -> its table.

    Protocols that are one but for the students' precision share a table; it stands with the first that has bf16 runs.
    """
    known = twins(entry for protocol in protocols for entry in protocol.entries)
    keys = [(tuple(t for t in each.terms if t[0] != "precision"), each.teacher_terms) for each in protocols]
    apart = list(dict.fromkeys(keys))
    names = dict(zip(apart, name_protocols(apart), strict=True))
    groups: dict[tuple[Terms, Terms], tuple[Protocol, Columns]] = {}
    for key, protocol in zip(keys, protocols, strict=True):
        for pair, row, own in rows_of(protocol, known):
            groups.setdefault(key, (protocol, {}))[1].setdefault(pair, {}).setdefault(row, []).extend(own)
    return {home.slug: precision_table(home, names[key], columns) for key, (home, columns) in groups.items()}


def twins(entries: Iterable[Entry]) -> dict[str, Twins]:
    """Id of a run whatever its precision -> the run in both, where at least one of them is done.

    Where several recipes led to one precision, a run that is done comes before others, then "auto" before a name.
    """
    found: dict[str, Twins] = {}
    trained = [entry for entry in entries if entry.run.recipe and entry.provenance("precision") in PICKED]
    for entry in sorted(trained, key=lambda entry: (entry.state != "done", entry.run.recipe.precision)):
        found.setdefault(neutral(entry.run), {}).setdefault(entry.provenance("precision"), entry)
    pairs = {id: both for id, both in found.items() if len(both) == len(PICKED)}
    return {id: both for id, both in pairs.items() if "done" in {entry.state for entry in both.values()}}


def neutral(run: Run) -> str:
    """The id that the run would have under "auto"; its teacher stays what it is."""
    return run.model_copy(update={"recipe": run.recipe.model_copy(update={"precision": "auto"})}).id


def rows_of(protocol: Protocol, known: Mapping[str, Twins]) -> list[tuple[Pair, Row, list[Twins]]]:
    """The rows whose bf16 runs stand in the protocol and have a twin, pair by pair; teachers are no rows."""
    found = []
    for pair in protocol.pairs:
        for row in (row for row in protocol.rows if row.kind != "teacher"):
            entries = [entry for entry in protocol.cells[row, pair].entries if entry.run.recipe]
            both = [(entry, known.get(neutral(entry.run))) for entry in entries]
            own = [one for entry, one in both if one and one["bf16"].run.id == entry.run.id]
            found += [(pair, row, own)] * bool(own)
    return found


# ---- numbers
def compared(pair: Pair, row: Row, both: Sequence[Twins]) -> Compared:
    """The seeds of a row that are done in both precisions, and those that are done in one."""
    both = sorted(both, key=lambda one: one["bf16"].run.seed)
    done = [one for one in both if {entry.state for entry in one.values()} == {"done"}]
    odd = [(word, entry) for one in both for word, entry in one.items() if entry.state != "done"]
    lost = [f"seed {entry.run.seed} left out: {word} {entry.state}" for word, entry in odd]
    values = {word: {one[word].run.seed: one[word].score("top1") for one in done} for word in PICKED}
    entries = tuple(one[word] for word in PICKED for one in done)
    return Compared(Cell(row, pair), values, entries, "; ".join(lost))


def mean_of_rows(pair: Pair, lines: Sequence[Compared]) -> list[Compared]:
    """The mean of a pair's rows within each seed that all of them have: nothing for a single row.

    The seeds are the sample.  Rows of one seed share first weights and batches, so their differences are no sample of
    independent ones, as `statistics.pooled` takes them to be.
    """
    lines = [line for line in lines if line.entries]
    if len(lines) < 2:
        return []
    seeds = sorted(set.intersection(*(set(line.values["bf16"]) for line in lines)))
    values = {
        word: {seed: math.fsum(line.values[word][seed] for line in lines) / len(lines) for seed in seeds}
        for word in PICKED
    }
    entries = tuple(entry for line in lines for entry in line.entries if entry.run.seed in seeds)
    row = Row("method", label=f"mean of {count_of(len(lines), 'row')}")
    return [Compared(Cell(row, pair), values, entries, "" if seeds else "no seed in common")]


# ---- the table
def precision_table(protocol: Protocol, name: str, columns: Columns) -> Table:
    """The rows of each pair, and below them their mean.  name: of the protocol without its precision."""
    found: list[Compared] = []
    for pair, rows in columns.items():
        lines = [compared(pair, row, both) for row, both in rows.items()]
        found += [*lines, *mean_of_rows(pair, lines)]
    every = [one for rows in columns.values() for both in rows.values() for one in both]
    return Table(
        name=f"{protocol.slug}-precision",
        title=f"Precision · {name}",
        caption=caption(protocol, name, every),
        heads=HEADS,
        lines=tuple(TableLine(one.cell.row.label, format_cells(one), one.cell.pair.label) for one in found),
        tidy=pd.DataFrame([tidy_line(protocol, name, one) for one in found]),
    )


def caption(protocol: Protocol, name: str, every: Sequence[Twins]) -> str:
    """What is paired, what is asked, and what the last line of a pair is."""
    apart = [w for w in CONTROLLED if any(len({str(e.provenance(w)) for e in one.values()}) > 1 for one in every)]
    also = f"Not the same on both sides everywhere, beside the precision: {', '.join(apart)}." if apart else ""
    return (
        f"{name}. Scored on the {protocol.judge}. The same runs trained in bf16 and in fp32, by what the records say "
        "was picked: the same networks, teacher, method, knobs, seed and recipe, precision aside. Top-1 after the last "
        "epoch; n: seeds done in both. Difference: bf16 minus fp32, in percentage points, with the "
        f"{percent_level()} t interval of its mean over seeds; none with n = 1. Mean {WITHIN}: this suite’s own "
        f"criterion, met where the mean difference is at most {100 * LIMIT:g} points either way. Interval {WITHIN}: "
        "whether all of the interval lies there; where not, a larger difference is not ruled out. One line at a time, "
        "not corrected for their number. Mean of rows: averaged within each seed that all of them have, then an "
        "interval over those seeds, since rows of one seed share first weights and batches and are not independent; it "
        f"speaks of the average, not of each row. {also}"
    ).strip()


def format_cells(one: Compared) -> tuple[TableCell, ...]:
    """The cells of a line, in the order of HEADS."""
    both, records = one.difference, " ".join(entry.name for entry in one.entries)
    inside = MISSING if both is None or both.low is None else f"{format_points(both.low)} to {format_points(both.high)}"
    return (
        TableCell(str(both.n if both else 0), one.lost, records=records),
        *(TableCell(MISSING if mean is None else format_percent(mean)) for mean in one.means.values()),
        TableCell(format_points(both.mean) if both else MISSING),
        TableCell(inside),
        *map(TableCell, one.verdicts),
    )


def tidy_line(protocol: Protocol, name: str, one: Compared) -> dict[str, object]:
    """A line of CSV; percent and points."""
    both, verdicts = one.difference, dict(zip(("mean_within", "interval_within"), one.verdicts, strict=True))
    numbers = {f"{word}_percent": mean for word, mean in one.means.items()}
    numbers |= {"difference": both and both.mean} | {word: getattr(both, word, None) for word in ("sd", "low", "high")}
    return (
        columns_of(protocol, one.cell)
        | {"protocol": name, "method": one.cell.row.method, "n": both.n if both else 0}
        | {word: None if value is None else 100 * value for word, value in numbers.items()}
        | verdicts
        | {"left_out": one.lost, "records": " ".join(entry.name for entry in one.entries)}
    )
