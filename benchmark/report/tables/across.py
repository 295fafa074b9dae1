"""The table across pairs of networks: means, ranks with their tests, interquartile mean, probability of improvement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmark.report.formatting import MISSING, format_interval, format_percent, format_points
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics.across import (
    MIN_PAIRS,
    MIN_RUNS,
    Interval,
    Ranks,
    interquartile_mean,
    mean_difference,
    probability_of_improvement,
    rank_rows,
)
from benchmark.report.statistics.summary import rounded
from benchmark.report.tables.comparison_table import format_p
from benchmark.report.tables.comparisons import BASELINE
from benchmark.report.tables.table import Table, TableCell, TableLine, percent_level, scoring_sentence

DIFFERENCES = ("over_baseline", "over_plain")  # names of a row's numbers


@dataclass(frozen=True)
class Overview:
    """The rows that have a score on every pair, and their ranks."""

    pairs: tuple[Pair, ...]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]  # labels of the rows without a score on some pair
    ranks: Ranks
    means: dict[Row, float]  # over pairs, fractions


def overview(protocol: Protocol) -> Overview | None:
    """The overview of a protocol; None unless two rows have scores on the same two pairs or more."""
    pairs = tuple(pair for pair in protocol.pairs if protocol.student_cells(pair))
    candidates = [row for row in protocol.rows if row.kind != "teacher"]
    rows = tuple(row for row in candidates if all(protocol.cells[row, pair].scored for pair in pairs))
    if len(pairs) < 2 or len(rows) < 2:
        return None
    means = np.array([[protocol.cells[row, pair].summary().mean for row in rows] for pair in pairs])  # (N, K)
    left_out = tuple(row.label for row in candidates if row not in rows)
    return Overview(pairs, rows, left_out, rank_rows(means), dict(zip(rows, means.mean(0).tolist(), strict=True)))


def across_table(protocol: Protocol, baseline: str = BASELINE) -> Table | None:
    """The table; None where there are no two pairs to average over."""
    found = overview(protocol)
    if found is None:
        return None
    base = protocol.baseline_row(baseline)
    plain = next((row for row in found.rows if row.kind == "student"), None)
    references = {name: row for name, row in zip(DIFFERENCES, (base, plain), strict=True) if row}
    if base == plain:
        references.pop(DIFFERENCES[0], None)
    lines = [row_numbers(protocol, found, row, base, plain) for row in found.rows]
    return Table(
        name=f"{protocol.slug}-across",
        title=f"Across pairs · {protocol.label}",
        caption=caption(protocol, found),
        heads=heads(list(references.values()), base),
        lines=tuple(
            TableLine(r.label, line_cells(line, references)) for r, line in zip(found.rows, lines, strict=True)
        ),
        tidy=pd.DataFrame([tidy_line(protocol, found, *each) for each in zip(found.rows, lines, strict=True)]),
    )


def heads(references: Sequence[Row], base: Row | None) -> tuple[str, ...]:
    """The headers; references: the rows that each row's mean is compared with."""
    better = f"P(better than {base.label})" if base else "P(better)"
    return ("mean %", "average rank", "wins", *(f"minus {row.label}" for row in references), "IQM of gains", better)


def row_numbers(
    protocol: Protocol, found: Overview, row: Row, base: Row | None, plain: Row | None
) -> dict[str, float | Interval | None]:
    """A row's numbers by name; accuracies as fractions."""
    place, others = found.rows.index(row), [each for each in found.rows if each != row]
    values = {each: [list(protocol.cells[each, pair].by_seed.values()) for pair in found.pairs] for each in found.rows}
    return {
        "mean": found.means[row],
        "rank": float(found.ranks.averages[place]),
        "wins": int(found.ranks.wins[place]),
        "over_baseline": mean_difference(differences(protocol, found, row, base)) if base in others else None,
        "over_plain": mean_difference(differences(protocol, found, row, plain)) if plain in others else None,
        "iqm": interquartile_mean(gains(protocol, found, row, plain)) if plain in others else None,
        "better": probability_of_improvement(values[row], values[base]) if base in others else None,
    }


def differences(protocol: Protocol, found: Overview, row: Row, other: Row) -> list[float]:
    """By pair, the row's mean minus the other's."""
    means = [[protocol.cells[each, pair].summary().mean for each in (row, other)] for pair in found.pairs]
    return [rounded(own - base) for own, base in means]


def gains(protocol: Protocol, found: Overview, row: Row, plain: Row) -> list[list[float]]:
    """By pair, the row minus the plain student over the seeds that both have."""
    strata = []
    for pair in found.pairs:
        own, other = protocol.cells[row, pair].by_seed, protocol.cells[plain, pair].by_seed
        strata.append([own[seed] - other[seed] for seed in sorted(own.keys() & other.keys())])
    return strata


def caption(protocol: Protocol, found: Overview) -> str:
    """The caption: what was averaged, the tests of the ranks, and what was left out."""
    ranks = found.ranks
    left_out = f" Left out, without a score on some pair: {', '.join(found.left_out)}." if found.left_out else ""
    return (
        f"{scoring_sentence(protocol)} {len(found.pairs)} pairs, which share networks, so fewer independent cases. "
        f"Rank 1 is best; Friedman p {format_p(ranks.friedman_p)}; ranks within {ranks.critical_difference:.2f} are "
        f"not told apart (Nemenyi). Minus: {percent_level()} t interval over pairs, from {MIN_PAIRS} on, each row by "
        "itself, as if pairs were drawn at random; too narrow where their results depend on each other, as through a "
        "shared network. IQM: middle half of the gains over the plain student; its interval and that of P: bootstrap "
        f"of runs, where each cell has {MIN_RUNS} seeds.{left_out}"
    )


def line_cells(numbers: dict[str, float | Interval | None], references: Iterable[str]) -> tuple[TableCell, ...]:
    """The cells of a line, in the order of `heads`; references: names of the differences that are shown."""
    iqm, better = numbers["iqm"], numbers["better"]
    return (
        TableCell(format_percent(numbers["mean"])),
        TableCell(f"{numbers['rank']:.2f}"),
        TableCell(str(numbers["wins"])),
        *(points_cell(numbers[name]) for name in references),
        points_cell(iqm),
        TableCell(f"{better[0]:.2f}", "" if better[1] is None else f"{better[1]:.2f} to {better[2]:.2f}")
        if better else TableCell(MISSING),
    )  # fmt: skip


def points_cell(interval: Interval | None) -> TableCell:
    """A difference in points, with its interval where there is one."""
    if interval is None:
        return TableCell(MISSING)
    estimate, *limits = interval
    return TableCell(format_points(estimate), "" if None in limits else format_interval(*limits))


def tidy_line(
    protocol: Protocol, found: Overview, row: Row, numbers: dict[str, float | Interval | None]
) -> dict[str, object]:
    """A row as a line of CSV; accuracies in percent, differences in points, probabilities as fractions."""
    terms = dict(protocol.terms)
    entries = [entry for pair in found.pairs for entry in protocol.cells[row, pair].scored]
    points = {"top1_percent": numbers["mean"]}
    for name in (*DIFFERENCES, "iqm"):
        points |= interval_columns(name, numbers[name])
    return (
        {"protocol": protocol.label, "dataset": terms["dataset"], "judge": terms["judge"], "row": row.label}
        | {"method": row.method, "knobs": row.knobs, "n": len(entries), "pairs": len(found.pairs)}
        | {name: None if value is None else 100 * value for name, value in points.items()}
        | {"average_rank": numbers["rank"], "wins": numbers["wins"]}
        | interval_columns("better", numbers["better"])
        | {"records": " ".join(dict.fromkeys(entry.name for entry in entries))}
    )


def interval_columns(name: str, interval: Interval | None) -> dict[str, float | None]:
    """The columns of an estimate and its limits."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval or (None,) * 3, strict=True))
