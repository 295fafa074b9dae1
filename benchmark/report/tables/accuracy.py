"""The accuracy table: methods by pairs, mean ± sd over seeds, and why a cell is empty."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd

from benchmark.report.formatting import count_of, format_percent, join_distinct, run_command
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.records.entries import FAILURES, Entry
from benchmark.report.statistics import leaders
from benchmark.report.tables.comparisons import by_seed, detectable_sentence
from benchmark.report.tables.table import (
    Note,
    Table,
    TableCell,
    TableLine,
    columns_of,
    percent_level,
    scoring_sentence,
    sizes_of,
)

MESSAGE = 160  # letters of an error that a note quotes; the list of failures has all of it


def accuracy_table(protocol: Protocol) -> Table:
    """Top-1 accuracy after the last epoch."""
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
    """A row's cells from left to right."""
    return [(pair, protocol.cells[row, pair]) for pair in protocol.pairs]


def bold_cells(protocol: Protocol) -> set[tuple[Row, Pair]]:
    """The cells that cannot be told from the best of their column, teachers apart."""
    found = set()
    for pair in protocol.pairs:
        found |= {(row, pair) for row in leaders({cell.row: by_seed(cell) for cell in protocol.students(pair)})}
    return found


# ---- one cell
def format_cell(cell: Cell, bold: bool, notes: dict[tuple[Row, Pair], list[Note]]) -> TableCell:
    """Mean ± sd, n and interval; or why there is none."""
    numbers = tuple(note.number for note in notes.get((cell.row, cell.pair), ()))
    records, summary = " ".join(cell.records), cell.summary()
    lacking = [f"{count} {state}" for state, count in cell.lacking.items()]
    if cell.refusal:
        return TableCell(cell.refusal, records=records)
    if summary is None and cell.reported_top1 is not None:
        return TableCell(format_percent(cell.reported_top1), "n = 1, as its students’ records say; its own is missing")
    if summary is None:
        return TableCell(", ".join(cell.lacking) or empty_reason(cell), notes=numbers, records=records)
    text = format_percent(summary.mean) + (f" ± {format_percent(summary.sd)}" if summary.sd is not None else "")
    old = sum(entry.stale for entry in cell.scored)
    inside = [f"{format_percent(summary.low)} to {format_percent(summary.high)}"] if summary.low is not None else []
    under = [f"n = {summary.n}", *lacking, *([f"{old} stale"] if old else []), *inside]
    return TableCell(text, "; ".join(under), bold, numbers, records)


def empty_reason(cell: Cell) -> str:
    """The reason of a cell that has no runs at all."""
    return "record missing" if cell.row.kind == "teacher" else "not run"


def collect_notes(protocol: Protocol) -> dict[tuple[Row, Pair], list[Note]]:
    """Cell -> a note for each reason why runs of it failed, numbered through the table."""
    found: dict[tuple[Row, Pair], list[Note]] = defaultdict(list)
    count = 0
    for row in protocol.rows:
        for pair, cell in cells_of(protocol, row):
            for (state, message), entries in reasons(cell).items():
                count += 1
                seeds = join_distinct(entry.run.seed for entry in entries)
                short = message if len(message) <= MESSAGE else message[: MESSAGE - 1] + "…"
                text = f"{row.label}, {pair.label}, seed {seeds}: {state} ({short}). Run it again:"
                found[row, pair].append(Note(count, text, repeat_command(cell, entries)))
    holes = {place: cell for place, cell in protocol.cells.items() if any(e.record is None for e in cell.entries)}
    for place in holes:
        found[place].append(pending_note(protocol, list(holes.values()), count + 1))
    return found


def pending_note(protocol: Protocol, cells: list[Cell], number: int) -> Note:
    """What is planned and has no record yet, and the command that goes on with it."""
    count = len({entry.run.id for cell in cells for entry in cell.entries if entry.record is None})
    suite = next((str(entry.provenance("suite")) for entry in protocol.entries if entry.provenance("suite")), "SUITE")
    return Note(
        number, f"{count_of(count, 'run')} of this table planned and not run yet. Go on:", run_command(suite, "")
    )


def reasons(cell: Cell) -> dict[tuple[str, str], list[Entry]]:
    """(state, message) -> the runs that it stopped."""
    found: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in cell.entries:
        if entry.state in FAILURES:
            found[entry.state, entry.message].append(entry)
    return dict(sorted(found.items()))


def repeat_command(cell: Cell, entries: list[Entry]) -> str:
    """The command that runs the cell's entries again."""
    suite = next((str(entry.provenance("suite")) for entry in entries if entry.provenance("suite")), "SUITE")
    said = next(
        (entry.provenance("options") for entry in entries if isinstance(entry.provenance("options"), list)), None
    )
    if cell.row.kind == "teacher":
        return run_command(suite, cell.pair.name, options=said or ())
    varied = [word for knob in cell.row.varied for word in ("--set", f"{cell.row.method}.{knob}")]
    seeds = [entry.run.seed for entry in entries]
    return run_command(suite, cell.pair.name, cell.row.method, seeds, varied if said is None else said)


# ---- around the cells
def caption(protocol: Protocol) -> str:
    """What the numbers are, and what bold may be read as."""
    counts = [len(cell.scored) for cell in protocol.cells.values() if cell.scored and cell.row.kind != "teacher"]
    sentences = [
        f"{protocol.label}. {scoring_sentence(protocol)}",
        "Top-1 accuracy in percent after the last epoch; mean ± standard deviation (ddof 1) over seeds, n and the "
        f"{percent_level()} t interval of the mean. With n = 1 there is neither spread nor interval.",
    ]
    if any(row.kind == "teacher" for row in protocol.rows):
        sentences.append("A teacher is trained once: n = 1.")
    if sizes_of(protocol) == {1}:
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
    """A cell as a line of CSV; percent and points."""
    summary = cell.summary()
    sizes = (
        {"top1_percent": summary.mean, "sd": summary.sd, "low": summary.low, "high": summary.high} if summary else {}
    )
    reported = {"top1_percent": cell.reported_top1} if cell.reported_top1 is not None else {}
    numbers = {name: 100 * value for name, value in (sizes | reported).items() if value is not None}
    lacking = [f"{count} {state}" for state, count in cell.lacking.items()]
    why = [f"{state}: {message}" for state, message in reasons(cell)]
    return (
        columns_of(protocol, cell)
        | {name: numbers.get(name) for name in ("top1_percent", "sd", "low", "high")}
        | {
            "among_best": bold,
            "stale": sum(entry.stale for entry in cell.scored),
            "lacking": cell.refusal or "; ".join(lacking) or ("" if cell.scored or reported else empty_reason(cell)),
            "reason": "; ".join(why) or ("told by its students' records" if reported else ""),
            "records": " ".join(cell.records),
        }
    )
