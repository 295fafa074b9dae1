"""Cohorts on several workers: how runs are grouped, in which order they are submitted, how long it all takes.

Pure functions.  n cohorts are numbered so that the cohort of a teacher comes before those that learn from it;
`durations` (n) are seconds, or any other measure of length, and `after` (n) the cohorts that each one waits for.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark.experiment.run import Run
from benchmark.store import Record
from benchmark.sweep.plan import cohorts

After = Sequence[Sequence[int]]
Timings = Mapping[tuple[Any, ...], float]  # as `timings` returns them


# ---- from runs to cohorts, their lengths and what they wait for
def separate(waves: Iterable[list[Run]], lanes: int) -> list[list[list[Run]]]:
    """The cohorts of each wave, such that no run waits for a teacher that it does not learn from.

    A teacher that others wait for is alone: teachers share nothing but batches, and on several workers they train at
    the same time.  Runs without a teacher are not in company with runs that have one.
    """
    waves = list(waves)
    awaited = {run.teacher.id for wave in waves for run in wave if run.teacher}
    return [
        [[run] for run in wave if run.id in awaited]
        + cohorts([run for run in wave if run.id not in awaited and not run.teacher], lanes)
        + cohorts([run for run in wave if run.id not in awaited and run.teacher], lanes)
        for wave in waves
    ]


def dependencies(groups: Sequence[list[Run]]) -> list[tuple[int, ...]]:
    """For each cohort the numbers of those that train its teachers; a teacher in none of them is there already."""
    trainer = {run.id: number for number, cohort in enumerate(groups) for run in cohort}
    teachers = ([run.teacher.id for run in cohort if run.teacher] for cohort in groups)
    return [tuple(sorted({trainer[id] for id in ids if id in trainer})) for ids in teachers]


def timings(records: Iterable[Record]) -> Timings:
    """(Data set, student, teacher, device) -> seconds of an epoch, from the newest record that has them.

    A run that trained in a cohort counts for its share: the seconds of an epoch divided by the number of lanes.
    """
    found: dict[tuple[Any, ...], float] = {}
    for record in sorted(records, key=lambda record: str(record.provenance.get("ended") or ""), reverse=True):
        seconds, run, teacher = epoch_seconds(record.clock), record.run, record.run.get("teacher")
        if record.status == "done" and seconds is not None:
            its_teacher = teacher.get("student") if isinstance(teacher, dict) else None
            values = (run.get("dataset"), run.get("student"), its_teacher, record.provenance.get("device"))
            found.setdefault(tuple(value and str(value) for value in values), seconds)
    return found


def epoch_seconds(clock: Mapping[str, Any]) -> float | None:
    """A run's share of an epoch's seconds, from the `clock` of its record; None where that does not say."""
    train, evaluate, lanes, epochs = (clock.get(name) for name in ("train_s", "evaluate_s", "lanes", "epochs"))
    numbers = all(isinstance(value, int | float) for value in (train, evaluate, lanes, epochs))
    return (train / lanes + evaluate) / epochs if numbers and lanes > 0 and epochs > 0 else None


def cohort_seconds(cohort: list[Run], known: Timings, device: str) -> float | None:
    """Estimated seconds of a cohort on one device; None if one of its networks was not measured there."""
    each = [run_seconds(run, known, device) for run in cohort]
    return None if None in each else sum(each)


def run_seconds(run: Run, known: Timings, device: str) -> float | None:
    """Estimated seconds of a run on a device, from runs of the same data set and networks; None without one."""
    seconds = known.get((run.dataset, run.student, run.teacher.student if run.teacher else None, device))
    return None if seconds is None else seconds * run.recipe.epochs


def measured_device(runs: Iterable[Run], known: Timings) -> str:
    """The device on which the most of the runs were measured; "" if none was."""
    runs = list(runs)
    names = sorted({device for *_, device in known if device})
    counts = {name: sum(run_seconds(run, known, name) is not None for run in runs) for name in names}
    best = max(names, key=counts.__getitem__, default="")
    return best if counts.get(best) else ""


def lengths(groups: Sequence[list[Run]], records: Sequence[Record]) -> list[float]:
    """Durations to order cohorts by: seconds if all were measured on one device, otherwise epochs of all their runs."""
    known = timings(records)
    device = measured_device((run for cohort in groups for run in cohort), known)
    seconds = [cohort_seconds(cohort, known, device) for cohort in groups]
    if None in seconds:
        return [float(sum(run.recipe.epochs for run in cohort)) for cohort in groups]
    return seconds


# ---- on workers
def longest_paths(durations: Sequence[float], after: After) -> list[float]:
    """For each cohort the time from its start to the end of the longest chain of cohorts that begins with it."""
    followers = [0.0] * len(durations)
    for number in reversed(range(len(durations))):
        for earlier in after[number]:
            followers[earlier] = max(followers[earlier], durations[number] + followers[number])
    return [duration + rest for duration, rest in zip(durations, followers, strict=True)]


def submission_order(durations: Sequence[float], after: After) -> list[int]:
    """The cohorts, longest path first; a teacher's cohort is always before those that wait for it."""
    paths = longest_paths(durations, after)
    return sorted(range(len(durations)), key=lambda number: (-paths[number], number))


def simulate(durations: Sequence[float], after: After, workers: int) -> list[float]:
    """The start of each cohort on `workers` workers that take cohorts from one queue, as Ray's do.

    A cohort joins the queue as soon as those that it waits for have ended; of those that join at the same time, the
    one submitted first is before the others.
    """
    rank = {number: place for place, number in enumerate(submission_order(durations, after))}
    missing, starts = [len(earlier) for earlier in after], [0.0] * len(durations)
    queue = [(0.0, rank[number], number) for number in rank if not missing[number]]
    heapq.heapify(queue)
    running: list[tuple[float, int]] = []
    now = 0.0
    while queue or running:
        while queue and len(running) < workers:
            number = heapq.heappop(queue)[2]
            starts[number] = now
            heapq.heappush(running, (now + durations[number], number))
        now, ended = heapq.heappop(running)
        for number, earlier in enumerate(after):
            if ended in earlier:
                missing[number] -= 1
                if not missing[number]:
                    heapq.heappush(queue, (now, rank[number], number))
    return starts


def makespan(durations: Sequence[float], after: After, workers: int) -> float:
    """The time from the first start to the last end on `workers` workers."""
    starts = simulate(durations, after, workers)
    return max((start + duration for start, duration in zip(starts, durations, strict=True)), default=0.0)
