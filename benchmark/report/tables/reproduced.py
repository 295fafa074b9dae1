"""The table of reproduced numbers: ours, theirs in italics, the difference, a verdict; and the sentence on top."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from benchmark.report.formatting import MISSING, count_of, format_percent, format_points
from benchmark.report.published import FAIL, FEW, NEAR, NEARS, OTHER, PASS, PASSES, PublishedMatch
from benchmark.report.records.cells import Protocol
from benchmark.report.tables.table import Note, Table, TableCell, TableLine, columns_of, percent_level, scoring_sentence

HEADS = ("ours %", "n", "published %", "its ±", "difference", "95 % interval", "verdict", "source")
JUDGED = (PASS, NEAR, FAIL)


def reproduced_table(protocol: Protocol, found: Sequence[PublishedMatch]) -> Table:
    """Every cell of a protocol that a paper prints a number for, once per number."""
    texts = dict.fromkeys(one.quoted.note for one in found if one.quoted.note)
    numbers = {text: place for place, text in enumerate(texts, 1)}
    return Table(
        name=f"{protocol.slug}-reproduced",
        title=f"Published numbers beside ours · {protocol.label}",
        caption=caption(protocol, found),
        heads=HEADS,
        lines=tuple(TableLine(one.cell.row.label, format_cells(one, numbers), one.cell.pair.label) for one in found),
        tidy=pd.DataFrame([tidy_line(protocol, one) for one in found]),
        notes=tuple(Note(place, text) for text, place in numbers.items()),
    )


def summary(found: Iterable[PublishedMatch]) -> str:
    """How many cells have been reproduced, how many of them passed; each by the first number that can be judged."""
    cells: dict[tuple, set[str]] = {}
    firsts: dict[tuple, str] = {}
    for one in found:
        key = (one.cell.pair, one.cell.row, one.cell.records)
        cells.setdefault(key, set()).add(one.verdict)
        if one.verdict in JUDGED:
            firsts.setdefault(key, one.verdict)
    if not cells:
        return "No cell has a published number beside it."
    counts = Counter(firsts.values())
    few = sum(FEW in verdicts for key, verdicts in cells.items() if key not in firsts)
    rest = len(cells) - len(firsts) - few
    return (
        f"{count_of(len(cells), 'cell')} with a published number: {len(firsts)} reproduced, of them {counts[PASS]} "
        f"{PASS}, {counts[NEAR]} {NEAR}, {counts[FAIL]} {FAIL}; {few} with too small an n, {rest} under a different "
        "protocol."
    )


def caption(protocol: Protocol, found: Sequence[PublishedMatch]) -> str:
    """What is held against what, and the bounds of the verdicts."""
    return (
        f"{protocol.label}. {scoring_sentence(protocol)} {summary(found)} In italics: numbers quoted from papers, in "
        "percent, top-1; they enter no mean and no comparison. Difference: ours, after the last epoch, minus theirs, "
        f"in percentage points, with the {percent_level()} t interval of ours; theirs is taken as printed, its own "
        f"noise is not in the interval. {PASS}: the interval contains 0, or the difference is at most {PASSES:g}; "
        f"{NEAR}: at most {NEARS:g}; {FAIL}: more. {FEW}: n = 1 has no interval. {OTHER}: our runs were not done as "
        "theirs. A cell with several numbers is counted by the first that can be judged."
    )


def format_cells(one: PublishedMatch, numbers: dict[str, int]) -> tuple[TableCell, ...]:
    """The cells of a line, in the order of HEADS."""
    ours, quoted, difference = one.ours, one.quoted, one.difference
    spread = f" ± {format_percent(ours.sd)}" if ours.sd is not None else ""
    inside = (
        MISSING if difference.low is None else f"{format_points(difference.low)} to {format_points(difference.high)}"
    )
    note = (numbers[quoted.note],) if quoted.note else ()
    judged = one.verdict in JUDGED
    return (
        TableCell(format_percent(ours.mean) + spread, records=" ".join(one.cell.records)),
        TableCell(str(ours.n)),
        TableCell(quoted.value, quoted=True, notes=note),
        TableCell(quoted.spread, quoted=True) if quoted.spread else TableCell(MISSING),
        TableCell(format_points(difference.mean)),
        TableCell(inside),
        TableCell(one.verdict, one.reason) if judged else TableCell(f"{one.verdict}: {one.reason}"),
        TableCell(f"{quoted.paper}, {quoted.table}", quoted.confidence),
    )


def tidy_line(protocol: Protocol, one: PublishedMatch) -> dict[str, object]:
    """A line of CSV; percent and points."""
    ours, quoted, difference = one.ours, one.quoted, one.difference
    numbers = {"top1_percent": ours.mean, "sd": ours.sd, "difference": difference.mean}
    numbers |= {"low": difference.low, "high": difference.high}
    return (
        columns_of(protocol, one.cell)
        | {name: None if value is None else 100 * value for name, value in numbers.items()}
        | {"published_percent": quoted.value, "published_spread": quoted.spread}
        | {"verdict": one.verdict, "reason": one.reason}
        | {"published_protocol": quoted.protocol, "published_epoch": quoted.epoch, "paper": quoted.paper}
        | {"table": quoted.table, "note": quoted.note, "source": quoted.source, "confidence": quoted.confidence}
        | {"records": " ".join(one.cell.records)}
    )
