"""Running a suite: check its runs, plan what is missing, train it wave by wave, and list the runs without a result."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import torch

from benchmark.acceleration.device import visible_devices
from benchmark.acceleration.machine import machine
from benchmark.data import datasets
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.store import Store
from benchmark.sweep import plan, progress
from benchmark.sweep.cluster.connect import cluster
from benchmark.sweep.cluster.executor import Sweep
from benchmark.sweep.executors import Executor, dispatch
from benchmark.sweep.failures import failures, record_failed, record_unfit
from benchmark.sweep.options import Options
from benchmark.sweep.schedule import separate
from benchmark.training import provenance
from benchmark.training.loop import make_context, train
from methods import registry


@dataclass(frozen=True, slots=True)
class Task:
    """A cohort and how to train it, as sent to another process."""

    cohort: list[Run]
    options: Options
    images: tuple | None = None  # arguments of `make_dataset`; None: the data set is read from the user's folder


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of a suite and those that are still to be trained."""

    runs: list[Run]  # all, teachers included
    unfit: dict[str, str]  # id -> why its pair cannot be served
    waves: list[list[list[Run]]]  # cohorts, teachers' first

    @property
    def missing(self) -> list[Run]:
        return [run for wave in self.waves for cohort in wave for run in cohort]


def make_plan(runs: Sequence[Run], options: Options) -> Plan:
    """Check everything that can be checked without training, and find the runs without a result.  Raises BadInput."""
    if options.executor not in get_args(Executor):
        raise BadInput(f"--executor is {' or '.join(get_args(Executor))}, not {options.executor!r}")
    store, everyone = Store(options.results), plan.with_teachers(runs)
    unfit = plan.check_runs(
        runs, {name: datasets.info(name, options.data) for name in sorted({run.dataset for run in everyone})}
    )
    kept = [run.id for run in everyone if store.weights(run.id)]
    answered = {} if options.again else store.latest()
    missing = plan.pending([run for run in runs if run.id not in unfit], answered, kept)
    waves = plan.waves(missing)
    apart = options.executor == "ray"
    waves = separate(waves, options.lanes) if apart else [plan.cohorts(wave, options.lanes) for wave in waves]
    return Plan(everyone, unfit, waves)


def run(runs: Sequence[Run], options: Options) -> list[str]:
    """Train the runs that have no result yet.  Returns a sentence for each run without one, in the suite's order.

    Raises BadInput, before anything is trained, if the device or a data set is missing.
    """
    found, store = make_plan(runs, options), Store(options.results)
    if options.executor == "ray" and found.missing:
        with cluster(options) as footprint:
            options = replace(options, device=footprint.device)
            begin(found, store, options)
            tasks = [Task(cohort, options) for wave in found.waves for cohort in wave]
            Sweep(train_cohort, store, options, footprint).train(tasks)
    else:
        options = replace(options, device=machine(options.device).device.type)  # a GPU lost later is not replaced
        begin(found, store, options)
        for wave in found.waves:
            train_wave([cohort for cohort in wave if has_teacher(cohort, store)], store, options)
    store.keep_plan([])
    return failures(found.runs, store)


def begin(found: Plan, store: Store, options: Options) -> None:
    """Load the data sets, and write what is known before training: the plan, and the runs that are unfit."""
    for name in sorted({run.dataset for run in found.missing}):
        datasets.load(name, options.data, options.download)
    store.keep_plan([run.model_dump(mode="json") for run in found.runs] if found.missing else [])
    record_unfit(found.runs, found.unfit, store, options)


def train_wave(cohorts: Sequence[list[Run]], store: Store, options: Options, alone: bool = False) -> None:
    """Train cohorts that do not depend on each other; every run ends with a record.

    alone: each in a process of its own, on a CPU too.  If a cohort's process dies or can no longer use its device, it
    is unknown whose fault that was.  Its runs are then trained again from their checkpoints, each alone: the run that
    fails again gets the record, and the others get their results.
    """
    before = attempts(store)
    work = [Task(cohort, options) for cohort in cohorts]
    faults = dispatch(train_cohort, work, "spawn" if alone else options.executor, devices(options))
    after, again = attempts(store), []
    for cohort, fault in zip(cohorts, faults, strict=True):
        left = [run for run in cohort if fault and after.get(run.id) == before.get(run.id)]
        if left and fault.lost and len(cohort) > 1:
            again += [[run] for run in left]
            why = f"cohort of {cohort[0].label}: {fault.error['message']}"
            print(f"{why}; its {len(left)} runs without a result train again, one by one", file=sys.stderr)
        elif left:
            record_failed(left, fault.error, store, options)
    if again:
        train_wave(again, store, options, alone=True)


def attempts(store: Store) -> dict[str, int]:
    """id -> the number of the latest attempt that has a record."""
    found: dict[str, int] = {}
    for record in store.records():
        if record.kind == "run":
            found[record.id] = max(record.attempt, found.get(record.id, 0))
    return found


def train_cohort(job: Task) -> None:
    """Train one cohort, in the process that calls this."""
    cohort, options = job.cohort, job.options
    provenance.commit()  # now: the code that is loaded, not the files as they are hours later
    registry.load_installed()
    for plugin in options.plugins:
        registry.load(plugin)
    store = Store(options.results)
    latest = store.latest()
    for teacher in {run.teacher.id for run in cohort if run.teacher}:
        if teacher in latest:
            store.keep_teacher(latest[teacher])
    data = datasets.make_dataset(*job.images) if job.images else None
    context = make_context(
        cohort, store, options.data, options.device, options.record_fields, options.origins, options.graphs, data
    )
    with progress.progress_display(cohort, options.quiet) as watch:
        train(cohort, context, watch)


def devices(options: Options) -> list[str]:
    """The CUDA devices to use, as CUDA_VISIBLE_DEVICES names them: the first, or with `spawn` all; [""] on a CPU."""
    count = torch.cuda.device_count() if options.device != "cpu" else 0
    return visible_devices(count if options.executor == "spawn" else min(count, 1)) or [""]


def has_teacher(cohort: list[Run], store: Store) -> bool:
    """Whether the store has the weights of the cohort's teacher; it has none if the teacher's own run has failed."""
    return all(run.teacher is None or store.weights(run.teacher.id) for run in cohort)
