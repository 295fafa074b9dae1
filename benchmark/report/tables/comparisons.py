"""Method against method on one pair: differences of runs of the same seed, and what may be said of them.

compare(protocol, right)      every row against every other row but the teacher
comparison_table(...)         as a table: those baselines that are asked for to read, all of them in the CSV
differences(protocol)         the same numbers for a picture: (row, pair, baseline) -> Paired
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.report.formatting import MISSING, format_points
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.statistics import EXACT, Discordant, Paired, detectable, holm, mcnemar, paired, pooled
from benchmark.report.tables.table import Table, TableCell, TableLine, columns_of, percent_level, scoring_sentence

BASELINE = "kd"  # what tables of the field compare with
NO_COMMON_SEEDS = "No two methods have two seeds in common: no difference can be told from chance."
BETTER, WORSE, UNTOLD, FEW = "better", "worse", "cannot be told", "n too small"
HEADS = ("against", "n", "difference", "95 % interval", "sign-flip p", "Holm p", "McNemar p", "verdict")
Right = Callable[[str], NDArray[np.bool_] | None]  # id of a run -> whether it gets each judged image right


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row minus a baseline on one pair, accuracies as fractions."""

    cell: Cell
    baseline: Cell
    paired: Paired | None = None  # None: no seed in common
    holm: float | None = None  # p, adjusted for all rows that are compared with this baseline on this pair
    images: Discordant | None = None  # of the lowest seed in common; None: not kept which images were right

    @property
    def verdict(self) -> str:
        """By the interval, one comparison at a time."""
        if self.paired is None or self.paired.low is None:
            return FEW
        return BETTER if self.paired.low > 0 else WORSE if self.paired.high < 0 else UNTOLD

    @property
    def records(self) -> str:
        """The runs of the seeds in common, on both sides."""
        seeds = self.paired.seeds if self.paired else ()
        entries = (*self.cell.scored, *self.baseline.scored)
        return " ".join(entry.name for entry in entries if entry.run.seed in seeds)


# ---- numbers
def by_seed(cell: Cell) -> dict[int, float]:
    """seed -> top-1 after the last epoch."""
    return {entry.run.seed: entry.score("top1") for entry in cell.scored}


def differences(protocol: Protocol, baseline: Row | None = None) -> dict[tuple[Row, Pair, Row], Paired]:
    """(row, pair, baseline) -> the row minus the baseline; by default with every row as the baseline."""
    found = {}
    for pair in protocol.pairs:
        for other, cell in permutations(protocol.students(pair), 2):
            if baseline in (None, other.row) and (both := paired(by_seed(cell), by_seed(other))):
                found[cell.row, pair, other.row] = both
    return found


def compare(protocol: Protocol, right: Right | None = None) -> list[Comparison]:
    """Every two rows of each pair, both ways; pair by pair, baseline by baseline."""
    known, found = differences(protocol), []
    for pair in protocol.pairs:
        cells = protocol.students(pair)
        for other in cells:
            column = [cell for cell in cells if cell is not other]
            both = [known.get((cell.row, pair, other.row)) for cell in column]
            tested = [one.p for one in both if one and one.p is not None]
            adjusted = iter(holm(tested))
            for cell, one in zip(column, both, strict=True):
                p = next(adjusted) if one and one.p is not None else None
                found.append(Comparison(cell, other, one, p, discordant(cell, other, one, right)))
    return found


def discordant(cell: Cell, other: Cell, both: Paired | None, right: Right | None) -> Discordant | None:
    """McNemar's test on the images, for the lowest seed that both have."""
    if both is None or right is None:
        return None
    runs = [next(entry.run for entry in each.scored if entry.run.seed == both.seeds[0]) for each in (cell, other)]
    first, second = (right(run.id) for run in runs)
    same = first is not None and second is not None and first.shape == second.shape
    return mcnemar(first, second) if same else None


# ---- words
def detectable_sentence(protocol: Protocol) -> str:
    """What these runs could tell apart, in a sentence; "" where no two rows share two seeds."""
    every = [
        both
        for pair in protocol.pairs
        for a, b in combinations(protocol.students(pair), 2)
        if (both := paired(by_seed(a), by_seed(b))) and both.sd is not None
    ]
    sd = pooled(every)
    if sd is None:
        return ""
    sizes = sorted({both.n for both in every})
    each = [f"{100 * detectable(sd, n):.2f} points with n = {n}" for n in sorted({sizes[0], sizes[-1]})]
    return (
        "Minimum detectable difference (two-sided 5 %, found in 80 % of cases, one comparison at a time): "
        f"{', '.join(each)}, from the pooled standard deviation of paired differences, {100 * sd:.2f} points. "
        "Smaller differences mostly go unseen."
    )


def comparison_table(protocol: Protocol, found: Sequence[Comparison], baseline: str = BASELINE) -> Table:
    """Every two rows; in print, against `baseline`, a method or a row's label, and against the plain student."""
    rows = dict.fromkeys(one.baseline.row for one in found)
    usual = [row.label for row in rows if baseline in (row.label, row.method)][:1]
    usual += [row.label for row in rows if row.kind == "student"]
    return Table(
        name=f"{protocol.slug}-comparisons",
        title=f"Differences · {protocol.label}",
        caption=caption(protocol),
        heads=HEADS,
        lines=tuple(TableLine(one.cell.row.label, tuple(format_cells(one)), one.cell.pair.label) for one in found),
        tidy=pd.DataFrame([tidy_line(protocol, one) for one in found]),
        pick=("against", tuple(dict.fromkeys(usual))),
    )


def caption(protocol: Protocol) -> str:
    """How to read the columns, and what the runs could tell."""
    return (
        f"{protocol.label}. {scoring_sentence(protocol)} Top-1 after the last epoch, row minus the row it is held "
        "against, in percentage points, over the seeds that both have: those runs start from the same weights and "
        f"see the same batches. Interval: {percent_level()}, t, of the mean difference; none with n = 1. Sign-flip p: "
        f"exact, all 2^n choices of signs (t test beyond n = {EXACT}); it cannot fall below 2^(1−n), so below n = 6 "
        "it is never under 0.05. Holm p: the same, adjusted for all methods held against that row on that pair. "
        "McNemar p: exact, on the judged images of the two runs of the lowest common seed, with the number of images "
        "right only in the one and only in the other; it is about the noise of the test set, not about that of "
        "training. Verdict: by the interval, one comparison at a time. "
        f"{detectable_sentence(protocol) or NO_COMMON_SEEDS} {MISSING}: n too small; not kept: the runs’ files do not "
        "say which images are right."
    )


def format_cells(one: Comparison) -> Iterator[TableCell]:
    """The cells of a line, in the order of HEADS."""
    both, images = one.paired, one.images
    yield TableCell(one.baseline.row.label)
    yield TableCell(str(both.n if both else 0), "" if both else "no seed in common", records=one.records)
    yield TableCell(format_points(both.mean) if both else MISSING)
    yield TableCell(
        MISSING if both is None or both.low is None else f"{format_points(both.low)} to {format_points(both.high)}"
    )
    yield TableCell(format_p(both and both.p), "t test" if both and both.test == "t" else "")
    yield TableCell(format_p(one.holm))
    counts = f"{images.first} : {images.second} images, seed {both.seeds[0]}" if images else "not kept" if both else ""
    yield TableCell(format_p(images and images.p), counts)
    yield TableCell(one.verdict)


def format_p(p: float | None) -> str:
    """A probability: 0.250, < 0.001."""
    return MISSING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def tidy_line(protocol: Protocol, one: Comparison) -> dict[str, object]:
    """A comparison as a line of CSV; percentage points."""
    both, images, row = one.paired, one.images, one.baseline.row
    inside = {"difference": both.mean, "sd": both.sd, "low": both.low, "high": both.high} if both else {}
    numbers = {name: None if value is None else 100 * value for name, value in inside.items()}
    return (
        columns_of(protocol, one.cell)
        | {"n": both.n if both else 0, "against": row.label, "against_method": row.method}
        | {name: numbers.get(name) for name in ("difference", "sd", "low", "high")}
        | {"p": both and both.p, "test": both.test if both else "", "holm_p": one.holm}
        | {"mcnemar_p": images and images.p, "mcnemar_seed": both.seeds[0] if images else None}
        | {"right_only_here": images and images.first, "right_only_there": images and images.second}
        | {"verdict": one.verdict, "records": one.records}
    )
