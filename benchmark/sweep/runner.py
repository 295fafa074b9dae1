"""The walk from runs to records: vet, plan, train wave by wave, keep teachers, name what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch

from benchmark.acceleration.machine import machine
from benchmark.data import datasets
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.store import Record, Store
from benchmark.sweep import plan, progress
from benchmark.sweep.executors import Executor, dispatch
from benchmark.training import provenance
from benchmark.training.loop import make_context, train
from methods import registry


@dataclass(frozen=True, slots=True)
class Options:
    """How and where to run; plain values, so that it travels to other processes."""

    suite: str
    results: Path
    data: Path
    device: str = "auto"
    lanes: int = 16
    executor: Executor = "here"
    plugins: tuple[str, ...] = ()
    download: bool = False
    quiet: bool = False
    again: bool = False  # repeat what has a record; teachers are kept
    graphs: bool = True  # steps are recorded and replayed where there is CUDA
    suite_changes: tuple[str, ...] = ()  # what the user changed in the suite, as typed
    origins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # id -> where each value comes from

    @property
    def record_fields(self) -> dict[str, Any]:
        """What records keep of all this."""
        return {
            "suite": self.suite,
            "options": list(self.suite_changes),
            "plugins": [Path(plugin).name for plugin in self.plugins],
        }


@dataclass(frozen=True, slots=True)
class Task:
    """One cohort on its way to a process."""

    cohort: list[Run]
    options: Options


@dataclass(frozen=True, slots=True)
class Plan:
    """What a suite still needs."""

    runs: list[Run]  # all, teachers included
    unfit: dict[str, str]  # id -> why its pair cannot be served
    waves: list[list[list[Run]]]  # cohorts, teachers' first

    @property
    def missing(self) -> list[Run]:
        return [run for wave in self.waves for cohort in wave for run in cohort]


def make_plan(runs: Sequence[Run], options: Options) -> Plan:
    """Check everything that can be checked without training; say what is left to do.  Raises BadInput."""
    if options.executor not in get_args(Executor):
        raise BadInput(f"--executor is {' or '.join(get_args(Executor))}, not {options.executor!r}")
    store, everyone = Store(options.results), plan.with_teachers(runs)
    unfit = plan.check_runs(
        runs, {name: datasets.info(name, options.data) for name in sorted({run.dataset for run in everyone})}
    )
    kept = [run.id for run in everyone if store.weights(run.id)]
    answered = {} if options.again else store.latest()
    missing = plan.pending([run for run in runs if run.id not in unfit], answered, kept)
    waves = [plan.cohorts(wave, options.lanes) for wave in plan.waves(missing)]
    return Plan(everyone, unfit, waves)


def run(runs: Sequence[Run], options: Options) -> list[str]:
    """Do what is missing.  Returns a sentence for each run of the suite that has no result, in the suite's order."""
    found, store = make_plan(runs, options), Store(options.results)
    machine(options.device)  # a device that is not there is said before anything is done
    for name in sorted({run.dataset for run in found.missing}):
        datasets.load(name, options.data, options.download)
    store.keep_plan([run.model_dump(mode="json") for run in found.runs] if found.missing else [])
    record_unfit(found, store, options)
    for wave in found.waves:
        ready = [cohort for cohort in wave if has_teacher(cohort, store)]
        jobs = [Task(cohort, options) for cohort in ready]
        before = store.latest()
        for cohort, fault in zip(ready, dispatch(train_cohort, jobs, options.executor, devices(options)), strict=True):
            if fault:
                record_failed(cohort, fault, before, store, options)
    store.keep_plan([])
    return failures(found, store)


def train_cohort(job: Task) -> None:
    """Train one cohort, here or in a process of its own."""
    cohort, options = job.cohort, job.options
    provenance.commit()  # of the code that was loaded, not of what lies there hours later
    registry.load_installed()
    for plugin in options.plugins:
        registry.load(plugin)
    store = Store(options.results)
    latest = store.latest()
    for teacher in {run.teacher.id for run in cohort if run.teacher}:
        if teacher in latest:
            store.keep_teacher(latest[teacher])
    context = make_context(
        cohort, store, options.data, options.device, options.record_fields, options.origins, options.graphs
    )
    with progress.progress_display(cohort, options.quiet) as watch:
        train(cohort, context, watch)


def devices(options: Options) -> list[str]:
    """The CUDA devices to use, by number; [""] where there is none."""
    count = torch.cuda.device_count() if options.device != "cpu" else 0
    return [str(number) for number in range(count)] or [""]


def has_teacher(cohort: list[Run], store: Store) -> bool:
    """Whether what the cohort learns from is there; it is not where a teacher's own run has failed."""
    return all(run.teacher is None or store.weights(run.teacher.id) for run in cohort)


def record_unfit(found: Plan, store: Store, options: Options) -> None:
    """Records of the runs that cannot be: the report shows why."""
    latest = store.latest()
    for run in found.runs:
        if run.id in found.unfit and run.id not in latest:
            store.add(minimal_record(run, "unfit", "Unfit", found.unfit[run.id], options))


def record_failed(cohort: list[Run], fault: str, before: dict[str, Record], store: Store, options: Options) -> None:
    """Records of the runs that a dead process left without one."""
    latest = store.latest()
    for run in cohort:
        if latest.get(run.id) == before.get(run.id):
            store.add(minimal_record(run, "failed", "Failed", fault, options))


def minimal_record(run: Run, status: str, kind: str, message: str, options: Options) -> Record:
    """The record of a run that was never built."""
    return Record(
        id=run.id,
        status=status,
        run=run.model_dump(mode="json"),
        provenance=provenance.commit()
        | provenance.versions()
        | options.record_fields
        | {"origin": options.origins.get(run.id, {}), "ended": provenance.now()},
        about=registry.about(run.method),
        error={"type": kind, "message": message},
    )


def failures(found: Plan, store: Store) -> list[str]:
    """A sentence for each run without a result, except for pairs that a method cannot serve."""
    latest, sentences = store.latest(), []
    for run in found.runs:
        record = latest.get(run.id)
        if record is None or record.status in ("failed", "diverged"):
            status = record.status if record else "not run"
            reason = record.error["message"] if record else "its teacher has no weights"
            sentences.append(f"{run.label} ({run.id}): {status}: {reason}")
    return sentences
