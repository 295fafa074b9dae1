"""The time of a step: lanes made ready for each of their stages, and all that is compared timed in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.acceleration.device import synchronize
from benchmark.experiment.run import Run
from benchmark.training.context import Context
from benchmark.training.lane import Lane
from methods.contract import Batch

ROUNDS, LEAST = 20, 3  # at most; at least, however slow
SECONDS_EACH = 1.2  # seconds for each that is timed, after which no round is begun

Step = Callable[[Batch], object]
Times = dict[str, dict[str, list[float]]]  # whose step -> stage -> milliseconds, round by round


def lanes_by_stage(run: Run, context: Context, batches: Sequence[Batch]) -> dict[str, Lane]:
    """A lane for each stage that has epochs, a step into the stage's last one.  Raises Unfit.

    What a method gathers for its next epoch it has gathered from `batches`.
    """
    lane, found, first = new_lane(run, context), {}, 0
    for place, stage in enumerate(lane.stages):
        if stage.epochs:
            lane = new_lane(run, context) if found else lane
            for epoch, walked in ((first, batches), (first + stage.epochs - 1, batches[:1])):
                lane.epoch = epoch
                lane.begin_epoch(epoch)
                for batch in walked:
                    full_step(lane)(batch)
            found[stage.name if stage.name not in found else f"{stage.name} {place + 1}"] = lane
        first += stage.epochs
    return found


def new_lane(run: Run, context: Context) -> Lane:
    """A lane before its first step.  Raises Unfit."""
    lane = Lane(run, context)
    lane.setup()
    return lane


def full_step(lane: Lane) -> Step:
    """A lane's step as if it were alone: it asks the teacher itself, if it needs one."""
    return lambda batch: lane.step(*lane.context.feed.one_batch(batch, bool(lane.run.teacher)))


def eager_step(lane: Lane) -> Step:
    """The same step carried out, not replayed: what it takes of memory can be seen."""
    teacher = lane.context.teacher if lane.run.teacher else None
    return lambda batch: lane.training_step(batch, teacher.forward(batch.x) if teacher else None)


def time_in_turn(
    steps: Mapping[str, Mapping[str, Step]], batches: Sequence[Batch], device: torch.device
) -> tuple[Times, dict[str, Exception]]:
    """Time every step in each round, whoever's and in whichever stage; and why those that raised have no times.

    Rounds go on until all have had their share of patience.
    """
    times = {who: {stage: [] for stage in stages} for who, stages in steps.items()}
    faults: dict[str, Exception] = {}
    patience = time.perf_counter() + SECONDS_EACH * sum(map(len, steps.values()))
    rounds = 0
    while rounds < LEAST or (rounds < ROUNDS and time.perf_counter() < patience):
        for who in [who for who in steps if who not in faults]:
            try:
                for stage, step in steps[who].items():
                    times[who][stage].append(time_step(step, batches, device))
            except Exception as fault:  # noqa: BLE001  whatever a method does, the others are timed
                faults[who] = fault
        rounds += 1
    return {who: own for who, own in times.items() if who not in faults}, faults


def time_step(step: Step, batches: Sequence[Batch], device: torch.device) -> float:
    """Milliseconds of a step, the mean over the batches after one that is not counted."""
    step(batches[-1])
    synchronize(device)
    started = time.perf_counter()
    for batch in batches:
        step(batch)
    synchronize(device)
    return 1000 * (time.perf_counter() - started) / len(batches)


def clock_fields(own: Mapping[str, list[float]], plain: list[float], teacher: list[float] | None) -> dict[str, Any]:
    """The `clock` of a cost, in milliseconds: the last stage's whole step and the parts that add up to it.

    Each is of its own best round; the method's part is what is left, noise included.  teacher: None if it asks none.
    """
    *earlier, last = own
    rounds = {"step_ms": own[last], "plain_ms": plain} | ({"teacher_ms": teacher} if teacher else {})
    best = {"teacher_ms": None} | {word: min(times) for word, times in rounds.items()}
    return best | {
        "method_ms": best["step_ms"] - best["plain_ms"] - (best["teacher_ms"] or 0.0),
        "stages": {stage: min(own[stage]) for stage in earlier},
        "rounds": len(own[last]),
        "medians": {word: statistics.median(times) for word, times in rounds.items()},
        "all": rounds,
    }


def live_tensors(lane: Lane, batch: Batch) -> Iterator[Tensor]:
    """What a step finds in memory: the batch, weights, the last step's gradients, momentum; the teacher if needed."""
    yield from (batch.x, batch.y, batch.index)
    teacher = [lane.context.teacher.net] if lane.run.teacher else []
    for module in (lane.student, lane.method, *teacher):
        yield from module.buffers()
        for parameter in module.parameters():
            yield from (parameter, *([] if parameter.grad is None else [parameter.grad]))
    for state in lane.optimiser.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))
