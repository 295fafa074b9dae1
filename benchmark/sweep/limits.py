"""Limits of a sweep: when it starts no further cohort, and when it stops those that are training."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.acceleration.machine import machine
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.store import Record, Store
from benchmark.sweep import schedule
from benchmark.training.callback import Stopped
from benchmark.training.provenance import device_name

FAULTY = ("failed", "diverged")
TIME_IS_OVER = "--max-hours is over"
DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?:in)?)?(?:(\d+(?:\.\d+)?)s)?")
LONGEST = 1e8  # seconds: three years


class Faults:
    """Finds the first run of a sweep that has failed or diverged, in whichever process; reads each record once."""

    def __init__(self, store: Store, before: Mapping[str, int]):
        """before: the id of every run of the sweep -> attempts when it began."""
        self.store, self.seen, self.found = store, dict(before), None

    def first(self) -> Record | None:
        """The first that failed, as far as this object can tell; None if none did."""
        counts = self.store.attempts() if self.found is None else {}
        for id in [id for id, seen in self.seen.items() if counts.get(id, 0) > seen]:
            records = [
                each for each in self.store.records_of(id) if each.kind == "run" and each.attempt > self.seen[id]
            ]
            self.found = self.found or next((each for each in records if each.status in FAULTY), None)
            self.seen[id] = counts[id]
        return self.found


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits as plain values; times are those of this machine's monotonic clock, in seconds."""

    stop_at: float | None = None  # at the next end of an epoch every run stops, with a checkpoint
    start_until: float | None = None  # a cohort that would end later is not started
    fail_fast: bool = False  # the first run that fails or diverges stops the sweep

    @classmethod
    def until(cls, stop_time: float | None, fail_fast: bool) -> Limits:
        """Limits that another machine has sent; stop_time: as its `Limits.stop_time`."""
        left = None if stop_time is None else stop_time - time.time()
        return cls(None if left is None else time.monotonic() + left, fail_fast=fail_fast)

    @property
    def stop_time(self) -> float | None:
        """`stop_at` by the clock on the wall, which other machines have too."""
        return None if self.stop_at is None else self.stop_at - time.monotonic() + time.time()

    def reason_to_stop(self, faults: Faults | None = None) -> str:
        """Why the sweep stops now; "" if it goes on.  faults: finds its runs that have failed."""
        if self.stop_at is not None and time.monotonic() >= self.stop_at:
            return TIME_IS_OVER
        faulty = faults.first() if self.fail_fast and faults else None
        return f"--fail-fast, and {faulty.run['method']} ({faulty.id}) {faulty.status}" if faulty else ""

    def check(self, faults: Faults) -> None:
        """Raises Stopped if the sweep stops now."""
        if reason := self.reason_to_stop(faults):
            raise Stopped(reason)

    def allow(self, cohort: list[Run], store: Store, device: str) -> bool:
        """Whether a cohort may start: it ends within the budget, or its networks were never measured on the device."""
        if self.start_until is None:
            return True
        name = device_name(machine(device).device)
        seconds = schedule.cohort_seconds(cohort, schedule.timings(store.latest().values()), name) or 0.0
        return time.monotonic() + seconds <= self.start_until

    def refused(self, cohorts: Sequence[list[Run]], store: Store, device: str) -> set[str]:
        """The ids of the runs of those cohorts that may not start."""
        return {run.id for cohort in cohorts if not self.allow(cohort, store, device) for run in cohort}


def make_limits(max_hours: float | None, budget: str, fail_fast: bool) -> Limits:
    """The limits of a sweep that begins now.  Raises BadInput for a time that is none."""
    now = time.monotonic()
    if max_hours is not None and not 0 < 3600 * max_hours <= LONGEST:
        raise BadInput(f"--max-hours is a number of hours above 0, not {max_hours:g}")
    stop_at = None if max_hours is None else now + 3600 * max_hours
    return Limits(stop_at, now + parse_duration(budget) if budget else None, fail_fast)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as 4h, 90m or 1h30m.  Raises BadInput."""
    match = DURATION.fullmatch(text.strip().lower()) if len(text) < 40 else None
    parts = [float(part or 0) for part in match.groups()] if match else [0.0]
    seconds = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if not 0 < seconds <= LONGEST:
        raise BadInput(f"--budget is a time such as 4h, 90m or 1h30m, not {text!r:.40}")
    return seconds
