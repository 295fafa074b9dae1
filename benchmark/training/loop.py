"""The training loop: the lanes of a cohort train in lockstep on the same batches, beside one teacher."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmark.acceleration.device import is_sticky, synchronize
from benchmark.acceleration.machine import machine
from benchmark.data import datasets
from benchmark.data.datasets import Dataset
from benchmark.data.split import make_splits
from benchmark.experiment.run import Run
from benchmark.store import Record, Store
from benchmark.training import teacher
from benchmark.training.context import Context
from benchmark.training.lane import Lane


def make_context(
    cohort: list[Run],
    store: Store,
    root: Path,
    device: str = "auto",
    record_fields: Mapping[str, Any] | None = None,
    origins: Mapping[str, Mapping[str, str]] | None = None,
    graphs: bool = True,
    data: Dataset | None = None,
) -> Context:
    """What the lanes of a cohort share: data on the device, the teacher from its stored weights.  Raises BadInput.

    record_fields: suite, options and plug-ins, for the records; origins: id -> where each value comes from; data: the
    data set, where it is not read from the folder `root`.
    """
    first = cohort[0]
    here = machine(device, first.recipe.precision, graphs)
    data = data or datasets.load(first.dataset, root)
    train_split, eval_split = make_splits(data, first.judge, here.device)
    run = next((run.teacher for run in cohort if run.teacher), None)
    frozen = teacher.load(run, store, here, len(data.classes), eval_split) if run else None
    return Context(store, here, data, train_split, eval_split, frozen, record_fields or {}, origins or {})


class Callback:
    """Receives the events of a training.  This one ignores them."""

    def on_epoch_end(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> None:
        """Called after epoch number `epoch` of `epochs`; rate: images per second of each lane."""

    def on_run_end(self, record: Record) -> None:
        """Called when a run has ended, with a result or without."""


def train(cohort: list[Run], context: Context, callback: Callback | None = None) -> list[Record]:
    """Train runs of one seed, one batch sequence and at most one teacher in lockstep; one record each.

    A lane that raises or diverges ends with a record; the others continue.  If the lanes do not fit into the device's
    memory together, the cohort is halved, and each half starts from its last checkpoints.
    Raises an error after which the device cannot be used in this process (`is_sticky`); no record is written for it.
    """
    records: dict[str, Record] = {}
    waiting = [cohort]
    while waiting:
        part = waiting.pop(0)
        context.machine.free_memory()  # of the lanes before
        if train_together(part, context, callback or Callback(), records):
            continue
        left = [run for run in part if run.id not in records]
        waiting[:0] = [left[: len(left) // 2], left[len(left) // 2 :]]
        context = context.with_lanes_that_did_not_fit(len(left))
    return [records[run.id] for run in cohort]


def train_together(cohort: list[Run], context: Context, callback: Callback, records: dict[str, Record]) -> bool:
    """Train in lockstep, adding to the records; False if the remaining lanes do not fit into memory together."""
    lanes = Cohort(cohort, context, callback, records)
    try:
        lanes.train()
    except torch.OutOfMemoryError:
        if sum(run.id not in records for run in cohort) < 2:
            raise
        return False
    finally:
        lanes.close()
    return True


class Cohort:
    """Runs that train in lockstep over shared batches and one teacher."""

    def __init__(self, cohort: list[Run], context: Context, callback: Callback, records: dict[str, Record]):
        self.context, self.callback, self.records = context, callback, records
        self.lanes = [Lane(run, context) for run in cohort]

    @property
    def running(self) -> list[Lane]:
        """The lanes that have not ended."""
        return [lane for lane in self.lanes if lane.status == "running"]

    def train(self) -> None:
        """Train every lane to its end.  Raises OutOfMemoryError if several lanes are still running."""
        for lane in self.lanes:
            self.attempt(lane, lane.setup)
        last = max((lane.epochs for lane in self.running), default=0)
        for epoch in range(min((lane.epoch for lane in self.running), default=0), last):
            live = [lane for lane in self.running if self.attempt(lane, lane.begin_epoch, epoch)]
            if live:
                self.train_epoch(live, epoch, last)

    def train_epoch(self, live: list[Lane], epoch: int, last: int) -> None:
        """Train the lanes `live` for one epoch; those whose last epoch it was finish."""
        started = time.perf_counter()
        for _ in steps(live, epoch, self.attempt):
            pass
        synchronize(self.context.machine.device)
        seconds = time.perf_counter() - started
        for lane in live:
            if lane.status == "running":
                self.attempt(lane, lane.end_epoch, seconds, len(live))
        self.callback.on_epoch_end(self.lanes, epoch + 1, last, len(self.context.train_split) / seconds)
        for lane in live:
            if lane.status == "running" and lane.epoch == lane.epochs:
                record = self.attempt(lane, lane.finish)
                if record:
                    self.add_record(lane, record)

    def attempt(self, lane: Lane, action: Callable[..., Any], *args: Any) -> Any:
        """The result of a lane's action; False if it raised, and the lane has ended as failed."""
        try:
            return action(*args)
        except Exception as fault:  # whatever a method does, the other lanes continue
            if isinstance(fault, torch.OutOfMemoryError) and len(self.running) > 1:
                raise
            if is_sticky(fault):  # no lane can go on in this process, and any of them may have caused it
                raise
            self.add_record(lane, lane.fail(fault))
            return False

    def add_record(self, lane: Lane, record: Record) -> None:
        """Keep the record of a run that has ended, close its lane, and report it."""
        self.records[lane.run.id] = record
        lane.close()
        self.callback.on_run_end(record)

    def close(self) -> None:
        """Close every lane."""
        for lane in self.lanes:
            lane.close()


def call(lane: Lane, action: Callable[..., Any], *args: Any) -> Any:
    """Call a lane's action; exceptions propagate."""
    return action(*args)


def steps(live: list[Lane], epoch: int, attempt: Callable[..., Any] = call) -> Iterator[None]:
    """Train lanes for an epoch, one step of each lane per `next`; the teacher's outputs are computed once for all."""
    run, context = live[0].run, live[0].context
    taught = any(lane.run.teacher for lane in live)
    for batch, t in context.feed.batches(context.train_split.epoch(run.seed, epoch, run.recipe), taught):
        for lane in live:
            if lane.status == "running":
                attempt(lane, lane.step, batch, t)
        yield
