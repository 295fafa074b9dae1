"""The accuracy table: a row per method, a column per pair, mean ± sd over seeds; notes give the reason of failures."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd

from benchmark.report.formatting import count_of, format_percent, run_command
from benchmark.report.records.by_pair import by_pair_sentences, values_by_pair
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.records.entries import FAILURES, Entry
from benchmark.report.statistics.families import best_rows
from benchmark.report.tables.comparisons import detectable_sentence, fallback_sentence
from benchmark.report.tables.precision_runs import computed_in
from benchmark.report.tables.rerun import repeat_command, seeds_text
from benchmark.report.tables.table import (
    TIED,
    Note,
    Table,
    TableCell,
    TableLine,
    key_columns,
    percent_level,
    run_counts,
    scoring_sentence,
    several_teachers,
    teachers_phrase,
)

MESSAGE_LENGTH = 160  # characters of an error message in a note; the page's list of failures has all of it
SEVERAL_TEACHERS = (
    "Teachers of a pair differ in their seed alone. sd: of all runs of the cell; interval: as wide as other teachers "
    "and seeds would move the mean."
)
BEST, NOT_TOLD = "best mean", "not told from the best"  # standing of a cell in its column


def accuracy_table(protocol: Protocol) -> Table:
    """The table of top-1 accuracy after the last epoch."""
    standings, notes = column_standings(protocol), collect_notes(protocol)
    lines = tuple(
        TableLine(
            row.label,
            tuple(format_cell(cell, standings.get((row, pair), ""), notes) for pair, cell in cells_of(protocol, row)),
        )
        for row in protocol.rows
    )
    tidy = pd.DataFrame(
        [tidy_line(protocol, cell, standings.get((cell.row, cell.pair), "")) for cell in protocol.cells.values()]
    )
    return Table(
        name=f"{protocol.slug}-accuracy",
        title=f"Accuracy · {protocol.label}",
        caption=caption(protocol),
        heads=tuple(pair.label for pair in protocol.pairs),
        lines=lines,
        tidy=tidy,
        notes=tuple(dict.fromkeys(note for group in notes.values() for note in group)),
    )


def cells_of(protocol: Protocol, row: Row) -> list[tuple[Pair, Cell]]:
    """The cells of a row, with their pairs, from left to right."""
    return [(pair, protocol.cells[row, pair]) for pair in protocol.pairs]


def column_standings(protocol: Protocol) -> dict[tuple[Row, Pair], str]:
    """(Row, pair) -> BEST or NOT_TOLD, by Hsu's comparisons with the best; without teachers and all other cells."""
    standings = {}
    for pair, model in protocol.models.items():
        best, others = best_rows(model)
        standings |= {(row, pair): NOT_TOLD for row in others} | ({(best, pair): BEST} if best else {})
    return standings


# ---- one cell
def format_cell(cell: Cell, standing: str, notes: dict[tuple[Row, Pair], list[Note]]) -> TableCell:
    """Mean ± sd with n and interval, or the reason why there is no score."""
    numbers = tuple(note.number for note in notes.get((cell.row, cell.pair), ()))
    records, summary = " ".join(cell.records), cell.summary()
    lacking = [f"{count} {state}" for state, count in cell.unscored.items()]
    if cell.exclusion_reason:
        return TableCell(cell.exclusion_reason, records=records)
    if summary is None and cell.reported_top1 is not None:
        count = len(cell.teacher_scores)
        return TableCell(
            format_percent(cell.reported_top1), f"n = {count}, as its students’ records say; its own is missing"
        )
    if summary is None:
        return TableCell(", ".join(cell.unscored) or empty_reason(cell), notes=numbers, records=records)
    text = format_percent(summary.mean) + (f" ± {format_percent(summary.sd)}" if summary.sd is not None else "")
    stale = sum(entry.stale for entry in cell.scored)
    interval = [f"{format_percent(summary.low)} to {format_percent(summary.high)}"] if summary.low is not None else []
    computed = [f"kept file, in {cell.computed_in}"] if cell.computed_in else []
    teachers = [count_of(cell.teacher_count, "teacher")] if cell.crossed else []
    small_print = [
        f"n = {summary.n}",
        *(f"{knob} {value}" for knob, value in values_by_pair(cell).items()),
        *teachers,
        *computed,
        *lacking,
        *([f"{stale} stale"] if stale else []),
        *interval,
    ]
    small = "; ".join(small_print)
    return TableCell(text, small, standing == BEST, numbers, records, mark=TIED * (standing == NOT_TOLD))


def empty_reason(cell: Cell) -> str:
    """The reason in a cell without any runs."""
    return "record missing" if cell.row.kind == "teacher" else "not run"


def collect_notes(protocol: Protocol) -> dict[tuple[Row, Pair], list[Note]]:
    """(Row, pair) -> a note for each reason why runs failed, and one for planned runs; numbered through the table."""
    notes: dict[tuple[Row, Pair], list[Note]] = defaultdict(list)
    count = 0
    for row in protocol.rows:
        for pair, cell in cells_of(protocol, row):
            for (state, message), entries in failure_reasons(cell).items():
                count += 1
                short = message if len(message) <= MESSAGE_LENGTH else message[: MESSAGE_LENGTH - 1] + "…"
                text = f"{row.label}, {pair.label}, {seeds_text(cell, entries)}: {state} ({short}). Run it again:"
                notes[row, pair].append(Note(count, text, repeat_command(cell, entries)))
    planned = {key: cell for key, cell in protocol.cells.items() if any(e.record is None for e in cell.entries)}
    for key in planned:
        notes[key].append(pending_note(protocol, list(planned.values()), count + 1))
    return notes


def pending_note(protocol: Protocol, cells: list[Cell], number: int) -> Note:
    """The number of planned runs without a record, and the command that runs them."""
    count = len({entry.run.id for cell in cells for entry in cell.entries if entry.record is None})
    suite = next((str(entry.provenance("suite")) for entry in protocol.entries if entry.provenance("suite")), "SUITE")
    return Note(
        number, f"{count_of(count, 'run')} of this table planned and not run yet. Go on:", run_command(suite, "")
    )


def failure_reasons(cell: Cell) -> dict[tuple[str, str], list[Entry]]:
    """(State, message) -> the runs that failed so."""
    by_reason: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in cell.entries:
        if entry.state in FAILURES:
            by_reason[entry.state, entry.message].append(entry)
    return dict(sorted(by_reason.items()))


# ---- caption and CSV
def caption(protocol: Protocol) -> str:
    """The caption: what the numbers are, what bold and the mark mean, and what could have been told apart."""
    sentences = [
        f"{scoring_sentence(protocol)} Top-1 in percent, last epoch: mean ± sd; {percent_level()} "
        f"interval, {teachers_phrase(protocol)}."
    ]
    if several_teachers(protocol):
        sentences.append(SEVERAL_TEACHERS)
    if any(model.residual for model in protocol.models.values()):
        sentences.append(f"Bold: best mean; {TIED}: not told from it by one-sided limits (Hsu).")
        sentences += [detectable_sentence(protocol), fallback_sentence(protocol)]
    elif run_counts(protocol):
        sentences.append("Nothing is bold: n = 1 is too small to tell methods apart.")
    sentences += [*by_pair_sentences(protocol), *computed_in(protocol), *attempts_sentence(protocol)]
    return " ".join(filter(None, sentences))


def attempts_sentence(protocol: Protocol) -> list[str]:
    """The sentence that counts runs with several attempts; none where every run has one."""
    count = sum(bool(entry.attempts) for entry in protocol.entries)
    if not count:
        return []
    verb = "was" if count == 1 else "were"
    return [f"{count_of(count, 'run')} {verb} attempted several times; the first done with the newest code counts."]


def tidy_line(protocol: Protocol, cell: Cell, standing: str) -> dict[str, object]:
    """A cell as a line of CSV; accuracies in percent, sd in percentage points."""
    summary = cell.summary()
    fractions = (
        {"top1_percent": summary.mean, "sd": summary.sd, "low": summary.low, "high": summary.high} if summary else {}
    )
    reported = {"top1_percent": cell.reported_top1} if cell.reported_top1 is not None else {}
    numbers = {name: 100 * value for name, value in (fractions | reported).items() if value is not None}
    lacking = [f"{count} {state}" for state, count in cell.unscored.items()]
    failures = [f"{state}: {message}" for state, message in failure_reasons(cell)]
    return (
        key_columns(protocol, cell)
        | {name: numbers.get(name) for name in ("top1_percent", "sd", "low", "high")}
        | {
            "standing": standing,
            "stale": sum(entry.stale for entry in cell.scored),
            "lacking": cell.exclusion_reason
            or "; ".join(lacking)
            or ("" if cell.scored or reported else empty_reason(cell)),
            "reason": "; ".join(failures) or ("from its students' records" if reported else ""),
            "records": " ".join(cell.records),
        }
        | ({"teachers": cell.teacher_count} if several_teachers(protocol) else {})
    )
