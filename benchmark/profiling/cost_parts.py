"""The parts of a method's step: what is timed for a cost, and what its record says of it.

The parts add up to the step only where they run one after another.  In training on CUDA the teacher computes the
outputs for the next batches beside the lane's step, so that the step takes less than its parts alone, and what is left
for the method could be negative.  So the step and its parts are timed without this overlap: the teacher's outputs are
there before a step begins.  The time of a step as it is trained is a number of its own, `overlapped_ms`.  On a CPU
nothing overlaps, and there is no such number.

Where steps are recorded a batch is copied to the place that they read, in 3 small kernels.  The plain student's time
and the teacher's both have these, so that the method's part is too small by them.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.acceleration.machine import Machine
from benchmark.experiment.run import Run
from benchmark.profiling.timing import Times, Walk, first_group, lane_walk, teacher_alone
from benchmark.training.context import Context
from benchmark.training.lane import Lane
from methods.contract import Batch

TEACHER = "the teacher"
Lanes = dict[str, dict[str, Lane]]  # name of a run -> stage -> lane


def name_of(run: Run) -> str:
    """A run's name among the others that are timed, and in messages."""
    return f"{run.label} ({run.id})"


def overlapped(name: str) -> str:
    """The name of the same run's step as it is trained, beside the teacher."""
    return f"{name} beside the teacher"


def walks_of(lanes: Lanes, context: Context) -> dict[str, dict[str, Walk]]:
    """What is timed: every lane in every stage, the teacher alone, and steps beside the teacher where these overlap."""
    walks = {
        name: {stage: lane_walk(lane, overlap=False) for stage, lane in stages.items()}
        for name, stages in lanes.items()
    }
    if context.teacher:
        walks[TEACHER] = {TEACHER: teacher_alone(context)}
    if context.machine.graphs:
        last = {name: list(stages.values())[-1] for name, stages in lanes.items() if stages}
        walks |= {overlapped(name): {"": lane_walk(lane)} for name, lane in last.items() if lane.run.teacher}
    return walks


def pair_clock(run: Run, times: Times, plain: Run, batches: Sequence[Batch], here: Machine) -> dict[str, Any]:
    """The `clock` of a run: milliseconds, and how they were measured.

    batch: images.  steps: of a round.  teacher_batches: how many the teacher is asked for at once, its time being the
    share of one; None without a teacher.
    """
    teacher_ms = times[TEACHER][TEACHER] if run.teacher else None
    beside_ms = times.get(overlapped(name_of(run)), {}).get("")
    clock = clock_fields(times[name_of(run)], list(times[name_of(plain)].values())[-1], teacher_ms, beside_ms)
    group = len(first_group(batches, here)) if run.teacher else None
    return clock | {"batch": len(batches[0].y), "steps": len(batches), "teacher_batches": group}


def clock_fields(
    own: Mapping[str, list[float]], plain: list[float], teacher: list[float] | None, beside: list[float] | None = None
) -> dict[str, Any]:
    """The `clock` of a cost, in milliseconds: the last stage's whole step and the parts that add up to it.

    Each is of its own best round; the method's part is what is left, noise included.  teacher: None if it needs none.
    beside: the same step while the teacher computes; None where nothing overlaps.
    """
    *earlier, last = own
    rounds = {"step_ms": own[last], "plain_ms": plain}
    rounds |= ({"teacher_ms": teacher} if teacher else {}) | ({"overlapped_ms": beside} if beside else {})
    best = {"teacher_ms": None} | {word: min(times) for word, times in rounds.items()}
    return best | {
        "method_ms": best["step_ms"] - best["plain_ms"] - (best["teacher_ms"] or 0.0),
        "stages": {stage: min(own[stage]) for stage in earlier},
        "rounds": len(own[last]),
        "medians": {word: statistics.median(times) for word, times in rounds.items()},
        "all": rounds,
    }


def recording_fields(stages: Mapping[str, Lane], plain: Lane) -> dict[str, Any]:
    """For the record, where steps are recorded: how often each step that was timed was replayed, and why not.

    recording: of the last stage, as in the records of runs.  recording_of_parts: of what its time is compared with,
    and of earlier stages.
    """
    *earlier, last = stages
    lane = stages[last]
    recording = lane.graphed_step.summary()
    if recording is None:
        return {}
    teacher = lane.context.feed.teacher if lane.run.teacher else None
    parts = {"plain": plain.graphed_step.summary(), "teacher": teacher and teacher.summary()}
    parts["stages"] = {stage: stages[stage].graphed_step.summary() for stage in earlier}
    return {"recording": recording, "recording_of_parts": parts}
