"""Compare the methods of a pair: differences with simultaneous intervals, tests, verdicts.

compare_rows(protocol, correct)             every row minus every other row, without teachers
baseline_contrasts(protocol, baseline)      the differences to one row, for figures: (row, pair) -> Contrast
detectable_sentence(protocol)               what the comparisons could have found
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.records.entries import Entry
from benchmark.report.statistics.blocks import matched
from benchmark.report.statistics.families import TOO_FEW, Contrast, against, all_pairs_p, family_loadings
from benchmark.report.statistics.images import Discordant, mcnemar
from benchmark.report.statistics.max_t import max_t_quantile
from benchmark.report.statistics.model import PairModel
from benchmark.report.statistics.paired import Paired, holm, paired_difference, sign_flip_can_reach
from benchmark.report.statistics.power import minimum_detectable_difference
from benchmark.report.statistics.summary import t_quantile

BASELINE = "kd"  # the baseline unless another one is named
Correctness = Callable[[Entry], NDArray[np.bool_] | None]  # a run -> (N,) whether it classifies each image correctly


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a row with a baseline on one pair; accuracies as fractions."""

    cell: Cell
    baseline: Cell
    contrast: Contrast | None = None  # row minus baseline; None: no chain of common blocks joins them
    all_pairs_p: float | None = None  # in the family of all pairs of rows
    paired: Paired | None = None  # over the blocks in common; None: there is none
    holm: float | None = None  # sign-flip p adjusted for all rows compared with this baseline, where n allows 5 %
    images: Discordant | None = None  # of the first block in common with predictions; None: not kept

    @property
    def verdict(self) -> str:
        """The verdict by the simultaneous interval."""
        return self.contrast.verdict if self.contrast else TOO_FEW

    @property
    def records(self) -> str:
        """The names of the records of both rows."""
        return f"{self.cell.scored_records} {self.baseline.scored_records}"


# ---- numbers
def baseline_contrasts(protocol: Protocol, baseline: Row) -> dict[tuple[Row, Pair], Contrast]:
    """(Row, pair) -> the row minus the baseline, where both have a score and common blocks join them."""
    found = {}
    for pair, model in protocol.models.items():
        if baseline in model.rows:
            found |= {(row, pair): contrast for row, contrast in against(model, baseline).items() if contrast}
    return found


def compare_rows(protocol: Protocol, correct: Correctness | None = None) -> list[Comparison]:
    """All ordered pairs of rows on each pair of networks, pair by pair and baseline by baseline."""
    return [
        comparison
        for pair in protocol.pairs
        for baseline in protocol.student_cells(pair)
        for comparison in compare_with(protocol, pair, baseline, correct)
    ]


def compare_with(
    protocol: Protocol, pair: Pair, baseline: Cell, correct: Correctness | None = None
) -> list[Comparison]:
    """Every other row of the pair compared with the baseline."""
    model = protocol.models[pair]
    contrasts = against(model, baseline.row)
    cells = [cell for cell in protocol.student_cells(pair) if cell.row != baseline.row]
    paired = [paired_difference(model.column[cell.row], model.column[baseline.row]) for cell in cells]
    return [
        Comparison(
            cell,
            baseline,
            contrasts[cell.row],
            all_pairs_p(model, cell.row, baseline.row),
            own,
            adjusted,
            discordant_images(cell, baseline, correct),
        )
        for cell, own, adjusted in zip(cells, paired, holm_where_reachable(paired), strict=True)
    ]


def holm_where_reachable(paired: Sequence[Paired | None]) -> list[float | None]:
    """Holm's adjustment of the sign-flip p of a family; None where that many comparisons of n seeds never reach 5 %."""
    known = [each for each in paired if each and each.sign_flip is not None]
    adjusted = dict(zip(map(id, known), holm([each.sign_flip for each in known]), strict=True))
    return [
        adjusted[id(each)] if id(each) in adjusted and sign_flip_can_reach(each.n, len(known)) else None
        for each in paired
    ]


def discordant_images(cell: Cell, baseline: Cell, correct: Correctness | None) -> Discordant | None:
    """McNemar's test on the judged images for the first common block for which both runs' predictions are kept."""
    if correct is None:
        return None
    sides = ({side.pair.key(entry.run): entry for entry in side.scored} for side in (cell, baseline))
    for block, entries in matched(*sides).items():
        first, second = map(correct, entries)
        if first is not None and second is not None and first.shape == second.shape:
            return mcnemar(first, second, block)
    return None


# ---- what could have been found
def detectable_sentence(protocol: Protocol) -> str:
    """The sentence on the minimum detectable difference; "" where no pair has a spread."""
    known = [model for model in protocol.models.values() if detectable(model)]
    if not known:
        return ""
    single, family = zip(*map(detectable, known), strict=True)
    sd, degrees = [model.residual.sd for model in known], [model.residual.degrees for model in known]
    return (
        f"Found in 80 % of cases: {points_range(family)} points, {points_range(single)} if tested alone "
        f"(residual sd {points_range(sd)}, {count_range(degrees)} df)."
    )


def detectable(model: PairModel) -> tuple[float, float] | None:
    """The difference found in 80 % of cases: as the only comparison, and among those with the first row; fractions.

    None without a spread, or without a row that can be compared with the first one.
    """
    errors = [error for row in model.rows[1:] if (error := model.error(row, model.rows[0])) is not None]
    if not errors:
        return None
    error = float(np.median(errors))
    degrees = np.median([model.degrees(row, model.rows[0]) for row in model.rows[1:]]).item()
    limits = (t_quantile(degrees), max_t_quantile(family_loadings(model, model.rows[0]), degrees))
    single, family = (minimum_detectable_difference(error, degrees, limit) for limit in limits)
    return single, family


def points_range(fractions: Sequence[float]) -> str:
    """Fractions in percentage points: one number, or from the smallest to the largest."""
    texts = [f"{100 * value:.2f}" for value in (min(fractions), max(fractions))]
    return " to ".join(dict.fromkeys(texts))


def count_range(counts: Sequence[float]) -> str:
    """Counts as text: one, or from the smallest to the largest."""
    return " to ".join(dict.fromkeys(f"{value:g}" for value in (min(counts), max(counts))))


def fallback_sentence(protocol: Protocol) -> str:
    """The sentence that names the pairs whose rows have unequal variances; "" for none."""
    unequal = [pair.label for pair, model in protocol.models.items() if model.unequal]
    if not unequal:
        return ""
    return f"Variances differ between rows (Brown–Forsythe), so paired t with Bonferroni: {', '.join(unequal)}."
