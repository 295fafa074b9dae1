"""The loop: a cohort of lanes over shared batches and one teacher."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmark import datasets, teacher
from benchmark.accelerate import machine
from benchmark.data import splits
from benchmark.device import wait
from benchmark.lane import Lane
from benchmark.run import Run
from benchmark.setting import Setting
from benchmark.store import Record, Store


def settle(
    cohort: list[Run],
    store: Store,
    root: Path,
    device: str = "auto",
    words: Mapping[str, Any] | None = None,
    origins: Mapping[str, Mapping[str, str]] | None = None,
    graphs: bool = True,
) -> Setting:
    """What the lanes of a cohort share: data on the device, the teacher from its kept file.  Raises BadInput.

    words: what the user said; origins: id -> where each value comes from; both for the records.
    """
    first = cohort[0]
    here = machine(device, first.recipe.precision, graphs)
    data = datasets.load(first.dataset, root)
    learn, judged = splits(data, first.judge, here.device)
    taught = next((run.teacher for run in cohort if run.teacher), None)
    found = teacher.load(taught, store, here, len(data.classes), judged) if taught else None
    return Setting(store, here, data, learn, judged, found, words or {}, origins or {})


class Watch:
    """Told of what happens while a cohort trains.  This one keeps it to itself."""

    def epoch(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> None:
        """An epoch of `epochs` has ended; rate: images per second of each lane."""

    def landed(self, record: Record) -> None:
        """A run has come to its end, good or bad."""


def train(cohort: list[Run], setting: Setting, watch: Watch | None = None) -> list[Record]:
    """Train runs of one seed, one recipe's batches and at most one teacher in step; one record each.

    A lane that raises or diverges retires with a record; the others go on.  Lanes that do not fit into the device's
    memory together are halved: each half starts from its last checkpoints.
    """
    records: dict[str, Record] = {}
    waiting = [cohort]
    while waiting:
        part = waiting.pop(0)
        setting.machine.tidy()  # of the lanes that flew before, which nothing holds any more
        if together(part, setting, watch or Watch(), records):
            continue
        left = [run for run in part if run.id not in records]
        waiting[:0] = [left[: len(left) // 2], left[len(left) // 2 :]]
        setting = replace(setting, too_many=(*setting.too_many, len(left)))
    return [records[run.id] for run in cohort]


def together(cohort: list[Run], setting: Setting, watch: Watch, records: dict[str, Record]) -> bool:
    """Train in step, adding to the records; False if several lanes are left that do not fit into memory together."""
    try:
        Cohort(cohort, setting, watch, records).fly()
    except torch.OutOfMemoryError:
        if sum(run.id not in records for run in cohort) < 2:
            raise
        return False
    finally:
        setting.belt.dismiss()
    return True


class Cohort:
    """A cohort under way."""

    def __init__(self, cohort: list[Run], setting: Setting, watch: Watch, records: dict[str, Record]):
        self.setting, self.watch, self.records = setting, watch, records
        self.lanes = [Lane(run, setting) for run in cohort]

    @property
    def flying(self) -> list[Lane]:
        """The lanes that have not come to their end."""
        return [lane for lane in self.lanes if lane.status == "flying"]

    def fly(self) -> None:
        """From the first lane's next epoch to the last lane's end.  Raises OutOfMemoryError if several still fly."""
        for lane in self.lanes:
            self.attempt(lane, lane.board)
        last = max((lane.epochs for lane in self.flying), default=0)
        for epoch in range(min((lane.epoch for lane in self.flying), default=0), last):
            live = [lane for lane in self.flying if self.attempt(lane, lane.begin_epoch, epoch)]
            if live:
                self.one_epoch(live, epoch, last)

    def one_epoch(self, live: list[Lane], epoch: int, last: int) -> None:
        """Train the lanes that take part in an epoch; those that are through land."""
        started = time.perf_counter()
        for _ in walk(live, epoch, self.attempt):
            pass
        wait(self.setting.machine.device)
        seconds = time.perf_counter() - started
        for lane in live:
            if lane.status == "flying":
                self.attempt(lane, lane.end_epoch, seconds, len(live))
        self.watch.epoch(self.lanes, epoch + 1, last, len(self.setting.learn) / seconds)
        for lane in live:
            if lane.status == "flying" and lane.epoch == lane.epochs:
                record = self.attempt(lane, lane.land)
                if record:
                    self.ended(lane, record)

    def attempt(self, lane: Lane, action: Callable[..., Any], *words: Any) -> Any:
        """What a lane's action returns; False if it raised, and the lane has retired."""
        try:
            return action(*words)
        except Exception as fault:  # whatever a method does, the other lanes fly on
            if isinstance(fault, torch.OutOfMemoryError) and len(self.flying) > 1:
                raise
            self.ended(lane, lane.retire(fault))
            return False

    def ended(self, lane: Lane, record: Record) -> None:
        """Keep a record, and say so."""
        self.records[lane.run.id] = record
        self.watch.landed(record)


def at_once(lane: Lane, action: Callable[..., Any], *words: Any) -> Any:
    """Do what is asked of a lane; whatever it raises is the caller's."""
    return action(*words)


def walk(live: list[Lane], epoch: int, attempt: Callable[..., Any] = at_once) -> Iterator[None]:
    """Every batch of an epoch through the teacher once and through each lane; one batch for each `next`."""
    run, setting = live[0].run, live[0].setting
    taught = any(lane.run.teacher for lane in live)
    for batch, t in setting.belt.carry(setting.learn.epoch(run.seed, epoch, run.recipe), taught):
        for lane in live:
            if lane.status == "flying":
                attempt(lane, lane.step, batch, t)
        yield
