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

from benchmark.acceleration import machine
from benchmark.data import datasets
from benchmark.data.datasets import Dataset
from benchmark.data.split import Split
from benchmark.errors import BadInput
from benchmark.experiment import resolve, seeds
from benchmark.experiment.run import Run
from benchmark.profiling import memory, speed
from benchmark.profiling.timing import clock_fields, eager_step, full_step, lanes_by_stage, live_tensors, time_in_turn
from benchmark.store import Record, Store
from benchmark.training import model_size, provenance, teacher
from benchmark.training.context import Context
from benchmark.training.lane import Lane
from methods import registry
from methods.contract import Batch, Unfit

if TYPE_CHECKING:
    from benchmark.sweep.runner import Options

TEACHER = "teacher"
STEPS = {"cpu": 2, "cuda": 10}  # timed in each round: many short rounds where others use the processor too


def measure(runs: Sequence[Run], options: Options) -> list[Record]:
    """Measure what has no cost yet on this device, in this precision, from this source; the records as kept.

    The lowest seed stands for all.  Pairs that a method cannot serve are left out; a method that raises is left out
    with a sentence.  `prepare` sees a few images only: what it takes is told by each run's own `setup_s`.
    Raises BadInput for a device or data that are not there.
    """
    store, kept = Store(options.results), []
    data: Dataset | None = None
    for group in group_by_pair(missing_costs(runs, store, options.device)):
        if data is None or data.name != group[0].dataset:
            data = datasets.load(group[0].dataset, options.data, options.download)
        started = time.perf_counter()
        found = [store.add(record) for record in attempt(group[0], measure_pair, group, data, options) or []]
        if found and not options.quiet:
            names, seconds = ", ".join(record.run["method"] for record in found), time.perf_counter() - started
            print(f"cost · {group[0].label.split()[0]} · {names} · measured in {seconds:.0f} s", flush=True)
        kept += found
    return kept


def measure_or_warn(runs: Sequence[Run], options: Options) -> list[Record]:
    """As `measure`, at the end of a sweep: data that are gone by now cost a sentence, not the report."""
    try:
        return measure(runs, options)
    except BadInput as fault:
        print(f"costs not measured: {fault}", file=sys.stderr)
        return []


def attempt(run: Run, action: Callable[..., Any], *arguments: Any) -> Any:
    """What the action returns; None, with a sentence, if it raises: one method must not sink the others."""
    try:
        return action(*arguments)
    except Unfit:
        return None  # the run's own record says why
    except Exception as fault:  # noqa: BLE001  whatever a method does, the others are measured
        warn_unmeasured(run, fault)
        return None


def warn_unmeasured(run: Run, fault: Exception) -> None:
    """Say why there is no cost."""
    print(f"cost of {run.label} ({run.id}) not measured: {type(fault).__name__}: {fault}", file=sys.stderr)


# ---- what is to be measured
def missing_costs(runs: Sequence[Run], store: Store, device: str) -> list[Run]:
    """One run for each kind of step that the store has no cost of, that of the lowest seed."""

    def price(run: Run) -> tuple:
        here = machine.machine(device, run.recipe.precision)
        return (*run.cost_key, provenance.device_name(here.device), here.precision, registry.digest(run.method))

    unfit = {id for id, record in store.latest().items() if record.status == "unfit"}
    known = set()
    for record in store.records():
        if record.kind == "cost":
            with contextlib.suppress(ValidationError):  # the report complains about it
                by = (record.provenance.get(word) for word in ("device", "precision", "source"))
                known.add((*Run.model_validate(record.run).cost_key, *by))
    found: dict[tuple, Run] = {}
    for run in sorted((run for run in runs if run.recipe and run.id not in unfit), key=lambda run: run.seed):
        found.setdefault(price(run), run)
    return [run for key, run in found.items() if key not in known]


def group_by_pair(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs that are timed in turn; those without a teacher stand with the first pair of their student."""
    groups: dict[tuple, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.teacher is None):
        host = next((key for key in groups if run.teacher is None and key[1] == run.timing_group), None)
        groups.setdefault(host or (run.teacher and run.teacher.id, run.timing_group), []).append(run)
    return list(groups.values())


# ---- one pair
def measure_pair(group: list[Run], data: Dataset, options: Options) -> list[Record]:
    """Time all in turn, then take the memory of each; a cost for each run that came through."""
    changes = {
        "method": resolve.PLAIN_METHOD,
        "knobs": resolve.resolve_knobs(resolve.PLAIN_METHOD, {}),
        "teacher": None,
    }
    plain, started = group[0].model_copy(update=changes), provenance.now()
    with tempfile.TemporaryDirectory(prefix="kd-cost-") as root, seeds.scope("cost"):
        context = make_context(group, data, options, Path(root))
        batches = list(context.train_split.epoch(0, 0, group[0].recipe))
        batches = [batch for batch in batches if len(batch.y) == len(batches[0].y)]
        lanes = {plain.id: lanes_by_stage(plain, context, batches)}
        for run in group:
            lanes[run.id] = lanes.get(run.id) or attempt(run, lanes_by_stage, run, context, batches) or {}
        if not any(lanes[run.id] for run in group):
            return []
        steps = {id: {name: full_step(lane) for name, lane in stages.items()} for id, stages in lanes.items()}
        if context.teacher:
            steps[TEACHER] = {TEACHER: context.feed.one_batch}
        times, faults = time_in_turn(steps, batches, context.machine.device)
        if plain.id in faults:
            raise faults[plain.id]
        for run in (run for run in group if run.id in faults):
            warn_unmeasured(run, faults[run.id])
        found = []
        for run in (run for run in group if times.get(run.id)):
            taught = times[TEACHER][TEACHER] if run.teacher else None
            clock = clock_fields(times[run.id], list(times[plain.id].values())[-1], taught)
            clock |= {"batch": len(batches[0].y), "steps": len(batches)}
            found.append(attempt(run, cost_record, list(lanes[run.id].values())[-1], batches[0], clock, started))
    return [record for record in found if record]


def make_context(group: list[Run], data: Dataset, options: Options, root: Path) -> Context:
    """A few images, and the teacher: its kept weights, or fresh ones, which take as long."""
    store, here = Store(options.results), machine.machine(options.device, group[0].recipe.precision, options.graphs)
    count = min(len(data.train_y), STEPS[here.device.type] * group[0].recipe.batch)
    few = torch.linspace(0, len(data.train_y) - 1, count).long()  # of all classes, however they are sorted
    learn = Split(data.train_x[few], data.train_y[few], data.statistics, here.device)
    judged = Split(data.test_x[:64], data.test_y[:64], data.statistics, here.device)
    taught = next((run.teacher for run in group if run.teacher), None)
    if taught and store.weights(taught.id):
        found = teacher.load(taught, store, here, len(data.classes), judged)
    else:
        found = speed.untrained_teacher(group, data, here, judged)
    return Context(Store(root), here, data, learn, judged, found, options.record_fields)


def cost_record(lane: Lane, batch: Batch, clock: dict[str, Any], started: str) -> Record:
    """The cost of a lane's run.  Bytes are those of one step of its last stage.

    training_macs: multiply-accumulates for one image, a backward pass counted as twice the forward one: three times
    the student's and once the teacher's.  The method's own arithmetic is not in it.
    """
    context, run = lane.context, lane.run
    net, image = context.teacher.net.net if run.teacher else None, tuple(context.data.train_x.shape[1:3])
    sizes = model_size.size_fields(lane.student, run.student, lane.method, net, image)
    sizes["training_macs"] = 3 * sizes["macs"] + (sizes["teacher_macs"] or 0)
    sizes["peak_bytes"] = memory.peak_bytes(
        lambda: eager_step(lane)(batch), live_tensors(lane, batch), context.machine.device
    )
    by = {"source": registry.digest(run.method), "data": {"name": context.data.name, "image": list(image)}}
    by |= {"started": started, "ended": provenance.now()}
    return Record(
        kind="cost",
        id=run.id,
        status="done",
        run=run.model_dump(mode="json"),
        size=sizes,
        clock=clock,
        provenance=provenance.environment(context.machine) | context.record_fields | by,
    )
