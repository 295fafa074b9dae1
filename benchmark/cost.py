"""A method's price, measured alone: the time of a step and where it goes, compute, and memory at its worst.

One pair of networks at a time, all its methods in turn in rounds, so that whatever else the machine does falls on all
of them alike.  The best round counts; all are kept.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from benchmark import accelerate, datasets, made, memory, seeds, size, spec, speed, teacher
from benchmark.data import Split
from benchmark.datasets import Dataset
from benchmark.errors import BadInput
from benchmark.lane import Lane
from benchmark.run import Run
from benchmark.setting import Setting
from benchmark.store import Record, Store
from benchmark.timing import bare, by_stage, clocked, held, in_turn, whole
from methods import registry
from methods.contract import Batch, Unfit

if TYPE_CHECKING:
    from benchmark.sweep import Ask

TEACHER = "teacher"
STEPS = {"cpu": 2, "cuda": 10}  # timed in each round: many short rounds where others use the processor too


def measure(runs: Sequence[Run], ask: Ask) -> list[Record]:
    """Measure what has no cost yet on this device, in this precision, from this source; the records as kept.

    The lowest seed stands for all.  Pairs that a method cannot serve are left out; a method that raises is left out
    with a sentence.  `prepare` sees a few images only: what it takes is told by each run's own `setup_s`.
    Raises BadInput for a device or data that are not there.
    """
    store, kept = Store(ask.results), []
    data: Dataset | None = None
    for group in pairs(wanting(runs, store, ask.device)):
        if data is None or data.name != group[0].dataset:
            data = datasets.load(group[0].dataset, ask.data, ask.download)
        started = time.perf_counter()
        found = [store.add(record) for record in attempt(group[0], one_pair, group, data, ask) or []]
        if found and not ask.quiet:
            names, seconds = ", ".join(record.run["method"] for record in found), time.perf_counter() - started
            print(f"cost · {group[0].label.split()[0]} · {names} · measured in {seconds:.0f} s", flush=True)
        kept += found
    return kept


def measured(runs: Sequence[Run], ask: Ask) -> list[Record]:
    """As `measure`, at the end of a sweep: data that are gone by now cost a sentence, not the report."""
    try:
        return measure(runs, ask)
    except BadInput as fault:
        print(f"costs not measured: {fault}", file=sys.stderr)
        return []


def attempt(run: Run, action: Callable[..., Any], *words: Any) -> Any:
    """What the action returns; None, with a sentence, if it raises: one method must not sink the others."""
    try:
        return action(*words)
    except Unfit:
        return None  # the run's own record says why
    except Exception as fault:  # noqa: BLE001  whatever a method does, the others are measured
        complain(run, fault)
        return None


def complain(run: Run, fault: Exception) -> None:
    """Say why there is no cost."""
    print(f"cost of {run.label} ({run.id}) not measured: {type(fault).__name__}: {fault}", file=sys.stderr)


# ---- what is to be measured
def wanting(runs: Sequence[Run], store: Store, device: str) -> list[Run]:
    """One run for each kind of step that the store has no cost of, that of the lowest seed."""

    def price(run: Run) -> tuple:
        here = accelerate.machine(device, run.recipe.precision)
        return (*run.price_key, made.device_name(here.device), here.precision, registry.digest(run.method))

    unfit = {id for id, record in store.latest().items() if record.status == "unfit"}
    known = set()
    for record in store.records():
        if record.kind == "cost":
            with contextlib.suppress(ValidationError):  # the report complains about it
                by = (record.made.get(word) for word in ("device", "precision", "source"))
                known.add((*Run.model_validate(record.run).price_key, *by))
    found: dict[tuple, Run] = {}
    for run in sorted((run for run in runs if run.recipe and run.id not in unfit), key=lambda run: run.seed):
        found.setdefault(price(run), run)
    return [run for key, run in found.items() if key not in known]


def pairs(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that are timed in turn; those without a teacher stand with the first pair of their student."""
    groups: dict[tuple, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.teacher is None):
        host = next((key for key in groups if run.teacher is None and key[1] == run.company), None)
        groups.setdefault(host or (run.teacher and run.teacher.id, run.company), []).append(run)
    return list(groups.values())


# ---- one pair
def one_pair(group: list[Run], data: Dataset, ask: Ask) -> list[Record]:
    """Time all in turn, then take the memory of each; a cost for each run that came through."""
    changes = {"method": spec.PLAIN, "knobs": spec.resolve(spec.PLAIN, {}), "teacher": None}
    plain, started = group[0].model_copy(update=changes), made.now()
    with tempfile.TemporaryDirectory(prefix="kd-cost-") as root, seeds.scope("cost"):
        setting = settled(group, data, ask, Path(root))
        batches = list(setting.learn.epoch(0, 0, group[0].recipe))
        batches = [batch for batch in batches if len(batch.y) == len(batches[0].y)]
        lanes = {plain.id: by_stage(plain, setting, batches)}
        for run in group:
            lanes[run.id] = lanes.get(run.id) or attempt(run, by_stage, run, setting, batches) or {}
        if not any(lanes[run.id] for run in group):
            return []
        steps = {id: {name: whole(lane) for name, lane in stages.items()} for id, stages in lanes.items()}
        if setting.teacher:
            steps[TEACHER] = {TEACHER: setting.belt.bring}
        times, faults = in_turn(steps, batches, setting.machine.device)
        if plain.id in faults:
            raise faults[plain.id]
        for run in (run for run in group if run.id in faults):
            complain(run, faults[run.id])
        found = []
        for run in (run for run in group if times.get(run.id)):
            taught = times[TEACHER][TEACHER] if run.teacher else None
            clock = clocked(times[run.id], list(times[plain.id].values())[-1], taught)
            clock |= {"batch": len(batches[0].y), "steps": len(batches)}
            found.append(attempt(run, priced, list(lanes[run.id].values())[-1], batches[0], clock, started))
    return [record for record in found if record]


def settled(group: list[Run], data: Dataset, ask: Ask, root: Path) -> Setting:
    """A few images, and the teacher: its kept weights, or fresh ones, which take as long."""
    store, here = Store(ask.results), accelerate.machine(ask.device, group[0].recipe.precision, ask.graphs)
    count = min(len(data.train_y), STEPS[here.device.type] * group[0].recipe.batch)
    few = torch.linspace(0, len(data.train_y) - 1, count).long()  # of all classes, however they are sorted
    learn = Split(data.train_x[few], data.train_y[few], data.statistics, here.device)
    judged = Split(data.test_x[:64], data.test_y[:64], data.statistics, here.device)
    taught = next((run.teacher for run in group if run.teacher), None)
    if taught and store.weights(taught.id):
        found = teacher.load(taught, store, here, len(data.classes), judged)
    else:
        found = speed.untrained(group, data, here, judged)
    return Setting(Store(root), here, data, learn, judged, found, ask.words)


def priced(lane: Lane, batch: Batch, clock: dict[str, Any], started: str) -> Record:
    """The cost of a lane's run.  Bytes are those of one step of its last stage.

    training_macs: multiply-accumulates for one image, a backward pass counted as twice the forward one: three times
    the student's and once the teacher's.  The method's own arithmetic is not in it.
    """
    setting, run = lane.setting, lane.run
    net, image = setting.teacher.net.net if run.teacher else None, tuple(setting.data.train_x.shape[1:3])
    sizes = size.sizes(lane.student, run.student, lane.method, net, image)
    sizes["training_macs"] = 3 * sizes["macs"] + (sizes["teacher_macs"] or 0)
    sizes["peak_bytes"] = memory.peak(lambda: bare(lane)(batch), held(lane, batch), setting.machine.device)
    by = {"source": registry.digest(run.method), "data": {"name": setting.data.name, "image": list(image)}}
    by |= {"started": started, "ended": made.now()}
    return Record(
        kind="cost",
        id=run.id,
        status="done",
        run=run.model_dump(mode="json"),
        size=sizes,
        clock=clock,
        made=made.made(setting.machine) | setting.words | by,
    )
