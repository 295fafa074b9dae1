"""Running a suite: check its runs, plan what is missing, train it wave by wave, and list the runs without a result."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
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
from benchmark.sweep.claims import POLL_SECONDS, Claims
from benchmark.sweep.cluster.connect import Footprint, cluster
from benchmark.sweep.cluster.sharing import train_on_cluster, trainable
from benchmark.sweep.cohort import Task, is_free, train_cohort, unanswered
from benchmark.sweep.executors import Executor, dispatch
from benchmark.sweep.failures import failures, record_failed, record_unfit
from benchmark.sweep.limits import Faults
from benchmark.sweep.load import cohorts_for
from benchmark.sweep.options import Options
from benchmark.sweep.schedule import Timings, separate, timings
from benchmark.training.callback import Stopped
from benchmark.waiting import say_if_slow


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of a suite and those that are still to be trained."""

    runs: list[Run]  # all, teachers included
    unfit: dict[str, str]  # id -> why its pair cannot be served
    waves: list[list[list[Run]]]  # cohorts, teachers' first
    attempts: Mapping[str, int] = field(default_factory=dict)  # id of each run -> attempts that had a record before
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
    counts, latest = store.attempts(), store.latest()
    done = {id for id, record in latest.items() if record.status == "done"}  # a process may be killed between the two
    kept = [run.id for run in everyone if run.id in done and store.weights(run.id)]
    answered = {} if options.again else latest
    missing = plan.pending([run for run in runs if run.id not in unfit], answered, kept)
    waves = plan.waves(missing)
    apart = options.executor == "ray"
    waves = separate(waves, options.lanes) if apart else [plan.cohorts(wave, options.lanes) for wave in waves]
    before = {run.id: counts.get(run.id, 0) for run in everyone}
    return Plan(everyone, unfit, waves, before, timings(latest.values()))


def run(runs: Sequence[Run], options: Options) -> list[str]:
    """Train the runs that have no result yet.  Returns a sentence for each run without one, in the suite's order.

    Runs that another process trains in the same folder of results are left to it, and waited for.
    Raises BadInput, before anything is trained, if the device or a data set is missing, and Stopped where a limit of
    the sweep ends it earlier.
    """
    found, store = make_plan(runs, options), Store(options.results)
    if options.executor == "ray" and found.missing:
        with cluster(options) as footprint:
            options = replace(options, device=footprint.device)
            begin(found, store, options)
            train_missing(found, store, options, footprint)
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


def train_missing(found: Plan, store: Store, options: Options, footprint: Footprint | None = None) -> None:
    """Train wave by wave what no other process trains; wait for what others train, and take over what they leave.

    footprint: of a cohort on a Ray cluster, where all waves are submitted together; None: there is no cluster.
    A run whose teacher has no weights is not trained: the teacher's own run has failed.  Raises Stopped.
    """
    before, claims, postponed = found.attempts, Claims(options.results), set()
    waves, faults = [[run for cohort in wave for run in cohort] for wave in found.waves], Faults(store, before)
    while True:
        options.limits.check(faults)
        left, taken = unanswered(waves, before, store), claims.held_ids()
        free = [[run for run in wave if is_free(run, taken | postponed, store)] for wave in left]
        ready = trainable(left, taken, store) if footprint else ready_runs(free, options.processes)
        if ready:
            claims.release_silent(ready)
            if footprint:
                train_on_cluster(ready, found.waves, before, store, options, footprint, claims)
            else:
                train_wave(cohorts_for(ready, options), store, options, before=before)
            still = still_free(ready, before, claims, store)
            postponed |= options.limits.refused(cohorts_for(still, options) if still else [], store, options.device)
            if any(run.id not in postponed for run in still) and not options.limits.reason_to_stop(faults):
                time.sleep(POLL_SECONDS)  # another process held them for a moment
        elif taken & {run.id for wave in left for run in wave}:
            wait_for_others(claims, taken, options)
        else:
            break
    if postponed:
        raise Stopped(f"--budget: {count_of(len(postponed), 'more run')} would not have ended in time")


def still_free(runs: list[Run], before: Mapping[str, int], claims: Claims, store: Store) -> list[Run]:
    """Those of the runs that have got no record and can train, as far as can be seen now."""
    taken = claims.held_ids()  # before the records are read: a run is claimed until it has its record
    return [run for run in unanswered([runs], before, store)[0] if is_free(run, taken, store)]


def ready_runs(free: list[list[Run]], processes: int) -> list[Run]:
    """The runs of the first wave that has any, and where they are fewer than processes, others without a teacher."""
    ready = next(filter(None, free), [])
    plain = [run for wave in free for run in wave if not run.teacher and run not in ready]
    return ready + plain[: max(0, processes - len(ready))]


def wait_for_others(claims: Claims, taken: set[str], options: Options) -> None:
    """Wait until another process gives up a claim or takes one, or the sweep's time is over."""
    if not options.quiet:
        runs = count_of(len(taken), "run")
        print(f"waiting for another process, which trains {runs}; `status` shows more", file=sys.stderr)
    claims.wait_for_change(taken, options.limits.reason_to_stop)


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
    before: id of each run of the sweep -> attempts when it began; None: it begins now.
    """
    counts = store.attempts()
    if before is None:
        before = {run.id: counts.get(run.id, 0) for cohort in cohorts for run in cohort}
    work = [Task(cohort, options, before) for cohort in cohorts]
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
