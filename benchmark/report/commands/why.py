"""The command `why`: why runs would be trained although there are records: what the nearest record has otherwise."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.experiment.run import Run
from benchmark.report.commands.find_run import find_entry
from benchmark.report.commands.source_now import current_source
from benchmark.report.formatting import count_of, flatten
from benchmark.report.records.entries import FAILURES, Entry, require_entries
from benchmark.store import Record, Store

MAX_LINES = 40  # of the text
MAX_DIFFERENCES = 6  # fields that are listed for one run
ABSENT = "not set"

Fields = Mapping[str, str]  # path of a value in a run's JSON, such as recipe.lr -> the value as text


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored record of a run, prepared for comparison."""

    record: Record
    fields: Fields
    items: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, record: Record) -> Candidate:
        fields = run_fields(record.run)
        return cls(record, fields, frozenset(fields.items()))


def why(runs: Sequence[Run], missing: Sequence[Run], unfit: Collection[str], store: Store, again: bool = False) -> str:
    """A text that says for each missing run why no record answers it, and which records are of older code.

    runs: all of the suite, with teachers; missing: those that `run` would train; unfit: ids of runs whose pair their
    method does not support; again: whether `--again` was given, which lets no record answer.
    """
    latest = store.latest()
    candidates = [Candidate.of(record) for record in latest.values()]
    by_kind: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        by_kind.setdefault(kind_of(candidate.fields), []).append(candidate)
    reasons: dict[tuple[str, ...], list[Run]] = {}
    for run in missing:
        if run.id in latest:
            reason = reason_to_repeat(latest[run.id], store, again)
        else:
            fields = run_fields(run.model_dump(mode="json"))
            reason = nearest_lines(fields, by_kind.get(kind_of(fields)) or candidates)
        reasons.setdefault(reason, []).append(run)
    left = {run.id for run in missing}
    answered = [latest[run.id] for run in runs if run.id in latest and run.id not in left]
    head = f"{count_of(len(runs), 'run')}: {len(answered)} with a record that answers, {len(left)} to train"
    lines = [head + (f", {len(unfit)} unfit" if unfit else "")]
    lines += [line for reason, own in reasons.items() for line in [title_of(own), *(f"  {part}" for part in reason)]]
    return "\n".join([*shortened(lines), *stale_lines(answered)])


def why_run(name: str, results: Path) -> str:
    """A text on the run with this id or its beginning: its record, and what the nearest other run has otherwise.

    Raises BadInput unless exactly one run of the folder matches.
    """
    entries, complaints = require_entries(Store(results))
    entry = find_entry(name, {entry.run.id: entry for entry in entries}, results, complaints)
    nearest = nearest_run(entry, entries) or ["there is no record of any other run"]
    lines = [f"its record is {entry.name} ({entry.state})", *nearest]
    return "\n".join([title_of([entry.run]), *(f"  {line}" for line in lines), *stale_lines([entry.record])])


def title_of(runs: Sequence[Run]) -> str:
    """The first of the runs, and how many more have the same reason."""
    more = f" and {count_of(len(runs) - 1, 'run')} more, for the same reason" if len(runs) > 1 else ""
    return f"{runs[0].label} ({runs[0].id}){more}"


def shortened(lines: Sequence[str]) -> list[str]:
    """At most MAX_LINES lines, and a line that says what is left out."""
    if len(lines) <= MAX_LINES:
        return [*lines]
    hidden = f"… {count_of(len(lines) - MAX_LINES, 'line')} more: choose fewer runs with -m, -p or --seeds"
    return [*lines[:MAX_LINES], hidden]


# ---- a run that has a record
def reason_to_repeat(record: Record, store: Store, again: bool) -> tuple[str, ...]:
    """Why a run that has a record would be trained once more."""
    if again:
        return (f"--again: its record {record.name} ({record.status}) stays and a further one is written",)
    if record.status in FAILURES:
        message = " ".join((record.error or {}).get("message", "no reason is given").split())
        return (f"its record {record.name} says {record.status}: {message}",)
    return (f"its record {record.name} is {record.status}, but its weights are not in {store.root}: others need them",)


def stale_lines(answered: Iterable[Record]) -> list[str]:
    """A line for each method of which records answer that were made by other code than today's."""
    counts: dict[tuple[str, str], int] = {}
    for record in answered:
        method, source = record.run.get("method", ""), record.provenance.get("source")
        if source and current_source(method) not in ("", source):
            counts[method, source] = counts.get((method, source), 0) + 1
    return [
        f"{count_of(count, 'record')} of {method} that answered: made by other code, {source}; "
        f"it is {current_source(method)} now, and --again trains once more"
        for (method, source), count in sorted(counts.items())
    ]


# ---- a run that has none
def run_fields(run: Mapping[str, Any]) -> dict[str, str]:
    """The values of a run's JSON as text, its teacher's included: {"recipe.lr": "0.05", "teacher.recipe.lr": …}."""
    return {path: " ".join(value.split()) for path, value in flatten(run).items()}


def kind_of(fields: Fields) -> tuple[str, str]:
    """What a record must have in common with a run to be compared first: network and method."""
    return fields.get("student", ""), fields.get("method", "")


def nearest_lines(fields: Fields, candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """The record that differs in the fewest fields, and these; of several, one that is done, then the first by name."""
    if not candidates:
        return ("there is no record of any run",)
    items = frozenset(fields.items())

    def distance(candidate: Candidate) -> tuple[int, bool, str]:
        return len(items ^ candidate.items), candidate.record.status != "done", candidate.record.name

    nearest = min(candidates, key=distance)
    return (f"nearest is record {nearest.record.name} ({nearest.record.status})", *differences(fields, nearest.fields))


def differences(here: Fields, there: Fields) -> list[str]:
    """A line for each field that differs: "recipe.lr: 0.05 here, 0.1 there"; at most MAX_DIFFERENCES."""
    paths = [path for path in dict.fromkeys([*here, *there]) if here.get(path) != there.get(path)]
    if "teacher" in paths:  # one of them has none, so that the fields of the other's say nothing more
        paths = [path for path in paths if not path.startswith("teacher.")]
        here, there = (side | {"teacher": side.get("teacher.student", "none")} for side in (here, there))
    lines = [f"{path}: {here.get(path, ABSENT)} here, {there.get(path, ABSENT)} there" for path in paths]
    more = len(lines) - MAX_DIFFERENCES
    return lines if more <= 0 else [*lines[:MAX_DIFFERENCES], f"and {count_of(more, 'field')} more"]


def nearest_run(entry: Entry, entries: Iterable[Entry]) -> list[str]:
    """The run that differs from this one in the fewest values, and these values; empty if it is the only one."""
    others = [Candidate.of(other.record) for other in entries if other.record and other.run.id != entry.run.id]
    fields = run_fields(entry.run.model_dump(mode="json"))
    return [*nearest_lines(fields, others)] if others else []
