"""Compare the methods of a pair: differences with simultaneous intervals, tests, verdicts.

compare_rows(protocol, correct)                  every row minus every other row, without teachers (Tukey)
with_declared(protocol, comparisons, baseline)   the same, by Dunnett's limits against declared baselines
baseline_contrasts(protocol, baseline)           the differences to a declared one, for figures: (row, pair) -> Contrast
detectable_sentence(protocol)                    what the comparisons could have found

Dunnett's error rate is that of one baseline, chosen before the results were seen: the named one, and the plain student,
each with a rate of its own.  Whoever picks another one from the list may have picked it by its result, so comparisons
with it have the limits of all pairs of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.records.entries import Entry
from benchmark.report.statistics.blocks import matched
from benchmark.report.statistics.families import MIN_RUNS, TOO_FEW, Contrast, against, all_pairs
from benchmark.report.statistics.images import Discordant, mcnemar
from benchmark.report.statistics.paired import Paired, holm, paired_difference, sign_flip_can_reach
from benchmark.report.statistics.power import detectable

BASELINE = "kd"  # the baseline unless another one is named
ONE_RUN_SENTENCE = (
    " A row with one run has an interval by the others’ spread but no verdict, and is never marked as best or near it: "
    "whether its own spread is the same cannot be tested."
)
Correctness = Callable[[Entry], NDArray[np.bool_] | None]  # a run -> (N,) whether it classifies each image correctly


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a row with another one, the baseline, on one pair; accuracies as fractions."""

    cell: Cell
    baseline: Cell
    contrast: Contrast | None = None  # row minus baseline; None: no chain of common blocks joins them
    all_pairs_p: float | None = None  # in the family of all pairs of rows
    paired: Paired | None = None  # over the blocks in common; None: there is none
    holm: float | None = None  # sign-flip p adjusted for all rows compared with this baseline, where n allows 5 %
    images: Discordant | None = None  # of the first block in common with predictions; None: not kept

    @property
    def verdict(self) -> str:
        """The verdict of the contrast."""
        return self.contrast.verdict if self.contrast else TOO_FEW

    @property
    def records(self) -> str:
        """The names of the records of both rows."""
        return f"{self.cell.scored_records} {self.baseline.scored_records}"


# ---- numbers
def baseline_contrasts(protocol: Protocol, baseline: Row) -> dict[tuple[Row, Pair], Contrast]:
    """(Row, pair) -> the row minus the declared baseline, where both have a score and common blocks join them."""
    found = {}
    for pair, model in protocol.models.items():
        if baseline in model.rows:
            found |= {(row, pair): contrast for row, contrast in against(model, baseline).items() if contrast}
    return found


def declared_rows(protocol: Protocol, baseline: str = BASELINE) -> list[Row]:
    """The declared baselines: the row of the named method or label, and the plain student."""
    plain = [row for row in protocol.rows if row.kind == "student"]
    return list(dict.fromkeys(row for row in (protocol.baseline_row(baseline), *plain) if row))


def compare_rows(protocol: Protocol, correct: Correctness | None = None) -> list[Comparison]:
    """All ordered pairs of rows on each pair of networks, pair by pair and baseline by baseline."""
    return [comparison for pair in protocol.pairs for comparison in compare_pair(protocol, pair, correct)]


def compare_pair(protocol: Protocol, pair: Pair, correct: Correctness | None = None) -> list[Comparison]:
    """Every row of the pair compared with every other."""
    contrasts, cells = all_pairs(protocol.models[pair]), protocol.student_cells(pair)
    return [one for baseline in cells for one in compare_with(protocol, baseline, contrasts, correct)]


def compare_with(
    protocol: Protocol,
    baseline: Cell,
    contrasts: Mapping[tuple[Row, Row], Contrast | None],
    correct: Correctness | None = None,
) -> list[Comparison]:
    """Every other row of the pair compared with the baseline.  contrasts: of all pairs of rows."""
    column = protocol.models[baseline.pair].column
    cells = [cell for cell in protocol.student_cells(baseline.pair) if cell.row != baseline.row]
    paired = [paired_difference(column[cell.row], column[baseline.row]) for cell in cells]
    return [
        Comparison(
            cell,
            baseline,
            contrast := contrasts[cell.row, baseline.row],
            contrast and contrast.p,
            own,
            adjusted,
            discordant_images(cell, baseline, correct),
        )
        for cell, own, adjusted in zip(cells, paired, holm_where_reachable(paired), strict=True)
    ]


def with_declared(protocol: Protocol, comparisons: Sequence[Comparison], baseline: str = BASELINE) -> list[Comparison]:
    """The comparisons; those with a declared baseline have the contrast of all rows against that one."""
    found = {row: baseline_contrasts(protocol, row) for row in declared_rows(protocol, baseline)}
    return [
        replace(one, contrast=found[one.baseline.row].get((one.cell.row, one.cell.pair)))
        if one.baseline.row in found else one
        for one in comparisons
    ]  # fmt: skip


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
    """The sentences on the minimum detectable difference and on rows with one run; "" where no pair has a spread."""
    known = {pair: found for pair, model in protocol.models.items() if (found := detectable(model))}
    if not known:
        return ""
    alone, family, seeds = zip(*known.values(), strict=True)
    residuals = [protocol.models[pair].residual for pair in known]
    sd, degrees = zip(*((each.sd, each.degrees) for each in residuals), strict=True)
    return (
        f"A true difference of {points_range(family)} points between rows with {count_range(seeds)} seeds is found in "
        f"80 % of studies, {points_range(alone)} if it were the only comparison (the model's residual: standard "
        f"deviation {points_range(sd)} points, {count_range(degrees)} degrees of freedom)."
        + ONE_RUN_SENTENCE
        * any(len(own) < MIN_RUNS for pair in known for own in protocol.models[pair].column.values())
    )


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
