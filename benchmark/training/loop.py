"""The training loop: the lanes of a cohort train in lockstep on the same batches, beside one teacher."""

from __future__ import annotations

import sys
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
from benchmark.errors import printable
from benchmark.experiment.run import Run
from benchmark.files import WriteError
from benchmark.store import Record, Store
from benchmark.training import checkpoint, teacher
from benchmark.training.callback import Callback, Stopped
from benchmark.training.context import Context, SharedTensorChanged
from benchmark.training.lane import Lane
from methods import registry


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
    data = data or datasets.load_for(first, root)
    train_split, eval_split = make_splits(data, first.judge, here.device)
    run = next((run.teacher for run in cohort if run.teacher), None)
    before = registry.preactivations_read(run.method for run in cohort)
    frozen = teacher.load(run, store, here, len(data.classes), eval_split, before) if run else None
    return Context(store, here, data, train_split, eval_split, frozen, record_fields or {}, origins or {})


def train(cohort: list[Run], context: Context, callback: Callback | None = None) -> list[Record]:
    """Train runs of one seed, one batch sequence and at most one teacher in lockstep; one record each.

    A lane that raises or diverges ends with a record; the others continue.  If the lanes do not fit into the device's
    memory together, the cohort is halved, and each half starts from its last checkpoints; so do the others if a lane
    has changed what they read.
    Raises an error after which the device cannot be used in this process (`is_sticky`), and WriteError if the store
    cannot be written to; no record is written for these.
    """
    records: dict[str, Record] = {}
    waiting = [cohort]
    while waiting:
        part = waiting.pop(0)
        context.machine.free_memory()  # of the lanes before
        again = train_together(part, context, callback or Callback(), records)
        if len(again) > 1:
            context = context.with_lanes_that_did_not_fit(sum(map(len, again)))
        waiting[:0] = again
    return [records[run.id] for run in cohort]


def train_together(
    cohort: list[Run], context: Context, callback: Callback, records: dict[str, Record]
) -> list[list[Run]]:
    """Train in lockstep, adding to the records; returns the cohorts that have to start again from their checkpoints.

    Two halves of what is left if it does not fit into memory together; all of it if a lane has changed what it reads.
    """
    lanes = Cohort(cohort, context, callback, records)
    try:
        lanes.train()
    except torch.OutOfMemoryError:
        left = [run for run in cohort if run.id not in records]
        if len(left) < 2:
            raise
        return [left[: len(left) // 2], left[len(left) // 2 :]]
    except SharedTensorChanged as fault:
        left = [run for run in cohort if run.id not in records]
        runs = f"{len(left)} other run{'s' * (len(left) != 1)} of the cohort"
        advice = f"{runs} must start again from the last checkpoint"
        print(printable(f"{fault}; {advice}"), file=sys.stderr)
        return [left]
    finally:
        lanes.close()
    return []


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
                self.stop_if_told()

    def stop_if_told(self) -> None:
        """Raises Stopped, after writing checkpoints, if the callback has a reason to stop the lanes that are left."""
        reason = self.callback.reason_to_stop() if self.running else ""
        if reason:
            for lane in self.running:
                checkpoint.save(lane)
            raise Stopped(reason)

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
        """The result of a lane's action; False if it raised, and the lane has ended as failed.

        Raises what is the fault of no lane, or concerns the others: memory, device, disk, a tensor that all read.
        """
        try:
            return action(*args)
        except (Exception, SystemExit) as fault:  # whatever a method does, the other lanes continue
            if isinstance(fault, torch.OutOfMemoryError) and len(self.running) > 1:
                raise
            if isinstance(fault, WriteError) or is_sticky(fault):  # no lane can go on, whoever caused it
                raise
            self.add_record(lane, lane.fail(fault))
            if isinstance(fault, SharedTensorChanged) and self.running:
                raise
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
