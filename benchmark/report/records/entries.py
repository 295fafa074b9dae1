"""What a report rests on: every record read as a run, and every planned run that has no record yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from benchmark.experiment.run import Run
from benchmark.store import Record, Store

HUGE = 1e100  # its square is still finite
Where = tuple[str, str]  # device, precision
FAILURES = ("diverged", "failed", "unfit")


@dataclass(frozen=True, slots=True)
class Entry:
    """A run and what became of it."""

    run: Run
    record: Record | None = None  # None: planned, not run
    place: float = math.inf  # in the plan
    stale: bool = False  # its method has a newer record of other source
    costs: tuple[Entry, ...] = ()  # costs of a step like this run's, oldest first

    @property
    def state(self) -> str:
        """done · no score · diverged · failed · unfit · not run"""
        if self.record is None:
            return "not run"
        if self.record.status == "done" and self.score("top1") is None:
            return "no score"
        return self.record.status

    @property
    def name(self) -> str:
        """Of the record: the run's id and the attempt."""
        if self.record is None:
            return ""
        return self.record.name if self.record.kind == "run" else f"{self.record.name}-{self.record.kind}"

    @property
    def message(self) -> str:
        """What went wrong, on one line."""
        error = (self.record and self.record.error) or {}
        kind = "" if error.get("type", "").lower() == self.state else error.get("type")
        text = ": ".join(part for part in (kind, error.get("message")) if part)
        return " ".join(text.split()) or "no message"

    @property
    def ended(self) -> datetime:
        """When the record was made; long ago if it does not say."""
        try:
            moment = datetime.fromisoformat(str(self.provenance("ended")))
        except ValueError:
            return datetime.min.replace(tzinfo=UTC)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def score(self, name: str) -> float | None:
        """A score, in its own unit; None where it is missing or not finite."""
        return finite_number(((self.record and self.record.score) or {}).get(name))

    def size(self, name: str) -> float | None:
        """A count of numbers or operations."""
        return finite_number(self.record.size.get(name)) if self.record else None

    def clock(self, name: str) -> float | None:
        """A time in seconds, a speed or a count of epochs; of a cost, milliseconds."""
        return finite_number(self.record.clock.get(name)) if self.record else None

    @property
    def where(self) -> Where:
        """The device and the precision of the record."""
        return str(self.provenance("device")), str(self.provenance("precision"))

    def cost(self, where: Where | None) -> Entry | None:
        """The newest cost of a step like this run's that was measured there."""
        return next((price for price in reversed(self.costs) if price.where == where), None)

    def accuracies(self) -> list[float | None]:
        """Top-1 after each epoch, as fractions."""
        curve = self.record.curve.get("top1") if self.record else None
        return [finite_number(value) for value in curve] if isinstance(curve, list) else []

    def provenance(self, *path: str) -> Any:
        """What the record says of its making; None where it does not."""
        value: Any = self.record.provenance if self.record else None
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value


def finite_number(value: Any) -> float | None:
    """A number that can be reckoned with, or None."""
    return value if isinstance(value, int | float) and abs(value) < HUGE else None


def load_entries(store: Store, plan: Sequence[Run] | None = None) -> tuple[list[Entry], list[str]]:
    """Entries, those of the plan in front and in its order; and complaints about what cannot be read."""
    records = sorted(store.latest().items())
    complaints, found = list(store.complaints), {}
    for id, record in records:
        if entry := read_entry(record, complaints):
            found[id] = entry
    for place, run in enumerate(plan or ()):
        for planned in (run, run.teacher):
            known = planned and found.get(planned.id, Entry(planned))
            if known:
                found[planned.id] = replace(known, place=min(known.place, place))
    everyone = attach_costs(mark_stale(found.values()), costs(store, complaints))
    return sorted(everyone, key=lambda entry: (entry.place, entry.run.id)), complaints


def read_entry(record: Record, complaints: list[str]) -> Entry | None:
    """A record with its run; None, with a complaint, if that cannot be read or is another."""
    entry = None
    try:
        entry = Entry(Run.model_validate(record.run), record)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(map(str, first["loc"])) or "run"
        complaints.append(f"record {record.name}: its run cannot be read, left out ({place}: {first['msg']})")
    if entry and entry.run.id != record.id:
        complaints.append(f"record {entry.name}: its id is not that of its run, {entry.run.id}, left out")
        return None
    return entry


def costs(store: Store, complaints: list[str]) -> list[Entry]:
    """Every cost that can be read, oldest first."""
    found = [read_entry(record, complaints) for record in store.records() if record.kind == "cost"]
    return sorted(filter(None, found), key=lambda entry: (entry.ended, entry.name))


def attach_costs(entries: Iterable[Entry], costs: Iterable[Entry]) -> list[Entry]:
    """The same entries, each with the costs of a step like its own."""
    known: dict[tuple, list[Entry]] = {}
    for cost in costs:
        known.setdefault(cost.run.cost_key, []).append(cost)
    return [replace(entry, costs=tuple(known.get(entry.run.cost_key, ()))) for entry in entries]


def mark_stale(entries: Iterable[Entry]) -> list[Entry]:
    """The same entries; those whose method has since been run from other source are marked stale."""
    entries = list(entries)
    current = newest_by_method(entry for entry in entries if entry.provenance("source"))
    return [
        replace(
            entry,
            stale=bool(entry.record) and entry.provenance("source") != current[entry.run.method].provenance("source"),
        )
        if entry.run.method in current
        else entry
        for entry in entries
    ]


def newest_by_method(entries: Iterable[Entry]) -> dict[str, Entry]:
    """method -> its entry of the newest record."""
    found: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (entry.ended, entry.name)):
        if entry.record:
            found[entry.run.method] = entry
    return found
