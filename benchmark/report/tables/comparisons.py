"""Compare the methods of a pair: differences between runs of the same seed, their intervals and tests.

compare_rows(protocol, correct)     every row minus every other row, without teachers
comparison_table(...)               the comparisons as a table: print has the usual baselines, the CSV all of them
paired_differences(protocol)        the differences alone, for figures: (row, pair, baseline) -> Paired
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.report.formatting import MISSING, format_interval, format_points
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.statistics import (
    MAX_EXACT,
    Discordant,
    Paired,
    holm,
    mcnemar,
    minimum_detectable_difference,
    paired_difference,
    pooled_sd,
)
from benchmark.report.tables.table import Table, TableCell, TableLine, key_columns, percent_level, scoring_sentence

BASELINE = "kd"  # the baseline unless another one is named
NO_COMMON_SEEDS = "No two methods have two seeds in common: no difference can be told from chance."
BETTER, WORSE, INCONCLUSIVE, TOO_FEW = "better", "worse", "cannot be told", "n too small"
HEADS = ("against", "n", "difference", "95 % interval", "sign-flip p", "Holm p", "McNemar p", "verdict")
Correctness = Callable[
    [str], NDArray[np.bool_] | None
]  # id of a run -> (N,) whether it classifies each judged image correctly


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a row with a baseline on one pair; accuracies as fractions."""

    cell: Cell
    baseline: Cell
    paired: Paired | None = None  # row minus baseline; None: no seed in common
    holm: float | None = None  # p adjusted for all rows compared with this baseline on this pair
    images: Discordant | None = None  # of the lowest seed in common; None: predictions not kept

    @property
    def verdict(self) -> str:
        """The verdict by the interval, without correction for multiple comparisons."""
        if self.paired is None or self.paired.low is None:
            return TOO_FEW
        return BETTER if self.paired.low > 0 else WORSE if self.paired.high < 0 else INCONCLUSIVE

    @property
    def records(self) -> str:
        """The names of the records of both rows for the seeds in common."""
        seeds = self.paired.seeds if self.paired else ()
        entries = (*self.cell.scored, *self.baseline.scored)
        return " ".join(entry.name for entry in entries if entry.run.seed in seeds)


# ---- numbers
def by_seed(cell: Cell) -> dict[int, float]:
    """Seed -> top-1 after the last epoch, a fraction."""
    return {entry.run.seed: entry.score("top1") for entry in cell.scored}


def paired_differences(protocol: Protocol, baseline: Row | None = None) -> dict[tuple[Row, Pair, Row], Paired]:
    """(Row, pair, baseline) -> the row minus the baseline; by default with every row as the baseline."""
    differences = {}
    for pair in protocol.pairs:
        for other, cell in permutations(protocol.student_cells(pair), 2):
            if baseline in (None, other.row) and (paired := paired_difference(by_seed(cell), by_seed(other))):
                differences[cell.row, pair, other.row] = paired
    return differences


def compare_rows(protocol: Protocol, correct: Correctness | None = None) -> list[Comparison]:
    """All ordered pairs of rows on each pair of networks, pair by pair and baseline by baseline."""
    differences, comparisons = paired_differences(protocol), []
    for pair in protocol.pairs:
        cells = protocol.student_cells(pair)
        for baseline in cells:
            column = [cell for cell in cells if cell is not baseline]
            column_differences = [differences.get((cell.row, pair, baseline.row)) for cell in column]
            adjusted = iter(holm([paired.p for paired in column_differences if paired and paired.p is not None]))
            for cell, paired in zip(column, column_differences, strict=True):
                p = next(adjusted) if paired and paired.p is not None else None
                images = discordant_images(cell, baseline, paired, correct)
                comparisons.append(Comparison(cell, baseline, paired, p, images))
    return comparisons


def discordant_images(
    cell: Cell, baseline: Cell, paired: Paired | None, correct: Correctness | None
) -> Discordant | None:
    """McNemar's test on the judged images for the lowest common seed; None without predictions of the same images."""
    if paired is None or correct is None:
        return None
    runs = [next(entry.run for entry in side.scored if entry.run.seed == paired.seeds[0]) for side in (cell, baseline)]
    first, second = (correct(run.id) for run in runs)
    comparable = first is not None and second is not None and first.shape == second.shape
    return mcnemar(first, second) if comparable else None


# ---- the table
def detectable_sentence(protocol: Protocol) -> str:
    """The sentence on the minimum detectable difference; "" where no two rows share two seeds."""
    differences = [
        paired
        for pair in protocol.pairs
        for a, b in combinations(protocol.student_cells(pair), 2)
        if (paired := paired_difference(by_seed(a), by_seed(b))) and paired.sd is not None
    ]
    sd = pooled_sd(differences)
    if sd is None:
        return ""
    counts = sorted({paired.n for paired in differences})
    sentences = [
        f"{100 * minimum_detectable_difference(sd, n):.2f} points with n = {n}" for n in sorted({counts[0], counts[-1]})
    ]
    return (
        "Minimum detectable difference (two-sided 5 %, found in 80 % of cases, one comparison at a time): "
        f"{', '.join(sentences)}, from the pooled standard deviation of paired differences, {100 * sd:.2f} points. "
        "Smaller differences mostly go unseen."
    )


def comparison_table(protocol: Protocol, comparisons: Sequence[Comparison], baseline: str = BASELINE) -> Table:
    """The table of all comparisons; print has those with `baseline` (method or label) and the plain student."""
    rows = dict.fromkeys(each.baseline.row for each in comparisons)
    baselines = [row.label for row in rows if baseline in (row.label, row.method)][:1]
    baselines += [row.label for row in rows if row.kind == "student"]
    return Table(
        name=f"{protocol.slug}-comparisons",
        title=f"Differences · {protocol.label}",
        caption=caption(protocol),
        heads=HEADS,
        lines=tuple(
            TableLine(each.cell.row.label, tuple(line_cells(each)), each.cell.pair.label) for each in comparisons
        ),
        tidy=pd.DataFrame([tidy_line(protocol, each) for each in comparisons]),
        selector=("against", tuple(dict.fromkeys(baselines))),
    )


def caption(protocol: Protocol) -> str:
    """The caption: how to read the columns, and the minimum detectable difference."""
    return (
        f"{protocol.label}. {scoring_sentence(protocol)} Top-1 after the last epoch, row minus the row it is held "
        "against, in percentage points, over the seeds that both have: those runs start from the same weights and "
        f"see the same batches. Interval: {percent_level()}, t, of the mean difference; none with n = 1. Sign-flip p: "
        f"exact, all 2^n choices of signs (t test beyond n = {MAX_EXACT}); it cannot fall below 2^(1−n), so below "
        "n = 6 it is never under 0.05. Holm p: the same, adjusted for all methods held against that row on that pair. "
        "McNemar p: exact, on the judged images of the two runs of the lowest common seed, with the number of images "
        "right only in the one and only in the other; it is about the noise of the test set, not about that of "
        "training. Verdict: by the interval, one comparison at a time. "
        f"{detectable_sentence(protocol) or NO_COMMON_SEEDS} {MISSING}: n too small; not kept: the runs’ files do not "
        "say which images are right."
    )


def line_cells(comparison: Comparison) -> Iterator[TableCell]:
    """The cells of a line, in the order of HEADS."""
    paired, images = comparison.paired, comparison.images
    yield TableCell(comparison.baseline.row.label)
    yield TableCell(str(paired.n if paired else 0), "" if paired else "no seed in common", records=comparison.records)
    yield TableCell(format_points(paired.mean) if paired else MISSING)
    yield TableCell(format_interval(paired.low, paired.high) if paired else MISSING)
    yield TableCell(format_p(paired and paired.p), "t test" if paired and paired.test == "t" else "")
    yield TableCell(format_p(comparison.holm))
    counts = f"{images.first} : {images.second} images, seed {paired.seeds[0]}" if images else ""
    yield TableCell(format_p(images and images.p), counts or ("not kept" if paired else ""))
    yield TableCell(comparison.verdict)


def format_p(p: float | None) -> str:
    """A p-value: 0.250, < 0.001."""
    return MISSING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def tidy_line(protocol: Protocol, comparison: Comparison) -> dict[str, object]:
    """A comparison as a line of CSV; differences in percentage points."""
    paired, images, row = comparison.paired, comparison.images, comparison.baseline.row
    fractions = {"difference": paired.mean, "sd": paired.sd, "low": paired.low, "high": paired.high} if paired else {}
    numbers = {name: None if value is None else 100 * value for name, value in fractions.items()}
    return (
        key_columns(protocol, comparison.cell)
        | {"n": paired.n if paired else 0, "against": row.label, "against_method": row.method}
        | {name: numbers.get(name) for name in ("difference", "sd", "low", "high")}
        | {"p": paired and paired.p, "test": paired.test if paired else "", "holm_p": comparison.holm}
        | {"mcnemar_p": images and images.p, "mcnemar_seed": paired.seeds[0] if images else None}
        | {"right_only_here": images and images.first, "right_only_there": images and images.second}
        | {"verdict": comparison.verdict, "records": comparison.records}
    )
