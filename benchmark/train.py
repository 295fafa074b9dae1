"""The loop: a cohort of lanes over shared batches and one teacher."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmark import datasets, teacher
from benchmark.accelerate import machine
from benchmark.data import splits
from benchmark.lane import Lane, Setting
from benchmark.run import Run
from benchmark.store import Record, Store


def settle(
    cohort: list[Run],
    store: Store,
    root: Path,
    device: str = "auto",
    words: Mapping[str, Any] | None = None,
    origins: Mapping[str, Mapping[str, str]] | None = None,
) -> Setting:
    """What the lanes of a cohort share: data on the device, the teacher from its kept file.  Raises BadInput.

    words: what the user said; origins: id -> where each value comes from; both for the records.
    """
    first = cohort[0]
    here = machine(device, first.recipe.precision)
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

    A lane that raises or diverges retires with a record; the others go on.
    """
    watch, records = watch or Watch(), {}

    def ended(lane: Lane, record: Record) -> None:
        records[lane.run.id] = record
        watch.landed(record)

    def attempt(lane: Lane, action: Callable[..., Any], *words: Any) -> Any:
        try:
            return action(*words)
        except Exception as fault:  # noqa: BLE001  whatever a method does, the other lanes fly on
            ended(lane, lane.retire(fault))
            return False

    lanes = [Lane(run, setting) for run in cohort]
    for lane in lanes:
        attempt(lane, lane.board)
    lanes = [lane for lane in lanes if lane.status == "flying"]
    last = max((lane.epochs for lane in lanes), default=0)
    for epoch in range(min((lane.epoch for lane in lanes), default=0), last):
        live = [lane for lane in lanes if lane.status == "flying" and attempt(lane, lane.begin_epoch, epoch)]
        if not live:
            continue
        seconds = one_epoch(live, setting, cohort[0], epoch, attempt)
        for lane in live:
            if lane.status == "flying":
                attempt(lane, lane.end_epoch, seconds, len(live))
        watch.epoch(lanes, epoch + 1, last, len(setting.learn) / seconds)
        for lane in live:
            if lane.status == "flying" and lane.epoch == lane.epochs:
                record = attempt(lane, lane.land)
                if record:
                    ended(lane, record)
    return [records[run.id] for run in cohort]


def one_epoch(live: list[Lane], setting: Setting, run: Run, epoch: int, attempt: Callable[..., Any]) -> float:
    """Every batch of an epoch through the teacher once and through each lane.  Returns seconds."""
    started = time.perf_counter()
    taught = any(lane.run.teacher for lane in live)
    for batch in setting.learn.epoch(run.seed, epoch, run.recipe):
        t = setting.teacher.look(batch.x) if taught else None
        for lane in live:
            if lane.status == "flying":
                attempt(lane, lane.step, batch, t)
    if setting.machine.device.type == "cuda":
        torch.cuda.synchronize(setting.machine.device)
    return time.perf_counter() - started
