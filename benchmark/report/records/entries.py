"""Load the entries of a report: each run with its record, and each planned run that has no record yet."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from benchmark.errors import BadInput, printable
from benchmark.experiment.error_text import explain
from benchmark.experiment.run import Run
from benchmark.report.formatting import count_of
from benchmark.store import Record, Store, attempt_that_counts, no_garbage_collection

MAX_FINITE = 1e100  # larger numbers are treated as not finite; the square of this one is still a float
Platform = tuple[str, str]  # device, precision
FAILURES = ("diverged", "failed", "unfit")


@dataclass(frozen=True, slots=True)
class Entry:
    """A run with its record and its costs."""

    run: Run
    record: Record | None = None  # None: planned, not run
    plan_position: float = math.inf  # index of the run in the plan; inf outside
    stale: bool = False  # its method has a newer record made by other code
    costs: tuple[Entry, ...] = ()  # records of kind "cost" for the same training step, oldest first
    attempts: tuple[Record, ...] = ()  # the run's other records, in order of attempt
    other_scores: tuple[tuple[str, float | None], ...] = ()  # (name, score) known from elsewhere, before the record's

    @property
    def state(self) -> str:
        """One of: done, no score, diverged, failed, unfit, not run."""
        if self.record is None:
            return "not run"
        if self.record.status == "done" and self.score("top1") is None:
            return "no score"
        return self.record.status

    @property
    def name(self) -> str:
        """The record's name: run id, attempt and, unless it is a run, the kind; "" without a record."""
        if self.record is None:
            return ""
        return self.record.name if self.record.kind == "run" else f"{self.record.name}-{self.record.kind}"

    @property
    def message(self) -> str:
        """The record's error on one line."""
        error = (self.record and self.record.error) or {}
        kind = "" if error.get("type", "").lower() == self.state else error.get("type")
        text = ": ".join(part for part in (kind, error.get("message")) if part)
        return " ".join(printable(text).split()) or "no message"

    @property
    def ended(self) -> datetime:
        """When the record was written, in UTC if it names no zone; datetime.min if it gives no time."""
        try:
            moment = datetime.fromisoformat(str(self.provenance("ended")))
        except ValueError:
            return datetime.min.replace(tzinfo=UTC)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def score(self, name: str) -> float | None:
        """A score, in its own unit; None where it is missing or not finite."""
        if self.other_scores and name in (elsewhere := dict(self.other_scores)):
            return elsewhere[name]
        return finite_number(((self.record and self.record.score) or {}).get(name))

    def size(self, name: str) -> float | None:
        """A size: a count of parameters, operations or bytes; None where it is missing."""
        return finite_number(self.record.size.get(name)) if self.record else None

    def clock(self, name: str) -> float | None:
        """A time in seconds (a cost: milliseconds), a speed or a count of epochs; None where it is missing."""
        return finite_number(self.record.clock.get(name)) if self.record else None

    @property
    def platform(self) -> Platform:
        """Device and precision of the record."""
        return str(self.provenance("device")), str(self.provenance("precision"))

    def cost(self, platform: Platform | None) -> Entry | None:
        """The newest cost of this run's step on a platform; None if it was not measured there."""
        return next((cost for cost in reversed(self.costs) if cost.platform == platform), None)

    def accuracies(self) -> list[float | None]:
        """Top-1 after each epoch, as fractions; None for an epoch without a finite number."""
        return finite_numbers(self.recorded_accuracies())

    def recorded_accuracies(self) -> list[Any]:
        """As `accuracies`, with whatever the record holds in place of numbers."""
        curve = self.record.curve.get("top1") if self.record else None
        return curve if isinstance(curve, list) else []

    def provenance(self, *path: str) -> Any:
        """The value under a path of keys in the record's provenance; None where it is missing."""
        value: Any = self.record.provenance if self.record else None
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value


def finite_number(value: Any) -> float | None:
    """The value if it is a finite number below MAX_FINITE, otherwise None."""
    return value if isinstance(value, (int, float)) and abs(value) < MAX_FINITE else None


def finite_numbers(values: Iterable[Any]) -> list[float | None]:
    """As `finite_number`, of every value."""
    return [value if isinstance(value, (int, float)) and abs(value) < MAX_FINITE else None for value in values]


@no_garbage_collection()
def load_entries(store: Store, plan: Sequence[Run] | None = None) -> tuple[list[Entry], list[str]]:
    """All entries, planned runs first in the order of the plan; and a sentence for each file that cannot be read."""
    stored = list(store.records())
    complaints, entries_by_id = list(store.complaints), {}
    for id, attempts in sorted(attempts_by_id(stored).items()):
        record = attempt_that_counts(attempts)
        if entry := read_entry(record, complaints):
            others = tuple(each for each in attempts if each.attempt != record.attempt)
            entries_by_id[id] = replace(entry, attempts=others)
    for plan_position, run in enumerate(plan or ()):
        for planned in (run, run.teacher):
            if known := planned and entries_by_id.get(planned.id, Entry(planned)):
                entries_by_id[planned.id] = replace(known, plan_position=min(known.plan_position, plan_position))
    entries = attach_costs(mark_stale(entries_by_id.values()), load_costs(stored, complaints))
    return sorted(entries, key=lambda entry: (entry.plan_position, entry.run.id)), complaints


def require_entries(store: Store, plan: Sequence[Run] | None = None) -> tuple[list[Entry], list[str]]:
    """As `load_entries`.  Raises BadInput if there are no entries."""
    entries, complaints = load_entries(store, plan)
    if not entries:
        unreadable = f" ({count_of(len(complaints), 'file')} there cannot be read as records)" if complaints else ""
        hint = "name a folder of results, one that has records/ in it"
        raise BadInput(f"{store.root} holds no records of runs{unreadable}; {hint}")
    return entries, complaints


def read_entry(record: Record, complaints: list[str]) -> Entry | None:
    """The entry of a record; None, with a complaint, if its run is unreadable or has another id than the record."""
    entry = None
    try:
        entry = Entry(Run.model_validate(record.run), record)
    except ValidationError as fault:
        complaints.append(f"record {record.name}: its run cannot be read, left out ({explain(fault)})")
    if entry and entry.run.id != record.id:
        complaints.append(f"record {entry.name}: its id is not that of its run, {entry.run.id}, left out")
        return None
    return entry


def attempts_by_id(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Id of a run -> all its records, in order of attempt."""
    found: dict[str, list[Record]] = {}
    for record in sorted((each for each in records if each.kind == "run"), key=lambda each: each.attempt):
        found.setdefault(record.id, []).append(record)
    return found


def load_costs(records: Iterable[Record], complaints: list[str]) -> list[Entry]:
    """The readable records of kind "cost", oldest first."""
    costs = [read_entry(record, complaints) for record in records if record.kind == "cost"]
    return sorted(filter(None, costs), key=lambda entry: (entry.ended, entry.name))


def attach_costs(entries: Iterable[Entry], costs: Iterable[Entry]) -> list[Entry]:
    """The same entries, each with the costs whose `cost_key` equals its own."""
    by_key: dict[tuple, list[Entry]] = {}
    for cost in costs:
        by_key.setdefault(cost.run.cost_key, []).append(cost)
    return [replace(entry, costs=tuple(by_key.get(entry.run.cost_key, ()))) for entry in entries]


def mark_stale(entries: Collection[Entry]) -> list[Entry]:
    """The same entries; those whose source is not that of the newest record of their method are marked stale."""
    newest = newest_by_method(entry for entry in entries if entry.provenance("source"))
    sources = {method: entry.provenance("source") for method, entry in newest.items()}
    return [
        replace(entry, stale=entry.provenance("source") != sources[entry.run.method])
        if entry.record and entry.run.method in sources
        else entry
        for entry in entries
    ]


def newest_by_method(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Method -> the entry with its newest record."""
    newest: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (entry.ended, entry.name)):
        if entry.record:
            newest[entry.run.method] = entry
    return newest
