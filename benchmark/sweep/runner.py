"""Running a suite: check its runs, plan what is missing, train it wave by wave, and list the runs without a result."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import get_args

import torch

from benchmark.acceleration.device import visible_devices
from benchmark.acceleration.machine import machine
from benchmark.data import datasets
from benchmark.errors import BadInput, printable
from benchmark.experiment.run import Run
from benchmark.report.formatting import count_of
from benchmark.store import Store
from benchmark.sweep import plan
from benchmark.sweep.claims import Claims
from benchmark.sweep.cluster.connect import cluster
from benchmark.sweep.cluster.executor import Sweep
from benchmark.sweep.cohort import Task, train_cohort
from benchmark.sweep.executors import Executor, dispatch
from benchmark.sweep.failures import failures, record_failed, record_unfit
from benchmark.sweep.load import cohorts_for
from benchmark.sweep.options import Options
from benchmark.sweep.schedule import Timings, separate, timings
from benchmark.training.callback import Stopped
from benchmark.waiting import say_if_slow

POLL_SECONDS = 2.0  # between two looks at what other processes train


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of a suite and those that are still to be trained."""

    runs: list[Run]  # all, teachers included
    unfit: dict[str, str]  # id -> why its pair cannot be served
    waves: list[list[list[Run]]]  # cohorts, teachers' first
    attempts: Mapping[str, int] = field(default_factory=dict)  # id -> attempts that had a record before
    timings: Timings = field(default_factory=dict)  # of earlier runs

    @property
    def missing(self) -> list[Run]:
        return [run for wave in self.waves for cohort in wave for run in cohort]


def make_plan(runs: Sequence[Run], options: Options) -> Plan:
    """Check everything that can be checked without training, and find the runs without a result.  Raises BadInput."""
    if options.executor not in get_args(Executor):
        raise BadInput(f"--executor is {' or '.join(get_args(Executor))}, not {options.executor!r}")
    store, everyone = Store(options.results), plan.with_teachers(runs)
    infos = {name: datasets.info(name, options.data) for name in sorted({run.dataset for run in everyone})}
    with say_if_slow("checking networks and methods"):
        unfit = plan.check_runs(runs, infos)
    before, latest = store.attempts(), store.latest()
    done = {id for id, record in latest.items() if record.status == "done"}  # a process may be killed between the two
    kept = [run.id for run in everyone if run.id in done and store.weights(run.id)]
    answered = {} if options.again else latest
    missing = plan.pending([run for run in runs if run.id not in unfit], answered, kept)
    waves = plan.waves(missing)
    apart = options.executor == "ray"
    waves = separate(waves, options.lanes) if apart else [plan.cohorts(wave, options.lanes) for wave in waves]
    return Plan(everyone, unfit, waves, before, timings(latest.values()))


def run(runs: Sequence[Run], options: Options) -> list[str]:
    """Train the runs that have no result yet.  Returns a sentence for each run without one, in the suite's order.

    Runs that another process trains in the same folder of results are left to it, and waited for.
    Raises BadInput, before anything is trained, if the device or a data set is missing, and Stopped where a limit of
    the sweep ends it earlier.
    """
    found, store = make_plan(runs, options), Store(options.results)
    if options.executor == "ray" and found.missing:
        with cluster(options) as footprint, Claims(options.results).take(found.missing) as mine:
            options = replace(options, device=footprint.device)
            begin(found, store, options)
            parts = [[run for run in cohort if run in mine] for wave in found.waves for cohort in wave]
            Sweep(train_cohort, store, options, footprint).train([Task(part, options) for part in parts if part])
    else:
        options = replace(options, device=machine(options.device).device.type)  # a GPU lost later is not replaced
        begin(found, store, options)
        train_missing(found, store, options)
    if not Claims(options.results).held():
        store.keep_plan([])
    return failures(found.runs, store)


def begin(found: Plan, store: Store, options: Options) -> None:
    """Load the data sets, and write what is known before training: the plan, and the runs that are unfit."""
    for one in {run.dataset: run for run in found.missing}.values():
        with say_if_slow(f"reading {one.dataset}"):
            datasets.load_for(one, options.data, options.download)
    store.keep_plan([run.model_dump(mode="json") for run in found.runs] if found.missing else [])
    record_unfit(found.runs, found.unfit, store, options)


def train_missing(found: Plan, store: Store, options: Options) -> None:
    """Train wave by wave what no other process trains; wait for what others train, and take over what they leave.

    A run whose teacher has no weights is not trained: the teacher's own run has failed.  Raises Stopped.
    """
    before, claims, postponed = found.attempts, Claims(options.results), set()
    while True:
        options.limits.check(store, before)
        left, taken = unanswered(found, store), claims.held_ids()
        free = [[r for r in wave if is_free(r, taken | postponed, store)] for wave in left]
        ready = ready_runs(free, options.processes)
        if ready:
            train_wave(cohorts_for(ready, options), store, options, before=before)
            taken = claims.held_ids()  # before the records are read: a run is claimed until it has its record
            still = {run.id for wave in unanswered(found, store) for run in wave} - taken
            postponed |= still & {run.id for run in ready}
        elif taken & {run.id for wave in left for run in wave}:
            wait_for_change(claims, taken, options)
        else:
            break
    options.limits.check(store, before)
    if postponed:
        raise Stopped(f"--budget: {len(postponed)} more runs would not have ended in time")


def ready_runs(free: list[list[Run]], processes: int) -> list[Run]:
    """The runs of the first wave that has any, and where they are fewer than processes, others without a teacher."""
    ready = next(filter(None, free), [])
    plain = [run for wave in free for run in wave if not run.teacher and run not in ready]
    return ready + plain[: max(0, processes - len(ready))]


def unanswered(found: Plan, store: Store) -> list[list[Run]]:
    """The missing runs of each wave that have got no record since the plan was made."""
    counts = store.attempts()
    runs = [[run for cohort in wave for run in cohort] for wave in found.waves]
    return [[run for run in wave if counts.get(run.id, 0) == found.attempts.get(run.id, 0)] for wave in runs]


def wait_for_change(claims: Claims, taken: set[str], options: Options) -> None:
    """Wait until another process gives up a claim or takes one, or the sweep's time is over."""
    if not options.quiet:
        runs = f"{len(taken)} run{'' if len(taken) == 1 else 's'}"
        print(f"waiting for another process, which trains {runs}; `status` shows more", file=sys.stderr)
    while claims.held_ids() == taken and not options.limits.reason_to_stop():
        time.sleep(POLL_SECONDS)


def train_wave(
    cohorts: Sequence[list[Run]],
    store: Store,
    options: Options,
    alone: bool = False,
    before: Mapping[str, int] | None = None,
) -> None:
    """Train cohorts that do not depend on each other; every run of theirs that is free to train ends with a record.

    alone: each in a process of its own, on a CPU too.  If a cohort's process dies or can no longer use its device, it
    is unknown whose fault that was.  Its runs are then trained again from their checkpoints, each alone: the run that
    fails again gets the record, and the others get their results.
    before: id -> attempts when the sweep began; None: it begins now.
    """
    counts = store.attempts()
    work = [Task(cohort, options, counts if before is None else before) for cohort in cohorts]
    faults = dispatch(train_cohort, work, "spawn" if alone else options.executor, devices(options))
    after, again, taken = store.attempts(), [], Claims(options.results).held_ids()
    for cohort, fault in zip(cohorts, faults, strict=True):
        left = [run for run in cohort if fault and after.get(run.id) == counts.get(run.id) and run.id not in taken]
        if left and fault.lost and len(cohort) > 1:
            again += [[run] for run in left]
            why = f"cohort of {cohort[0].label}: {fault.error['message']}"
            count = count_of(len(left), "run")
            print(printable(f"{why}; its {count} without a result will be trained again, one by one"), file=sys.stderr)
        elif left:
            record_failed(left, fault.error, store, options)
    if again:
        train_wave(again, store, options, alone=True, before=before)


def devices(options: Options) -> list[str]:
    """The CUDA devices to use, as CUDA_VISIBLE_DEVICES names them: the first, or with `spawn` all.

    On a CPU "" for each process.
    """
    if options.processes:
        return [""] * options.processes
    count = torch.cuda.device_count() if options.device != "cpu" else 0
    return visible_devices(count if options.executor == "spawn" else min(count, 1)) or [""]


def is_free(run: Run, taken: Set[str], store: Store) -> bool:
    """Whether a run can train now; a teacher that is still claimed may have weights, and has no record yet."""
    return not taken & {run.id, run.teacher.id if run.teacher else ""} and has_teacher(run, store)


def has_teacher(run: Run, store: Store) -> bool:
    """Whether the store has the weights of the run's teacher; it has none if the teacher's own run has failed."""
    return run.teacher is None or store.weights(run.teacher.id) is not None
