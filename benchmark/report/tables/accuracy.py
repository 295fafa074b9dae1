"""The accuracy table: a row per method, a column per pair, mean ± sd over seeds; notes give the reason of failures."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd

from benchmark.report.formatting import count_of, format_percent, join_distinct, run_command
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.records.entries import FAILURES, Entry
from benchmark.report.statistics import indistinguishable_from_best
from benchmark.report.tables.comparisons import by_seed, detectable_sentence
from benchmark.report.tables.table import (
    Note,
    Table,
    TableCell,
    TableLine,
    key_columns,
    percent_level,
    run_counts,
    scoring_sentence,
)

MESSAGE_LENGTH = 160  # characters of an error message in a note; the page's list of failures has all of it


def accuracy_table(protocol: Protocol) -> Table:
    """The table of top-1 accuracy after the last epoch."""
    best, notes = bold_cells(protocol), collect_notes(protocol)
    lines = tuple(
        TableLine(
            row.label, tuple(format_cell(cell, (row, pair) in best, notes) for pair, cell in cells_of(protocol, row))
        )
        for row in protocol.rows
    )
    tidy = pd.DataFrame([tidy_line(protocol, cell, (cell.row, cell.pair) in best) for cell in protocol.cells.values()])
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


def bold_cells(protocol: Protocol) -> set[tuple[Row, Pair]]:
    """The cells not distinguishable from the best of their column, without teachers."""
    bold = set()
    for pair in protocol.pairs:
        column = {cell.row: by_seed(cell) for cell in protocol.student_cells(pair)}
        bold |= {(row, pair) for row in indistinguishable_from_best(column)}
    return bold


# ---- one cell
def format_cell(cell: Cell, bold: bool, notes: dict[tuple[Row, Pair], list[Note]]) -> TableCell:
    """Mean ± sd with n and interval, or the reason why there is no score."""
    numbers = tuple(note.number for note in notes.get((cell.row, cell.pair), ()))
    records, summary = " ".join(cell.records), cell.summary()
    lacking = [f"{count} {state}" for state, count in cell.unscored.items()]
    if cell.exclusion_reason:
        return TableCell(cell.exclusion_reason, records=records)
    if summary is None and cell.reported_top1 is not None:
        return TableCell(format_percent(cell.reported_top1), "n = 1, as its students’ records say; its own is missing")
    if summary is None:
        return TableCell(", ".join(cell.unscored) or empty_reason(cell), notes=numbers, records=records)
    text = format_percent(summary.mean) + (f" ± {format_percent(summary.sd)}" if summary.sd is not None else "")
    stale = sum(entry.stale for entry in cell.scored)
    interval = [f"{format_percent(summary.low)} to {format_percent(summary.high)}"] if summary.low is not None else []
    small_print = [f"n = {summary.n}", *lacking, *([f"{stale} stale"] if stale else []), *interval]
    return TableCell(text, "; ".join(small_print), bold, numbers, records)


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
                seeds = join_distinct(entry.run.seed for entry in entries)
                short = message if len(message) <= MESSAGE_LENGTH else message[: MESSAGE_LENGTH - 1] + "…"
                text = f"{row.label}, {pair.label}, seed {seeds}: {state} ({short}). Run it again:"
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


def repeat_command(cell: Cell, entries: list[Entry]) -> str:
    """The command that runs the entries of a cell again."""
    suite = next((str(entry.provenance("suite")) for entry in entries if entry.provenance("suite")), "SUITE")
    options = next(
        (entry.provenance("options") for entry in entries if isinstance(entry.provenance("options"), list)), None
    )
    if cell.row.kind == "teacher":
        return run_command(suite, cell.pair.name, options=options or ())
    varied = [argument for knob in cell.row.varied for argument in ("--set", f"{cell.row.method}.{knob}")]
    seeds = [entry.run.seed for entry in entries]
    return run_command(suite, cell.pair.name, cell.row.method, seeds, varied if options is None else options)


# ---- caption and CSV
def caption(protocol: Protocol) -> str:
    """The caption: what the numbers are and what bold means."""
    counts = [len(cell.scored) for cell in protocol.cells.values() if cell.scored and cell.row.kind != "teacher"]
    sentences = [
        f"{protocol.label}. {scoring_sentence(protocol)}",
        "Top-1 accuracy in percent after the last epoch; mean ± standard deviation (ddof 1) over seeds, n and the "
        f"{percent_level()} t interval of the mean. With n = 1 there is neither spread nor interval.",
    ]
    if any(row.kind == "teacher" for row in protocol.rows):
        sentences.append("A teacher is trained once: n = 1.")
    if run_counts(protocol) == {1}:
        sentences.append("Nothing is bold: n = 1 is too small, without a spread no method can be told from another.")
    elif counts:
        sentences.append(
            f"Bold: not distinguishable from the best of its column (the {percent_level()} interval of the paired "
            "differences, seed by seed, does not put it lower; Welch’s interval where two rows share fewer than two "
            "seeds; not corrected for the number of methods)."
        )
        sentences.append(detectable_sentence(protocol))
        if 1 in counts:
            sentences.append(
                "With n = 1 nothing can be told: such cells are never bold, nor is any in a column that one leads."
            )
    return " ".join(filter(None, sentences))


def tidy_line(protocol: Protocol, cell: Cell, bold: bool) -> dict[str, object]:
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
            "among_best": bold,
            "stale": sum(entry.stale for entry in cell.scored),
            "lacking": cell.exclusion_reason
            or "; ".join(lacking)
            or ("" if cell.scored or reported else empty_reason(cell)),
            "reason": "; ".join(failures) or ("from its students' records" if reported else ""),
            "records": " ".join(cell.records),
        }
    )
