"""The table of published numbers beside ours, with difference and verdict; and its summary at the top of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from benchmark.report.formatting import MISSING, count_of, format_interval, format_percent, format_points
from benchmark.report.published import OTHER_PROTOCOL, PublishedMatch
from benchmark.report.records.cells import Cell, Protocol
from benchmark.report.statistics.equivalence import FAIL, INCONCLUSIVE, MARGIN, PASS, TOST_LEVEL
from benchmark.report.tables.table import (
    Note,
    Table,
    TableCell,
    TableLine,
    key_columns,
    scoring_sentence,
)

HEADS = ("ours %", "n", "published %", "its ±", "difference", f"{100 * TOST_LEVEL:g} % interval", "verdict", "source")


def reproduced_table(protocol: Protocol, matches: Sequence[PublishedMatch]) -> Table:
    """The table: a line for each match of a cell with a published number."""
    distinct = dict.fromkeys(match.quoted.note for match in matches if match.quoted.note)
    numbers = {text: index for index, text in enumerate(distinct, 1)}
    return Table(
        name=f"{protocol.slug}-reproduced",
        title=f"Published numbers beside ours · {protocol.label}",
        caption=caption(protocol, matches),
        heads=HEADS,
        lines=tuple(
            TableLine(each.cell.row.label, line_cells(each, numbers), each.cell.pair.label) for each in matches
        ),
        tidy=pd.DataFrame([tidy_line(protocol, each) for each in matches]),
        notes=tuple(Note(index, text) for text, index in numbers.items()),
    )


def summary(matches: Iterable[PublishedMatch]) -> str:
    """The sentence that counts distinct cells by verdict: a teacher or plain student of several pairs is one cell.

    A cell counts by its first number that can be judged.
    """
    firsts: dict[tuple, str] = {}
    for match in sorted(matches, key=lambda match: match.verdict == OTHER_PROTOCOL):
        firsts.setdefault(cell_key(match.cell), match.verdict)
    if not firsts:
        return "No cell has a published number beside it."
    counts = Counter(firsts.values())
    return (
        f"{count_of(len(firsts), 'cell')} with a published number: {counts[PASS]} {PASS}, {counts[FAIL]} {FAIL}, "
        f"{counts[INCONCLUSIVE]} {INCONCLUSIVE}, {counts[OTHER_PROTOCOL]} under a different protocol."
    )


def cell_key(cell: Cell) -> tuple:
    """What makes a cell distinct: its runs; without records of its own, a teacher's id."""
    return (
        (cell.row, tuple(entry.run.id for entry in cell.entries)) if cell.entries else (cell.row, cell.pair.teacher_id)
    )


def caption(protocol: Protocol, matches: Sequence[PublishedMatch]) -> str:
    """The caption: what is compared, and what the verdicts mean."""
    return (
        f"{scoring_sentence(protocol)} {summary(matches)} {PASS}: the {100 * TOST_LEVEL:g} % interval of ours minus "
        f"theirs lies within ± {100 * MARGIN:g} points; {FAIL}: wholly outside. Small print of the interval: where "
        "the spread is from. In italics: quoted, in percent; they enter no mean."
    )


def line_cells(match: PublishedMatch, numbers: dict[str, int]) -> tuple[TableCell, ...]:
    """The cells of a line, in the order of HEADS."""
    ours, quoted, comparison = match.ours, match.quoted, match.comparison
    spread = f" ± {format_percent(ours.sd)}" if ours.sd is not None else ""
    note = (numbers[quoted.note],) if quoted.note else ()
    printed = f"n = {quoted.runs}" if quoted.standard_error else ""
    return (
        TableCell(format_percent(ours.mean) + spread, records=" ".join(match.cell.records)),
        TableCell(str(ours.n)),
        TableCell(quoted.value, quoted=True, notes=note),
        TableCell(quoted.spread, printed, quoted=True) if quoted.spread else TableCell(MISSING),
        TableCell(format_points(comparison.difference)),
        TableCell(format_interval(comparison.low, comparison.high), spread_text(match)),
        TableCell(f"{match.verdict}: {match.reason}" if match.reason else match.verdict),
        TableCell(f"{quoted.paper}, {quoted.table}", quoted.confidence),
    )


def spread_text(match: PublishedMatch) -> str:
    """The standard deviation between seeds behind the interval, with its degrees of freedom and where it is from."""
    spread = match.spread
    shared = f", which count as {match.independent:.1f} independent ones" if match.independent else ""
    return f"sd {format_percent(spread.sd)}, {spread.degrees:.0f} df, of {match.spread_of}{shared}" if spread else ""


def tidy_line(protocol: Protocol, match: PublishedMatch) -> dict[str, object]:
    """A match as a line of CSV; accuracies in percent, differences in percentage points."""
    ours, quoted, comparison = match.ours, match.quoted, match.comparison
    numbers = {"top1_percent": ours.mean, "sd": ours.sd, "difference": comparison.difference}
    numbers |= {"low": comparison.low, "high": comparison.high, "seed_sd": match.spread and match.spread.sd}
    return (
        key_columns(protocol, match.cell)
        | {name: None if value is None else 100 * value for name, value in numbers.items()}
        | {"published_percent": quoted.value, "published_spread": quoted.spread}
        | {"published_runs": quoted.runs, "seed_sd_of": match.spread_of}
        | {"verdict": match.verdict, "reason": match.reason, "seeds_needed": comparison.seeds_needed}
        | {"published_protocol": quoted.protocol, "published_epoch": quoted.epoch, "paper": quoted.paper}
        | {"table": quoted.table, "note": quoted.note, "source": quoted.source, "confidence": quoted.confidence}
        | {"records": " ".join(match.cell.records)}
    )
