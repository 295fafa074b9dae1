"""Estimate of a plan: runs, time and disk.  The time comes from earlier records; without one it is not estimated."""

from __future__ import annotations

import torch

from benchmark import models
from benchmark.acceleration.machine import machine
from benchmark.data import datasets
from benchmark.experiment.run import Run
from benchmark.store import Record, Store
from benchmark.sweep.progress import format_duration
from benchmark.sweep.runner import Options, Plan
from benchmark.training import model_size
from benchmark.training.provenance import device_name


def describe(plan: Plan, options: Options) -> str:
    """The plan as text: counts of runs, the cohorts of each wave, time and disk."""
    store, missing = Store(options.results), plan.missing
    latest = store.latest()
    finished = len(plan.runs) - len(missing) - len(plan.unfit)
    lines = [f"{len(plan.runs)} runs: {finished} finished, {len(missing)} to do, {len(plan.unfit)} unfit"]
    several = len({run.dataset for run in plan.runs}) > 1
    for number, wave in enumerate(plan.waves, 1):
        for cohort in wave:
            where = f" on {cohort[0].dataset}" if several else ""
            lines.append(f"  wave {number}{where}: {', '.join(run.label for run in cohort)}")
    lines += [f"  unfit: {run.label}: {plan.unfit[run.id]}" for run in plan.runs if run.id in plan.unfit]
    if missing:
        lines.append(time_needed(plan, list(latest.values()), device_name(machine(options.device).device)))
        lines.append(f"disk: {disk(missing, options) / 1e6:,.0f} MB of weights and logits, not counting checkpoints")
    return "\n".join(lines)


def time_needed(plan: Plan, records: list[Record], device: str) -> str:
    """Estimated time with one cohort after another, from earlier runs of the same networks on this device."""
    known, unknown = 0.0, 0
    for wave in plan.waves:
        for cohort in wave:
            each = [run_seconds(run, records, device) for run in cohort]
            unknown += each.count(None)
            known += sum(seconds for seconds in each if seconds)
    if not known:
        return f"time: not measured yet on {device}"
    rest = f", and {unknown} runs of networks not measured yet" if unknown else ""
    return f"time: about {format_duration(known)} on {device}, from earlier runs{rest}"


def run_seconds(run: Run, records: list[Record], device: str) -> float | None:
    """Estimated seconds of a run, from the newest record with the same data set, networks and device; None without one.

    A run that trained in a cohort counts for its share: the seconds of an epoch divided by the number of lanes.
    """
    teacher = run.teacher.student if run.teacher else None
    for record in sorted(records, key=lambda r: r.provenance.get("ended") or "", reverse=True):
        earlier, time = record.run, record.clock
        its_teacher = earlier["teacher"]["student"] if earlier["teacher"] else None
        same = (earlier["dataset"], earlier["student"], its_teacher) == (run.dataset, run.student, teacher)
        if same and record.status == "done" and record.provenance.get("device") == device and time.get("lanes"):
            return (time["train_s"] / time["lanes"] + time["evaluate_s"]) / time["epochs"] * run.recipe.epochs
    return None


def disk(runs: list[Run], options: Options) -> float:
    """Bytes that the runs will store: weights, and logits of 10,000 images, in half precision."""
    classes = {name: datasets.info(name, options.data).classes for name in {run.dataset for run in runs}}
    networks = {(run.student, classes[run.dataset]) for run in runs}
    with torch.device("meta"):
        parameters = {network: model_size.count_parameters(models.build(*network)) for network in networks}
    return sum(2 * (parameters[run.student, classes[run.dataset]] + 10_000 * classes[run.dataset]) for run in runs)
