"""The table of bf16 against fp32: the same runs trained in both precisions, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.experiment.run import Run
from benchmark.report.formatting import MISSING, count_of, format_interval, format_percent, format_points
from benchmark.report.records.cells import Cell, Pair, Protocol, Row, Terms
from benchmark.report.records.entries import Entry
from benchmark.report.records.labels import name_protocols
from benchmark.report.statistics import Paired, paired_difference, summarise
from benchmark.report.tables.comparisons import TOO_FEW
from benchmark.report.tables.table import Table, TableCell, TableLine, key_columns, percent_level

LIMIT = 0.005  # this suite's criterion for the absolute mean difference, a fraction
WITHIN = f"within ±{100 * LIMIT:g}"
PRECISIONS = ("bf16", "fp32")  # values in records; differences are the first minus the second
EXPECTED_EQUAL = ("device", "torch", "source")  # provenance; the caption names what is not equal on both sides
HEADS = ("n", "bf16 %", "fp32 %", "difference", "95 % interval", f"mean {WITHIN}", f"interval {WITHIN}")
MatchedRuns = dict[str, Entry]  # precision -> entry; the entries differ in nothing else that is part of the run
MatchedColumns = dict[Pair, dict[Row, list[MatchedRuns]]]


@dataclass(frozen=True, slots=True)
class PrecisionComparison:
    """A row on one pair, or the mean of a pair's rows, in both precisions."""

    cell: Cell
    values: Mapping[str, Mapping[int, float]]  # precision -> seed -> top-1, of the seeds done in both
    entries: tuple[Entry, ...]  # the runs that the values come from
    left_out: str = ""  # seeds done in one precision only, with the state of the other

    @property
    def difference(self) -> Paired | None:
        """bf16 minus fp32; None without a seed that is done in both."""
        return paired_difference(*(self.values[precision] for precision in PRECISIONS))

    @property
    def means(self) -> dict[str, float | None]:
        """Precision -> mean top-1, a fraction; None without seeds."""
        summaries = {precision: summarise(self.values[precision].values()) for precision in PRECISIONS}
        return {precision: summary and summary.mean for precision, summary in summaries.items()}

    @property
    def verdicts(self) -> tuple[str, str]:
        """Whether the mean difference is within the limit, and whether its whole interval is."""
        difference = self.difference
        if difference is None:
            return MISSING, MISSING
        met = "met" if round(abs(difference.mean), 12) <= LIMIT else "missed"
        if difference.low is None:
            return met, TOO_FEW
        return met, "yes" if max(-difference.low, difference.high) <= LIMIT else "no"


# ---- matching runs
def precision_tables(protocols: Sequence[Protocol]) -> dict[str, Table]:
    """Slug of a protocol -> its table; empty if no run was trained in both precisions.

    Protocols that differ only in the students' precision share one table, that of the first one with bf16 runs.
    """
    matches = match_runs(entry for protocol in protocols for entry in protocol.entries)
    keys = [(tuple(t for t in each.terms if t[0] != "precision"), each.teacher_terms) for each in protocols]
    distinct = list(dict.fromkeys(keys))
    names = dict(zip(distinct, name_protocols(distinct), strict=True))
    groups: dict[tuple[Terms, Terms], tuple[Protocol, MatchedColumns]] = {}
    for key, protocol in zip(keys, protocols, strict=True):
        for pair, row, matched in matched_rows(protocol, matches):
            groups.setdefault(key, (protocol, {}))[1].setdefault(pair, {}).setdefault(row, []).extend(matched)
    return {first.slug: precision_table(first, names[key], columns) for key, (first, columns) in groups.items()}


def match_runs(entries: Iterable[Entry]) -> dict[str, MatchedRuns]:
    """Id without precision -> the run in both precisions, where at least one of the two is done.

    If several recipes led to one precision, a run that is done is preferred, then the recipe "auto".
    """
    by_id: dict[str, MatchedRuns] = {}
    trained = [entry for entry in entries if entry.run.recipe and entry.provenance("precision") in PRECISIONS]
    for entry in sorted(trained, key=lambda entry: (entry.state != "done", entry.run.recipe.precision)):
        by_id.setdefault(id_without_precision(entry.run), {}).setdefault(entry.provenance("precision"), entry)
    pairs = {id: matched for id, matched in by_id.items() if len(matched) == len(PRECISIONS)}
    return {id: matched for id, matched in pairs.items() if "done" in {entry.state for entry in matched.values()}}


def id_without_precision(run: Run) -> str:
    """The id that the run would have with precision "auto" in its own recipe; the teacher's is left as it is."""
    return run.model_copy(update={"recipe": run.recipe.model_copy(update={"precision": "auto"})}).id


def matched_rows(protocol: Protocol, matches: Mapping[str, MatchedRuns]) -> list[tuple[Pair, Row, list[MatchedRuns]]]:
    """(Pair, row, matched runs) for the protocol's rows that have bf16 runs with a match in fp32; no teachers."""
    rows = []
    for pair in protocol.pairs:
        for row in (row for row in protocol.rows if row.kind != "teacher"):
            entries = [entry for entry in protocol.cells[row, pair].entries if entry.run.recipe]
            matched = [(entry, matches.get(id_without_precision(entry.run))) for entry in entries]
            bf16_matched = [match for entry, match in matched if match and match["bf16"].run.id == entry.run.id]
            rows += [(pair, row, bf16_matched)] * bool(bf16_matched)
    return rows


# ---- numbers
def compare_precisions(pair: Pair, row: Row, matched: Sequence[MatchedRuns]) -> PrecisionComparison:
    """Compare the seeds of a row that are done in both precisions; the others are named in `left_out`."""
    matched = sorted(matched, key=lambda match: match["bf16"].run.seed)
    done = [match for match in matched if {entry.state for entry in match.values()} == {"done"}]
    not_done = [(precision, entry) for match in matched for precision, entry in match.items() if entry.state != "done"]
    left_out = [f"seed {entry.run.seed} left out: {precision} {entry.state}" for precision, entry in not_done]
    values = {name: {match[name].run.seed: match[name].score("top1") for match in done} for name in PRECISIONS}
    entries = tuple(match[precision] for precision in PRECISIONS for match in done)
    return PrecisionComparison(Cell(row, pair), values, entries, "; ".join(left_out))


def mean_of_rows(pair: Pair, lines: Sequence[PrecisionComparison]) -> list[PrecisionComparison]:
    """The mean over a pair's rows, taken within each seed that all rows have; empty for a single row.

    The interval is over seeds: rows of one seed share initial weights and batches, so they are not independent.
    """
    lines = [line for line in lines if line.entries]
    if len(lines) < 2:
        return []
    seeds = sorted(set.intersection(*(set(line.values["bf16"]) for line in lines)))
    values = {
        precision: {seed: math.fsum(line.values[precision][seed] for line in lines) / len(lines) for seed in seeds}
        for precision in PRECISIONS
    }
    entries = tuple(entry for line in lines for entry in line.entries if entry.run.seed in seeds)
    cell = Cell(Row("method", label=f"mean of {count_of(len(lines), 'row')}"), pair)
    return [PrecisionComparison(cell, values, entries, "" if seeds else "no seed in common")]


# ---- the table
def precision_table(protocol: Protocol, name: str, columns: MatchedColumns) -> Table:
    """The table: the rows of each pair and their mean.  name: label of the protocol without its precision."""
    comparisons: list[PrecisionComparison] = []
    for pair, rows in columns.items():
        lines = [compare_precisions(pair, row, matched) for row, matched in rows.items()]
        comparisons += [*lines, *mean_of_rows(pair, lines)]
    all_matched = [match for rows in columns.values() for matched in rows.values() for match in matched]
    return Table(
        name=f"{protocol.slug}-precision",
        title=f"Precision · {name}",
        caption=caption(protocol, name, all_matched),
        heads=HEADS,
        lines=tuple(TableLine(each.cell.row.label, line_cells(each), each.cell.pair.label) for each in comparisons),
        tidy=pd.DataFrame([tidy_line(protocol, name, each) for each in comparisons]),
    )


def caption(protocol: Protocol, name: str, matched: Sequence[MatchedRuns]) -> str:
    """The caption: what is paired, the criterion, and how the mean of rows is taken."""
    different = [w for w in EXPECTED_EQUAL if any(len({str(e.provenance(w)) for e in m.values()}) > 1 for m in matched)]
    also = f"Not the same on both sides everywhere, beside the precision: {', '.join(different)}." if different else ""
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


def line_cells(comparison: PrecisionComparison) -> tuple[TableCell, ...]:
    """The cells of a line, in the order of HEADS."""
    difference, records = comparison.difference, " ".join(entry.name for entry in comparison.entries)
    return (
        TableCell(str(difference.n if difference else 0), comparison.left_out, records=records),
        *(TableCell(MISSING if mean is None else format_percent(mean)) for mean in comparison.means.values()),
        TableCell(format_points(difference.mean) if difference else MISSING),
        TableCell(format_interval(difference.low, difference.high) if difference else MISSING),
        *map(TableCell, comparison.verdicts),
    )


def tidy_line(protocol: Protocol, name: str, comparison: PrecisionComparison) -> dict[str, object]:
    """A comparison as a line of CSV; accuracies in percent, differences in percentage points."""
    difference = comparison.difference
    verdicts = dict(zip(("mean_within", "interval_within"), comparison.verdicts, strict=True))
    numbers = {f"{precision}_percent": mean for precision, mean in comparison.means.items()}
    numbers["difference"] = difference and difference.mean
    numbers |= {word: getattr(difference, word, None) for word in ("sd", "low", "high")}
    return (
        key_columns(protocol, comparison.cell)
        | {"protocol": name, "method": comparison.cell.row.method, "n": difference.n if difference else 0}
        | {word: None if value is None else 100 * value for word, value in numbers.items()}
        | verdicts
        | {"left_out": comparison.left_out, "records": " ".join(entry.name for entry in comparison.entries)}
    )
