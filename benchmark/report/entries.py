"""What a report rests on: every record read as a run, and every planned run that has no record yet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from benchmark.run import Run
from benchmark.store import Record, Store

HUGE = 1e100  # its square is still finite
FAILURES = ("diverged", "failed", "unfit")


@dataclass(frozen=True, slots=True)
class Entry:
    """A run and what became of it."""

    run: Run
    record: Record | None = None  # None: planned, not run
    place: float = math.inf  # in the plan
    stale: bool = False  # its method has a newer record of other source

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
        return self.record.name if self.record else ""

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
            moment = datetime.fromisoformat(str(self.made("ended")))
        except ValueError:
            return datetime.min.replace(tzinfo=UTC)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def score(self, name: str) -> float | None:
        """A score, in its own unit; None where it is missing or not finite."""
        return number(((self.record and self.record.score) or {}).get(name))

    def size(self, name: str) -> float | None:
        """A count of numbers or operations."""
        return number(self.record.size.get(name)) if self.record else None

    def clock(self, name: str) -> float | None:
        """A time in seconds, a speed or a count of epochs."""
        return number(self.record.clock.get(name)) if self.record else None

    def accuracies(self) -> list[float | None]:
        """Top-1 after each epoch, as fractions."""
        curve = self.record.curve.get("top1") if self.record else None
        return [number(value) for value in curve] if isinstance(curve, list) else []

    def made(self, *path: str) -> Any:
        """What the record says of its making; None where it does not."""
        value: Any = self.record.made if self.record else None
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value


def number(value: Any) -> float | None:
    """A number that can be reckoned with, or None."""
    return value if isinstance(value, int | float) and abs(value) < HUGE else None


def gather(store: Store, plan: Sequence[Run] | None = None) -> tuple[list[Entry], list[str]]:
    """Entries, those of the plan in front and in its order; and complaints about what cannot be read."""
    records = store.latest()
    complaints, found = list(store.complaints), {}
    for id, record in sorted(records.items()):
        try:
            run = Run.model_validate(record.run)
        except ValidationError as fault:
            first = fault.errors()[0]
            place = ".".join(map(str, first["loc"])) or "run"
            complaints.append(f"record {record.name}: its run cannot be read, left out ({place}: {first['msg']})")
            continue
        if run.id != id:
            complaints.append(f"record {record.name}: its id is not that of its run, {run.id}, left out")
            continue
        found[id] = Entry(run, record)
    for place, run in enumerate(plan or ()):
        for planned in (run, run.teacher):
            known = planned and found.get(planned.id, Entry(planned))
            if known:
                found[planned.id] = replace(known, place=min(known.place, place))
    return sorted(aged(found.values()), key=lambda entry: (entry.place, entry.run.id)), complaints


def aged(entries: Iterable[Entry]) -> list[Entry]:
    """The same entries; those whose method has since been run from other source are marked stale."""
    entries = list(entries)
    current = newest(entry for entry in entries if entry.made("source"))
    return [
        replace(entry, stale=bool(entry.record) and entry.made("source") != current[entry.run.method].made("source"))
        if entry.run.method in current
        else entry
        for entry in entries
    ]


def newest(entries: Iterable[Entry]) -> dict[str, Entry]:
    """method -> its entry of the newest record."""
    found: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (entry.ended, entry.name)):
        if entry.record:
            found[entry.run.method] = entry
    return found
