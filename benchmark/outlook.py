"""What a plan will cost, said from what was measured before; what was not measured is not guessed."""

from __future__ import annotations

import torch

from benchmark import datasets, models, size
from benchmark.accelerate import machine
from benchmark.made import device_name
from benchmark.progress import clock
from benchmark.run import Run
from benchmark.store import Record, Store
from benchmark.sweep import Ask, Plan


def describe(plan: Plan, ask: Ask) -> str:
    """The plan as lines: counts, cohorts, hours and disk."""
    store, missing = Store(ask.results), plan.missing
    latest = store.latest()
    there = len(plan.runs) - len(missing) - len(plan.unfit)
    lines = [f"{len(plan.runs)} runs: {there} there, {len(missing)} to do, {len(plan.unfit)} unfit"]
    several = len({run.dataset for run in plan.runs}) > 1
    for number, wave in enumerate(plan.waves, 1):
        for cohort in wave:
            where = f" on {cohort[0].dataset}" if several else ""
            lines.append(f"  wave {number}{where}: {', '.join(run.label for run in cohort)}")
    lines += [f"  unfit: {run.label}: {plan.unfit[run.id]}" for run in plan.runs if run.id in plan.unfit]
    if missing:
        lines.append(time_needed(plan, list(latest.values()), device_name(machine(ask.device).device)))
        lines.append(f"disk: {disk(missing, ask) / 1e6:,.0f} MB of weights and logits, not counting checkpoints")
    return "\n".join(lines)


def time_needed(plan: Plan, records: list[Record], device: str) -> str:
    """Time from the speed of earlier runs of the same networks on this device, one cohort after another."""
    known, unknown = 0.0, 0
    for wave in plan.waves:
        for cohort in wave:
            each = [seconds(run, records, device) for run in cohort]
            unknown += each.count(None)
            known += sum(s for s in each if s)
    if not known:
        return f"time: not measured yet on {device}"
    rest = f", and {unknown} runs of networks not measured yet" if unknown else ""
    return f"time: about {clock(known)} on {device}, from earlier runs{rest}"


def seconds(run: Run, records: list[Record], device: str) -> float | None:
    """What a run takes for itself: its share of the cohort's seconds per epoch, from the newest record like it."""
    teacher = run.teacher.student if run.teacher else None
    for record in sorted(records, key=lambda r: r.made.get("ended") or "", reverse=True):
        known, time = record.run, record.clock
        other = known["teacher"]["student"] if known["teacher"] else None
        like = (known["dataset"], known["student"], other) == (run.dataset, run.student, teacher)
        if like and record.status == "done" and record.made.get("device") == device and time.get("lanes"):
            return (time["train_s"] / time["lanes"] + time["evaluate_s"]) / time["epochs"] * run.recipe.epochs
    return None


def disk(runs: list[Run], ask: Ask) -> float:
    """Bytes that the runs will leave: weights and logits in half precision."""
    classes = {name: datasets.facts(name, ask.data).classes for name in {run.dataset for run in runs}}
    kinds = {(run.student, classes[run.dataset]) for run in runs}
    with torch.device("meta"):
        numbers = {kind: size.parameters(models.build(*kind)) for kind in kinds}
    return sum(2 * (numbers[run.student, classes[run.dataset]] + 10_000 * classes[run.dataset]) for run in runs)
