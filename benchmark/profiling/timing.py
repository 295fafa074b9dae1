"""The time of a training step: lanes prepared for each of their stages, and everything compared timed in turn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import Tensor

from benchmark.acceleration.device import is_sticky, synchronize
from benchmark.acceleration.machine import Machine
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.training.context import Context
from benchmark.training.lane import Lane
from methods.contract import Batch

ROUNDS, LEAST = 20, 3  # most rounds; fewest, however slow
SECONDS_EACH = 1.2  # seconds for each thing that is timed; then no further round begins
WARMUP_ROUNDS = 2  # rounds before any is timed: threads have their workspaces, and graphs are recorded, by then
STEPS = {"cpu": 2, "cuda": 10}  # fewest steps of a round: many short rounds, for machines that others use as well

Step = Callable[[Batch], object]
Walk = Callable[[Sequence[Batch]], object]  # a step for each of some batches
Times = dict[str, dict[str, list[float]]]  # whose step -> stage -> milliseconds of each round


class DeviceLost(BadInput):
    """A CUDA error after which this process can measure nothing else."""

    def __init__(self, whose: str, fault: BaseException):
        reason = str(fault).strip().partition("\n")[0]  # CUDA's messages go on with general advice
        super().__init__(
            f"measuring {whose} raised {type(fault).__name__}: {reason}; this process cannot use its CUDA device after "
            "that and measures nothing else: measure what is missing with `cost`, and leave this method out (-m)"
        )


def round_steps(machine: Machine) -> int:
    """Steps of a round: at least STEPS, in whole groups of the batches that the teacher is asked for at once."""
    return machine.teacher_batches * math.ceil(STEPS[machine.device.type] / machine.teacher_batches)


def lanes_by_stage(run: Run, context: Context, batches: Sequence[Batch]) -> dict[str, Lane]:
    """A lane for each stage that has epochs, some steps into the last epoch of the stage.  Raises Unfit.

    In the first epoch of the stage the lane walks over `batches`, so that the method has gathered what it needs.
    """
    lane, found, first = new_lane(run, context), {}, 0
    for place, stage in enumerate(lane.stages):
        if stage.epochs:
            lane = new_lane(run, context) if found else lane
            for epoch, walked in ((first, batches), (first + stage.epochs - 1, first_group(batches, context.machine))):
                lane.epoch = epoch
                lane.begin_epoch(epoch)
                lane_walk(lane)(walked)
                synchronize(context.machine.device)  # what a kernel raises is this run's
            found[stage.name if stage.name not in found else f"{stage.name} {place + 1}"] = lane
        first += stage.epochs
    return found


def new_lane(run: Run, context: Context) -> Lane:
    """A lane before its first step.  Raises Unfit."""
    lane = Lane(run, context)
    lane.setup()
    return lane


def first_group(batches: Sequence[Batch], machine: Machine) -> Sequence[Batch]:
    """The batches that the teacher is asked for first, all at once."""
    return batches[: machine.teacher_batches]


def lane_walk(lane: Lane, overlap: bool = True) -> Walk:
    """A lane's steps as if it trained alone; the teacher, if it needs one, is asked for several batches at once.

    overlap: as in training, where on CUDA the teacher computes beside the steps; else before them.
    """

    def walk(batches: Sequence[Batch]) -> None:
        for batch, t in lane.context.feed.batches(batches, bool(lane.run.teacher), overlap):
            lane.step(batch, t)

    return walk


def teacher_alone(context: Context) -> Walk:
    """The teacher's forward passes as `lane_walk` asks for them without overlap, for no student."""

    def walk(batches: Sequence[Batch]) -> None:
        for _ in context.feed.batches(batches, overlap=False):
            pass

    return walk


def one_by_one(step: Step) -> Walk:
    """A step that takes one batch, for each of some batches."""

    def walk(batches: Sequence[Batch]) -> None:
        for batch in batches:
            step(batch)

    return walk


def eager_step(lane: Lane) -> Step:
    """A lane's step launched kernel by kernel, never replayed: what it takes of memory can be seen."""
    teacher = lane.context.teacher if lane.run.teacher else None
    return lambda batch: lane.training_step(batch, teacher.forward(batch.x) if teacher else None)


def time_in_turn(
    walks: Mapping[str, Mapping[str, Walk]], batches: Sequence[Batch], machine: Machine
) -> tuple[Times, dict[str, Exception]]:
    """Milliseconds of a step of each, in rounds, in every stage; and the exception of each that raised.

    Everything is warmed up before anything is timed.  Rounds go on until each has had SECONDS_EACH, on average.
    Raises DeviceLost.
    """
    times = {who: {stage: [] for stage in stages} for who, stages in walks.items()}
    faults: dict[str, Exception] = {}

    def one_round(action: Callable[[str, str, Walk], None]) -> None:
        for who in [who for who in walks if who not in faults]:
            try:
                for stage, walk in walks[who].items():
                    action(who, stage, walk)
                    synchronize(machine.device)  # what a kernel raises is raised here, not in the next one's steps
            except (Exception, SystemExit) as fault:  # whatever a method does, the others are timed
                if is_sticky(fault):
                    raise DeviceLost(who, fault) from fault
                faults[who] = fault

    for _ in range(WARMUP_ROUNDS):
        one_round(lambda who, stage, walk: walk(batches))
    end = time.perf_counter() + SECONDS_EACH * sum(map(len, walks.values()))
    rounds = 0
    while rounds < LEAST or (rounds < ROUNDS and time.perf_counter() < end):
        one_round(lambda who, stage, walk: times[who][stage].append(time_walk(walk, batches, machine)))
        rounds += 1
    return {who: own for who, own in times.items() if who not in faults}, faults


def time_walk(walk: Walk, batches: Sequence[Batch], machine: Machine) -> float:
    """Milliseconds of a step, the mean over the batches, after a first group that is not counted."""
    walk(first_group(batches, machine))
    synchronize(machine.device)
    started = time.perf_counter()
    walk(batches)
    synchronize(machine.device)
    return 1000 * (time.perf_counter() - started) / len(batches)


def live_tensors(lane: Lane, batch: Batch) -> Iterator[Tensor]:
    """What a step finds in memory: the batch, weights, last gradients, momentum, and the teacher if it needs one."""
    yield from (batch.x, batch.y, batch.index)
    teacher = [lane.context.teacher.net] if lane.run.teacher else []
    for module in (lane.student, lane.method, *teacher):
        yield from module.buffers()
        for parameter in module.parameters():
            yield from (parameter, *([] if parameter.grad is None else [parameter.grad]))
    for state in lane.optimiser.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))
