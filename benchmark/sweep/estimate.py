"""Estimate of a plan: runs, time and disk.  The time comes from earlier records; without one it is not estimated."""

from __future__ import annotations

import torch

from benchmark import models
from benchmark.acceleration.machine import machine
from benchmark.data import datasets
from benchmark.errors import printable
from benchmark.experiment.run import Run
from benchmark.models.unfilled import Unfilled
from benchmark.report.formatting import count_of
from benchmark.sweep import schedule
from benchmark.sweep.plan import waves
from benchmark.sweep.progress import format_duration, run_label
from benchmark.sweep.runner import Options, Plan
from benchmark.training import model_size
from benchmark.training.provenance import device_name

WORKERS = (1, 2, 4, 8)  # devices for which the time on a cluster is estimated


def describe(plan: Plan, options: Options) -> str:
    """The plan as text: counts of runs, time and disk, then the cohorts of each wave and the runs that are unfit."""
    missing = plan.missing
    finished = len(plan.runs) - len(missing) - len(plan.unfit)
    counts = f"{finished} finished, {len(missing)} to do, {len(plan.unfit)} unfit"
    lines = [f"{count_of(len(plan.runs), 'run')}: {counts}"]
    if missing:
        device = device_name(machine(options.device).device)
        if options.executor == "ray":  # this machine need not be like those that train
            device = schedule.measured_device(missing, plan.timings) or device
        lines.append(time_needed(missing, plan.timings, device))
        lines += filter(None, [scaling(missing, options.lanes, plan.timings, device)])
        lines.append(f"disk: {disk(missing, options) / 1e6:,.0f} MB of weights and logits, not counting checkpoints")
    several = len({run.dataset for run in plan.runs}) > 1
    for number, wave in enumerate(plan.waves, 1):
        for cohort in wave:
            where = f" on {cohort[0].dataset}" if several else ""
            lines.append(f"  wave {number}{where}: {', '.join(map(run_label, cohort))}")
    lines += [f"  unfit: {run_label(run)}: {plan.unfit[run.id]}" for run in plan.runs if run.id in plan.unfit]
    return "\n".join(map(printable, lines))


def time_needed(runs: list[Run], known: schedule.Timings, device: str) -> str:
    """Estimated time with one cohort after another, from earlier runs of the same networks on this device."""
    each = [schedule.run_seconds(run, known, device) for run in runs]
    unknown = each.count(None)
    if unknown == len(each):
        return f"time: not measured yet on {device}"
    rest = f", and {count_of(unknown, 'run')} of networks not measured yet" if unknown else ""
    total = format_duration(sum(seconds for seconds in each if seconds))
    return f"time: about {total} on {device}, from earlier runs{rest}"


def scaling(runs: list[Run], lanes: int, known: schedule.Timings, device: str) -> str:
    """Estimated time of the missing runs with `--executor ray` on 1, 2, 4 and 8 devices, and what bounds it; "" if none
    of their networks was measured on this device.
    """
    cohorts = [cohort for wave in schedule.separate(waves(runs), lanes) for cohort in wave]
    each = [schedule.cohort_seconds(cohort, known, device) for cohort in cohorts]
    if len(cohorts) < 2 or not any(each):
        return ""
    durations, after = [seconds or 0.0 for seconds in each], schedule.dependencies(cohorts)
    times = [format_duration(schedule.makespan(durations, after, workers)) for workers in WORKERS]
    chain = format_duration(max(schedule.longest_paths(durations, after)))
    rest = f"; without {count_of(each.count(None), 'cohort')} with networks not measured yet" if None in each else ""
    counts = ", ".join(map(str, WORKERS))
    return (
        f"time with --executor ray on {counts} devices: {', '.join(times)}; "
        f"never less than {chain}, the longest chain of a teacher and a cohort of its students{rest}"
    )


def disk(runs: list[Run], options: Options) -> float:
    """Bytes that the runs will store: weights, and logits of 10,000 images, in half precision."""
    classes = {name: datasets.info(name, options.data).classes for name in {run.dataset for run in runs}}
    networks = {(run.student, classes[run.dataset]) for run in runs}
    with torch.device("meta"), Unfilled():
        parameters = {network: model_size.count_parameters(models.build(*network)) for network in networks}
    return sum(2 * (parameters[run.student, classes[run.dataset]] + 10_000 * classes[run.dataset]) for run in runs)
