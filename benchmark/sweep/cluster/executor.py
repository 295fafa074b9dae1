"""A sweep on a Ray cluster: cohorts submitted, awaited, their results written.

Every cohort is submitted at the start.  Ray starts the cohort of a student as soon as the task of its own teacher has
ended, and repeats what a lost machine was training.  Results come back as values and are written here, so that the
workers need no folder in common; the code of the suite, plug-in files and the decoded data set are sent to them.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.data import datasets
from benchmark.errors import printable
from benchmark.experiment.run import Run
from benchmark.report.formatting import count_of
from benchmark.store import Store
from benchmark.sweep import schedule
from benchmark.sweep.cluster import parcel as parcels
from benchmark.sweep.cluster import worker
from benchmark.sweep.cluster.connect import Footprint, fits, import_ray, live_nodes
from benchmark.sweep.cluster.parcel import Parcel, weights_name
from benchmark.sweep.cluster.worker import Job
from benchmark.sweep.executors import Fault
from benchmark.sweep.failures import record_failed
from benchmark.sweep.limits import TIME_IS_OVER, Faults
from benchmark.sweep.options import Options
from benchmark.training import provenance
from benchmark.training.callback import Stopped

VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")  # of OpenMP: as in the driver's process
REPEATS = 3  # of a cohort whose machine is lost
PATIENCE = 30.0  # seconds without a result after which the cluster is looked at
CANCEL_SECONDS = 15.0  # for cancelled cohorts to end
EPOCH_SECONDS = 600.0  # for cohorts to end their epoch when the sweep's time is over, before they are cancelled


class Sweep:
    """The cohorts of a sweep on a cluster: submitted, awaited, their results written."""

    def __init__(self, work: Callable[[Any], None], store: Store, options: Options, footprint: Footprint):
        self.ray, self.work, self.store, self.options, self.footprint = import_ray(), work, store, options, footprint
        resources = {"num_cpus": footprint.cpus, "num_gpus": footprint.gpus, "max_retries": REPEATS}
        self.remote = self.ray.remote(**resources, scheduling_strategy="SPREAD")(worker.train)
        self.token = store.checkpoint(f".shared-{uuid.uuid4().hex}")
        self.images: dict[str, Any] = {}  # data set -> reference to its arrays
        self.teachers: dict[str, Any] = {}  # id -> reference to a parcel with its weights
        self.running: dict[Any, Any] = {}  # reference to a parcel -> task, in the order of submission
        self.has_warned = self.was_stopped = False
        stop_at = options.limits.stop_at
        self.limits = replace(options.limits, stop_at=None if stop_at is None else stop_at + EPOCH_SECONDS)

    def train(self, tasks: Sequence[Any]) -> None:
        """Train cohorts; every run whose teacher has weights ends with a record, unless the sweep is stopped.

        tasks: each a cohort with its options (`cohort.Task`), a teacher's before its students'.  Raises Stopped.
        """
        cohorts, records = [task.cohort for task in tasks], list(self.store.latest().values())
        counts = self.store.attempts()
        before = {run.id: counts.get(run.id, 0) for cohort in cohorts for run in cohort}
        self.faults = Faults(self.store, before | tasks[0].before)
        self.awaited = {run.teacher.id for cohort in cohorts for run in cohort if run.teacher}
        lengths = schedule.lengths(cohorts, records)
        self.token.touch()
        try:
            for number in schedule.submission_order(lengths, schedule.dependencies(cohorts)):
                self.submit(tasks[number])
            while self.running:
                self.await_one()
            if self.was_stopped:
                raise Stopped(self.limits.reason_to_stop(self.faults) or TIME_IS_OVER)
        except KeyboardInterrupt:
            for reference in self.running:
                self.ray.cancel(reference)
            self.ray.wait(list(self.running), num_returns=len(self.running), timeout=CANCEL_SECONDS)
            raise
        finally:
            self.token.unlink(missing_ok=True)

    def submit(self, task: Any) -> None:
        """Hand a cohort to Ray, which starts it as soon as the parcel with its teacher is there."""
        teachers = {run.teacher.id: self.teacher(run.teacher) for run in task.cohort if run.teacher}
        reference = self.remote.remote(self.job(task), self.arrays(task.cohort[0]), *teachers.values())
        self.running[reference] = task
        self.teachers |= {run.id: reference for run in task.cohort if run.id in self.awaited}

    def job(self, task: Any) -> Job:
        """A cohort with all that is sent with every cohort: plug-ins, number of threads, time limit."""
        options, ids = self.options, [run.id for run in task.cohort]
        origins = {id: options.origins[id] for id in ids if id in options.origins}
        plugins = [(name, Path(name).read_bytes()) for name in options.plugins if name.endswith(".py")]
        variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        sent = replace(options, results=options.results.resolve(), origins=origins)
        return Job(
            self.work,
            replace(task, options=sent, before={}),
            tuple(plugins),
            variables | {"OMP_NUM_THREADS": str(self.footprint.cpus)},
            time_limit(task.cohort, options),
            options.limits.stop_time,
            self.token.name,
        )

    def arrays(self, run: Run) -> Any:
        """The decoded data set of a run, which is put into the cluster's memory once."""
        if run.dataset not in self.images:
            data = datasets.load_for(run, self.options.data, self.options.download)
            parts = (part.numpy() for part in (data.train_x, data.train_y, data.test_x, data.test_y))
            self.images[run.dataset] = self.ray.put((data.name, data.classes, *parts))
        return self.images[run.dataset]

    def teacher(self, run: Run) -> Any:
        """A parcel with the weights of a teacher: the one that its cohort will return, or one from the store."""
        if run.id not in self.teachers:
            record, path = self.store.latest().get(run.id), self.store.weights(run.id)
            path = self.store.keep_teacher(record) if record else path
            self.teachers[run.id] = self.ray.put(Parcel({weights_name(run.id): path.read_bytes()} if path else {}))
        return self.teachers[run.id]

    # ---- what comes back
    def await_one(self) -> None:
        """Wait for a cohort to end and write its results; now and then see whether the cluster can go on.

        Raises Stopped if cohorts do not end when the sweep's time is over, or a run has failed and none is to follow.
        """
        self.limits.check(self.faults)
        ended, _ = self.ray.wait(list(self.running), num_returns=1, timeout=PATIENCE)
        for reference in ended:
            self.settle(self.running.pop(reference), self.receive(reference))
        if not ended and not self.has_warned and not any(fits(node, self.footprint) for node in live_nodes(self.ray)):
            self.has_warned = True
            print("no machine of the Ray cluster can take a cohort; waiting for one to join it", file=sys.stderr)

    def receive(self, reference: Any) -> Parcel:
        """What a worker returned; where that is no parcel, an empty one that says why."""
        errors = self.ray.exceptions
        try:
            parcel = self.ray.get(reference)
        except errors.RayTaskError as fault:
            message = str(fault.cause).strip().partition("\n")[0]
            return parcels.failed(type(fault.cause).__name__, f"its worker failed: {message}")
        except errors.RayError as fault:  # its text names machines, so that it is shown and not kept
            print(printable(fault), file=sys.stderr)
            lost = f"its worker or machine was lost, at the last of {REPEATS + 1} attempts"
            return parcels.failed(type(fault).__name__, lost)
        if not isinstance(parcel, Parcel):
            return parcels.failed("Rubbish", f"its worker returned {type(parcel).__name__} instead of results")
        return parcel

    def settle(self, task: Any, parcel: Parcel) -> None:
        """Write what came back of a cohort; a record says why for each run without a result.

        If the cohort's process was lost, its runs without a record train again, each alone.  Runs whose teacher has no
        weights, or which a limit has stopped, are not recorded.
        """
        cohort, fault = task.cohort, parcel.fault
        errors = {run.id: self.keep(run, parcel) for run in cohort}
        left = [run for run in cohort if errors[run.id] and (not run.teacher or self.store.weights(run.teacher.id))]
        if left and parcel.stopped:
            self.was_stopped = True
            return
        if left and fault and fault.lost and len(cohort) > 1:
            why = f"cohort of {cohort[0].label}: {fault.error['message']}"
            count = count_of(len(left), "run")
            print(printable(f"{why}; its {count} without a result will be trained again, one by one"), file=sys.stderr)
            for run in left:
                self.submit(replace(task, cohort=[run]))
            return
        for run in left:
            record_failed([run], errors[run.id], self.store, self.options)

    def keep(self, run: Run, parcel: Parcel) -> dict[str, str] | None:
        """Write the result of a run; None, or the error if the parcel has none."""
        try:
            record = parcels.keep(run, parcel, self.store, provenance.commit())
        except ValueError as reason:
            return {"type": "Rubbish", "message": f"its worker returned {reason}"}
        if record is None:
            fault = parcel.fault or Fault({"type": "Failed", "message": "its worker returned no record"})
            return fault.error
        if run.id in self.awaited and record.status == "done":
            self.store.keep_teacher(record)
        return None


def time_limit(cohort: list[Run], options: Options) -> float | None:
    """Seconds after which a cohort is ended; None: never."""
    return None if options.cohort_hours is None else options.cohort_hours * 3600
