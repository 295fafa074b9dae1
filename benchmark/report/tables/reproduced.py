"""The table of published numbers beside ours, with difference and verdict; and its summary at the top of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from benchmark.report.formatting import MISSING, count_of, format_interval, format_percent, format_points
from benchmark.report.published import FAIL, NEAR, NEAR_LIMIT, OTHER_PROTOCOL, PASS, PASS_LIMIT, TOO_FEW, PublishedMatch
from benchmark.report.records.cells import Protocol
from benchmark.report.tables.table import (
    Note,
    Table,
    TableCell,
    TableLine,
    key_columns,
    percent_level,
    scoring_sentence,
)

HEADS = ("ours %", "n", "published %", "its ±", "difference", "95 % interval", "verdict", "source")
JUDGED = (PASS, NEAR, FAIL)


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
    """The sentence that counts cells by verdict; a cell counts by its first number with PASS, NEAR or FAIL."""
    cells: dict[tuple, set[str]] = {}
    firsts: dict[tuple, str] = {}
    for match in matches:
        key = (match.cell.pair, match.cell.row, match.cell.records)
        cells.setdefault(key, set()).add(match.verdict)
        if match.verdict in JUDGED:
            firsts.setdefault(key, match.verdict)
    if not cells:
        return "No cell has a published number beside it."
    counts = Counter(firsts.values())
    few = sum(TOO_FEW in verdicts for key, verdicts in cells.items() if key not in firsts)
    rest = len(cells) - len(firsts) - few
    return (
        f"{count_of(len(cells), 'cell')} with a published number: {len(firsts)} reproduced, of them {counts[PASS]} "
        f"{PASS}, {counts[NEAR]} {NEAR}, {counts[FAIL]} {FAIL}; {few} with too small an n, {rest} under a different "
        "protocol."
    )


def caption(protocol: Protocol, matches: Sequence[PublishedMatch]) -> str:
    """The caption: what is compared, and the limits of the verdicts."""
    return (
        f"{protocol.label}. {scoring_sentence(protocol)} {summary(matches)} In italics: numbers quoted from papers, in "
        "percent, top-1; they enter no mean and no comparison. Difference: ours, after the last epoch, minus theirs, "
        f"in percentage points, with the {percent_level()} t interval of ours; theirs is taken as printed, its own "
        f"noise is not in the interval. {PASS}: the interval contains 0, or the difference is at most {PASS_LIMIT:g}; "
        f"{NEAR}: at most {NEAR_LIMIT:g}; {FAIL}: more. {TOO_FEW}: n = 1 has no interval. {OTHER_PROTOCOL}: our "
        "runs were not done as theirs. A cell with several numbers is counted by the first that can be judged."
    )


def line_cells(match: PublishedMatch, numbers: dict[str, int]) -> tuple[TableCell, ...]:
    """The cells of a line, in the order of HEADS."""
    ours, quoted, difference = match.ours, match.quoted, match.difference
    spread = f" ± {format_percent(ours.sd)}" if ours.sd is not None else ""
    note = (numbers[quoted.note],) if quoted.note else ()
    has_verdict = match.verdict in JUDGED
    return (
        TableCell(format_percent(ours.mean) + spread, records=" ".join(match.cell.records)),
        TableCell(str(ours.n)),
        TableCell(quoted.value, quoted=True, notes=note),
        TableCell(quoted.spread, quoted=True) if quoted.spread else TableCell(MISSING),
        TableCell(format_points(difference.mean)),
        TableCell(format_interval(difference.low, difference.high)),
        TableCell(match.verdict, match.reason) if has_verdict else TableCell(f"{match.verdict}: {match.reason}"),
        TableCell(f"{quoted.paper}, {quoted.table}", quoted.confidence),
    )


def tidy_line(protocol: Protocol, match: PublishedMatch) -> dict[str, object]:
    """A match as a line of CSV; accuracies in percent, differences in percentage points."""
    ours, quoted, difference = match.ours, match.quoted, match.difference
    numbers = {"top1_percent": ours.mean, "sd": ours.sd, "difference": difference.mean}
    numbers |= {"low": difference.low, "high": difference.high}
    return (
        key_columns(protocol, match.cell)
        | {name: None if value is None else 100 * value for name, value in numbers.items()}
        | {"published_percent": quoted.value, "published_spread": quoted.spread}
        | {"verdict": match.verdict, "reason": match.reason}
        | {"published_protocol": quoted.protocol, "published_epoch": quoted.epoch, "paper": quoted.paper}
        | {"table": quoted.table, "note": quoted.note, "source": quoted.source, "confidence": quoted.confidence}
        | {"records": " ".join(match.cell.records)}
    )
