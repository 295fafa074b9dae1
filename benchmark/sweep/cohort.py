"""A cohort as a job: claimed, trained, its claims given up, in whichever process it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmark.data import datasets
from benchmark.experiment.run import Run
from benchmark.store import Record, Store, attempt_that_counts
from benchmark.sweep import progress
from benchmark.sweep.claims import Claims
from benchmark.sweep.options import Options
from benchmark.training import provenance
from benchmark.training.callback import Callback, Stopped
from benchmark.training.lane import Lane
from benchmark.training.loop import make_context, train
from methods import registry

NOTE_SECONDS = 5.0  # between two notes of progress, at least


@dataclass(frozen=True, slots=True)
class Task:
    """A cohort and how to train it, as sent to another process."""

    cohort: list[Run]
    options: Options
    before: Mapping[str, int] = field(default_factory=dict)  # id -> attempts when the sweep began
    images: tuple | None = None  # arguments of `make_dataset`; None: the data set is read from the user's folder


def train_cohort(job: Task) -> None:
    """Train the runs of a cohort that no other process trains or has trained since the sweep began.

    Returns without training if the sweep's limits say so; a cohort that they stop keeps its checkpoints.
    """
    provenance.commit()  # now: the code that is loaded, not the files as they are hours later
    registry.load_installed()
    for plugin in job.options.plugins:
        registry.load(plugin)
    store, claims, limits = Store(job.options.results), Claims(job.options.results), job.options.limits
    with claims.take(job.cohort) as mine:
        counts = store.attempts()
        cohort = [run for run in mine if counts.get(run.id, 0) == job.before.get(run.id, 0)]
        try:
            limits.check(store, job.before)
            if cohort and limits.allow(cohort, store, job.options.device):
                train_claimed(cohort, job, store, claims)
        except Stopped:  # the process that leads the sweep sees it too
            return


def train_claimed(cohort: list[Run], job: Task, store: Store, claims: Claims) -> None:
    """Train runs whose claims this process holds."""
    options = job.options
    for teacher in {run.teacher.id for run in cohort if run.teacher}:
        if attempts := [record for record in store.records_of(teacher) if record.kind == "run"]:
            store.keep_teacher(attempt_that_counts(attempts))
    data = datasets.make_dataset(*job.images) if job.images else None
    context = make_context(
        cohort, store, options.data, options.device, options.record_fields, options.origins, options.graphs, data
    )
    with progress.progress_display(cohort, options.quiet) as display:
        train(cohort, context, CohortWatch(display, options, claims))


class CohortWatch(Callback):
    """Passes the events of a training on to its display, notes them in the claims, and applies the sweep's limits."""

    def __init__(self, display: Callback, options: Options, claims: Claims):
        self.display, self.options, self.claims = display, options, claims
        self.ended: list[Record] = []
        self.last_note = 0.0

    def on_epoch_end(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> None:
        self.display.on_epoch_end(lanes, epoch, epochs, rate)
        if time.monotonic() - self.last_note >= NOTE_SECONDS:
            self.claims.note_progress((lane.run for lane in lanes), epoch, epochs)
            self.last_note = time.monotonic()

    def on_run_end(self, record: Record) -> None:
        self.display.on_run_end(record)
        self.ended.append(record)

    def reason_to_stop(self) -> str:
        return self.options.limits.reason_to_stop(self.ended)
