"""Match runs that were trained in both precisions and differ in nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from benchmark.experiment.run import Run
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.records.entries import Entry

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
