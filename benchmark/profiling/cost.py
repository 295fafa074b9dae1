"""What a method costs, measured alone: the time of a step and of its parts, arithmetic, and peak memory.

One pair of networks at a time, all its methods in turn in rounds, so that whatever else the machine does affects all
of them alike.  The best round counts; all are kept.  The teacher is asked for several batches at once, as in training,
and computes before the step that needs them: what overlaps in training is timed apart (cost_parts.py).
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.acceleration import machine
from benchmark.acceleration.device import is_sticky
from benchmark.data import datasets
from benchmark.data.datasets import Dataset
from benchmark.data.split import Split
from benchmark.errors import BadInput, printable
from benchmark.experiment import resolve, seeds
from benchmark.experiment.run import Recipe, Run
from benchmark.files import WriteError
from benchmark.profiling import memory, speed
from benchmark.profiling.cost_parts import TEACHER, name_of, pair_clock, recording_fields, walks_of
from benchmark.profiling.cost_plan import RUNS_TOGETHER, group_by_pair, missing_costs
from benchmark.profiling.timing import DeviceLost, eager_step, lanes_by_stage, live_tensors, round_steps, time_in_turn
from benchmark.store import Record, Store
from benchmark.training import model_size, provenance, teacher
from benchmark.training.context import Context
from benchmark.training.lane import Lane
from methods import registry
from methods.contract import Batch, Unfit

if TYPE_CHECKING:
    from benchmark.sweep.options import Options


def measure(runs: Sequence[Run], options: Options) -> list[Record]:
    """Measure what has no cost yet on this device, in this precision, from this source; the records as kept.

    Only the lowest seed is measured.  Pairs that a method cannot serve are left out; a method that raises is left out
    with a sentence.  A method's buffers may be as large as the training set: `prepare` sees all of it, and its time is
    `setup_s` in the record of each run.
    Raises BadInput for a device or data that are missing, and DeviceLost; what was measured before is kept.
    """
    store, kept = Store(options.results), []
    data: Dataset | None = None
    most = RUNS_TOGETHER if machine.machine(options.device, graphs=options.graphs).graphs else None
    for group in group_by_pair(missing_costs(runs, store, options.device), most):
        if data is None or data.name != group[0].dataset:
            data = datasets.load_for(group[0], options.data, options.download)
        started = time.perf_counter()
        found = attempt(group[0], measure_pair, group, data, options) or []
        machine.machine(options.device, group[0].recipe.precision).free_memory()
        if found and not options.quiet:
            names, seconds = ", ".join(record.run["method"] for record in found), time.perf_counter() - started
            print(f"cost · {group[0].label.split()[0]} · {names} · measured in {seconds:.0f} s", flush=True)
        kept += found
    return kept


def measure_or_warn(runs: Sequence[Run], options: Options) -> list[Record]:
    """As `measure`, at the end of a sweep: missing data and a lost device are reported, and do not stop the report."""
    try:
        return measure(runs, options)
    except BadInput as fault:
        print(printable(f"costs not measured: {fault}"), file=sys.stderr)
        return []


def attempt(run: Run, action: Callable[..., Any], *arguments: Any) -> Any:
    """What the action returns; None, with a sentence, if it raises: one method must not sink the others.

    Raises what concerns the others: DeviceLost, and WriteError.
    """
    try:
        return action(*arguments)
    except Unfit:
        return None  # the run's own record says why
    except (DeviceLost, WriteError):
        raise
    except (Exception, SystemExit) as fault:  # whatever a method does, the others are measured
        if is_sticky(fault):
            raise DeviceLost(name_of(run), fault) from fault
        warn_unmeasured(run, fault)
        return None


def warn_unmeasured(run: Run, fault: Exception) -> None:
    """Say why there is no cost."""
    reason = f"{type(fault).__name__}: {fault}"
    print(printable(f"cost of {name_of(run)} not measured: {reason}"), file=sys.stderr)


def measure_pair(group: list[Run], data: Dataset, options: Options) -> list[Record]:
    """Time all in turn, then measure the memory of each; the kept cost records of the runs that did not raise."""
    plain, started, store = plain_run(group[0]), provenance.now(), Store(options.results)
    with tempfile.TemporaryDirectory(prefix="kd-cost-") as root, seeds.scope("cost"):
        context = make_context(group, data, options, Path(root))
        batches = first_batches(context, group[0].recipe)
        lanes = {name_of(plain): lanes_by_stage(plain, context, batches)}
        for run in group:
            known = lanes.get(name_of(run))
            lanes[name_of(run)] = known or attempt(run, lanes_by_stage, run, context, batches) or {}
        if not any(lanes[name_of(run)] for run in group):
            return []
        times, faults = time_in_turn(walks_of(lanes, context), batches, context.machine)
        for shared in {name_of(plain), TEACHER} & set(faults):  # nothing can be compared without these
            raise faults[shared]
        for run in (run for run in group if name_of(run) in faults):
            warn_unmeasured(run, faults[name_of(run)])
        found = []
        for run in (run for run in group if times.get(name_of(run))):
            clock = pair_clock(run, times, plain, batches, context.machine)
            stages, plain_lane = lanes[name_of(run)], list(lanes[name_of(plain)].values())[-1]
            fields = recording_fields(stages, plain_lane) | {"started": started}
            record = attempt(run, cost_record, list(stages.values())[-1], batches[0], clock, fields)
            found += [store.add(record)] if record else []
            context.machine.free_memory()
    return found


def plain_run(run: Run) -> Run:
    """The same student without a teacher."""
    knobs = resolve.resolve_knobs(resolve.PLAIN_METHOD, {})
    return run.model_copy(update={"method": resolve.PLAIN_METHOD, "knobs": knobs, "teacher": None})


def first_batches(context: Context, recipe: Recipe) -> list[Batch]:
    """The batches of one round, from the first epoch."""
    epoch = context.train_split.epoch(0, 0, recipe)
    return whole_groups(list(itertools.islice(epoch, round_steps(context.machine))), context.machine)


def whole_groups(batches: list[Batch], here: machine.Machine) -> list[Batch]:
    """The full batches, in whole groups of those that the teacher is asked for at once if there is such a group."""
    full = [batch for batch in batches if len(batch.y) == len(batches[0].y)]
    return full[: len(full) // here.teacher_batches * here.teacher_batches or None]


def make_context(group: list[Run], data: Dataset, options: Options, root: Path) -> Context:
    """The training images, and the teacher: its kept weights, or untrained ones, which take as long."""
    store, here = Store(options.results), machine.machine(options.device, group[0].recipe.precision, options.graphs)
    learn = Split(data.train_x, data.train_y, data.statistics, here.device)
    judged = Split(data.test_x[:64], data.test_y[:64], data.statistics, here.device)
    taught = next((run.teacher for run in group if run.teacher), None)
    if taught and store.weights(taught.id):
        before = registry.preactivations_read(run.method for run in group)
        found = teacher.load(taught, store, here, len(data.classes), judged, before)
    else:
        found = speed.untrained_teacher(group, data, here, judged)
    return Context(Store(root), here, data, learn, judged, found, options.record_fields)


def cost_record(lane: Lane, batch: Batch, clock: dict[str, Any], fields: dict[str, Any]) -> Record:
    """The cost of a lane's run.  Bytes are those of one step of its last stage.  fields: more of its provenance.

    training_macs: multiply-accumulates for one image, a backward pass counted as twice the forward one: three times
    the student's and once the teacher's.  The method's own arithmetic is not in it.
    """
    context, run = lane.context, lane.run
    teacher = (run.teacher.student, context.teacher.net.net) if run.teacher else None
    image = tuple(context.data.train_x.shape[1:3])
    sizes = model_size.size_fields(lane.student, run.student, lane.method, teacher, image)
    sizes["training_macs"] = 3 * sizes["macs"] + (sizes["teacher_macs"] or 0)
    sizes["peak_bytes"] = memory.peak_bytes(
        lambda: eager_step(lane)(batch), live_tensors(lane, batch), context.machine.device
    )
    by = {"source": registry.digest(run.method), "data": {"name": context.data.name, "image": list(image)}}
    by |= fields | {"ended": provenance.now()}
    return Record(
        kind="cost",
        id=run.id,
        status="done",
        run=run.model_dump(mode="json"),
        size=sizes,
        clock=clock,
        provenance=provenance.environment(context.machine) | context.record_fields | by,
    )
