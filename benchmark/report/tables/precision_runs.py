"""Match runs that were trained in both precisions and differ in nothing else, and compare those of a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from benchmark.experiment.run import Run
from benchmark.report.formatting import MISSING
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.records.entries import Entry
from benchmark.report.statistics.blocks import Key, key_text, order_of, seed_means
from benchmark.report.statistics.families import ONE_RUN, TOO_FEW, Contrast
from benchmark.report.statistics.paired import Paired, paired_difference
from benchmark.report.statistics.summary import rounded, summarise

LIMIT = 0.005  # this suite's criterion for the absolute mean difference, a fraction
WITHIN = f"within ±{100 * LIMIT:g}"
PRECISIONS = ("bf16", "fp32")  # values in records; differences are the first minus the second
MatchedRuns = dict[str, Entry]  # precision -> entry; the entries differ in nothing else that is part of the run


def match_runs(entries: Iterable[Entry]) -> dict[str, MatchedRuns]:
    """Id without precision -> the run in both precisions, where at least one of the two is done.

    If several recipes led to one precision, a run that is done is preferred, then the recipe "auto".
    """
    by_id: dict[str, MatchedRuns] = {}
    trained = [entry for entry in entries if entry.run.recipe and entry.provenance("precision") in PRECISIONS]
    if len({entry.provenance("precision") for entry in trained}) < len(PRECISIONS):
        return {}
    for entry in sorted(trained, key=lambda entry: (entry.state != "done", entry.run.recipe.precision)):
        by_id.setdefault(id_without_precision(entry.run), {}).setdefault(entry.provenance("precision"), entry)
    pairs = {id: matched for id, matched in by_id.items() if len(matched) == len(PRECISIONS)}
    return {id: matched for id, matched in pairs.items() if "done" in {entry.state for entry in matched.values()}}


def id_without_precision(run: Run) -> str:
    """The id that the run would have with precision "auto" in its own recipe; the teacher's is left as it is."""
    return run.model_copy(update={"recipe": run.recipe.model_copy(update={"precision": "auto"})}).id


def computed_in(protocol: Protocol) -> list[str]:
    """A sentence for each precision but that of most runs, with its students' rows; none where all share one."""
    runs = Counter(
        (entry.provenance("precision"), row.label)
        for (row, _), cell in protocol.cells.items()
        for entry in cell.scored
        if row.kind != "teacher" and entry.provenance("precision") in PRECISIONS
    )
    counts = Counter(precision for precision, _ in runs.elements()).most_common()
    usual, *others = [precision for precision, _ in counts] or [""]
    return [
        f"Computed in {other}, not {usual}: {', '.join(label for found, label in runs if found == other)}."
        for other in others
    ]


def matched_rows(protocol: Protocol, matches: Mapping[str, MatchedRuns]) -> list[tuple[Pair, Row, list[MatchedRuns]]]:
    """(Pair, row, matched runs) for the protocol's rows that have bf16 runs with a match in fp32; no teachers."""
    rows = []
    for pair in protocol.pairs if matches else ():
        for row in (row for row in protocol.rows if row.kind != "teacher"):
            entries = [entry for entry in protocol.cells[row, pair].entries if entry.run.recipe]
            matched = [(entry, matches.get(id_without_precision(entry.run))) for entry in entries]
            bf16_matched = [match for entry, match in matched if match and match["bf16"].run.id == entry.run.id]
            rows += [(pair, row, bf16_matched)] * bool(bf16_matched)
    return rows


# ---- a row in both precisions
@dataclass(frozen=True)  # without slots: cached_property needs a __dict__
class PrecisionComparison:
    """A row on one pair, or the mean of a pair's rows, in both precisions."""

    cell: Cell
    values: Mapping[str, Mapping[Key, float]]  # precision -> block -> top-1, of the blocks done in both
    entries: tuple[Entry, ...]  # the runs that the values come from
    left_out: str = ""  # seeds done in one precision only, with the state of the other
    contrast: Contrast | None = None  # of a row minus the plain student: what the precision does to this difference

    @property
    def difference(self) -> Paired | None:
        """bf16 minus fp32; None without a seed that is done in both."""
        paired = paired_difference(*(self.values[precision] for precision in PRECISIONS))
        if paired is None or self.contrast is None:
            return paired
        return replace(paired, mean=self.contrast.difference, low=self.contrast.low, high=self.contrast.high)

    @property
    def gaps(self) -> dict[int, float]:
        """Seed -> bf16 minus fp32, its mean over teachers."""
        bf16, fp32 = (self.by_seed[precision] for precision in PRECISIONS)
        return {seed: rounded(bf16[seed] - fp32[seed]) for seed in bf16}

    @cached_property
    def by_seed(self) -> dict[str, dict[int, float]]:
        """Precision -> seed -> top-1, its mean over teachers."""
        return {precision: seed_means(values) for precision, values in self.values.items()}

    @property
    def means(self) -> dict[str, float | None]:
        """Precision -> mean top-1, a fraction; None without seeds."""
        summaries = {precision: summarise(self.values[precision].values()) for precision in PRECISIONS}
        return {precision: summary and summary.mean for precision, summary in summaries.items()}

    @property
    def verdicts(self) -> tuple[str, str]:
        """Whether the mean difference is within the limit, and whether its whole interval is."""
        difference = self.difference
        if difference is None:
            return MISSING, MISSING
        met = "met" if round(abs(difference.mean), 12) <= LIMIT else "missed"
        if difference.low is None:
            return met, TOO_FEW
        if self.contrast and self.contrast.one_run:
            return met, ONE_RUN
        return met, "yes" if max(-difference.low, difference.high) <= LIMIT else "no"


def compare_precisions(pair: Pair, row: Row, found: Sequence[MatchedRuns]) -> PrecisionComparison:
    """Compare the runs of a row that are done in both precisions; the others are named in `left_out`."""
    found = sorted(found, key=lambda match: order_of(pair.key(match["bf16"].run)))
    done = [match for match in found if {entry.state for entry in match.values()} == {"done"}]
    not_done = [(precision, entry) for match in found for precision, entry in match.items() if entry.state != "done"]
    left_out = [f"{key_text(pair.key(e.run))} left out: {precision} {e.state}" for precision, e in not_done]
    values = {name: {pair.key(match[name].run): match[name].score("top1") for match in done} for name in PRECISIONS}
    entries = tuple(match[precision] for precision in PRECISIONS for match in done)
    return PrecisionComparison(Cell(row, pair), values, entries, "; ".join(left_out))
