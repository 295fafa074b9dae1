"""A cohort as a job: claimed, trained, its claims given up, in whichever process it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from benchmark.data import datasets
from benchmark.experiment.run import Run
from benchmark.store import Record, Store, attempt_that_counts
from benchmark.sweep import progress
from benchmark.sweep.claims import Claims
from benchmark.sweep.limits import Faults, Limits
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
    before: Mapping[str, int] = field(default_factory=dict)  # id of each run of the sweep -> attempts when it began
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
        (cohort,) = unanswered([mine], job.before, store)
        try:
            limits.check(Faults(store, job.before))
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
        train(cohort, context, CohortWatch(display, options.limits, claims, Faults(store, job.before)))


# ---- which runs can train
def unanswered(waves: Sequence[Sequence[Run]], before: Mapping[str, int], store: Store) -> list[list[Run]]:
    """The runs of each wave that have got no record since the sweep began; before: id -> attempts then."""
    counts = store.attempts()
    return [[run for run in wave if counts.get(run.id, 0) == before.get(run.id, 0)] for wave in waves]


def is_free(run: Run, taken: Set[str], store: Store) -> bool:
    """Whether a run can train now; a teacher that is still claimed may have weights, and has no record yet."""
    return not taken & {run.id, run.teacher.id if run.teacher else ""} and has_teacher(run, store)


def has_teacher(run: Run, store: Store) -> bool:
    """Whether the store has the weights of the run's teacher; it has none if the teacher's own run has failed."""
    return run.teacher is None or store.weights(run.teacher.id) is not None


# ---- while it trains
class CohortWatch(Callback):
    """Passes the events of a training on to its display, notes them in the claims, and applies the sweep's limits."""

    def __init__(self, display: Callback, limits: Limits, claims: Claims, faults: Faults):
        self.display, self.limits, self.claims, self.faults = display, limits, claims, faults
        self.last_note = 0.0

    def on_epoch_end(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> None:
        self.display.on_epoch_end(lanes, epoch, epochs, rate)
        if time.monotonic() - self.last_note >= NOTE_SECONDS:
            self.claims.note_progress((lane.run for lane in lanes), epoch, epochs)
            self.last_note = time.monotonic()

    def on_run_end(self, record: Record) -> None:
        self.display.on_run_end(record)

    def reason_to_stop(self) -> str:
        return self.limits.reason_to_stop(self.faults)
