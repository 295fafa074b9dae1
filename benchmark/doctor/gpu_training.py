"""Checks of training on a GPU: replayed steps, lanes side by side, streams that are held up."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from benchmark.acceleration.cuda_graphs import Recorder
from benchmark.acceleration.machine import Machine
from benchmark.doctor.finding import Finding
from benchmark.doctor.workload import State, Workload, distance, state, unlike, with_recorder
from benchmark.training.lane import Lane
from methods import registry

MAX_CYCLES = 1_000_000  # of a random delay: half a millisecond at 2 GHz
METHOD = "kd"  # where one method stands for all
TOLERANCE = {"fp32": 0.02, "bf16": 0.1}  # of a loss, relative to a CPU's in fp32
SAME = "the same weights bit for bit"
BUG = "report this as a bug, with the output of `doctor --json`; until then train with --no-graphs"


def learners(count: int | None = None) -> list[str]:
    """Methods that learn from a teacher, all or the first few."""
    return [name for name in registry.names() if registry.get(name).needs_teacher][:count]


# ---- replayed and launched
def replay(work: Workload, method: str, precision: str, **changes: Any) -> Finding:
    """Whether a method's steps are recorded, leave the weights of launched steps, and how long both take."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*deterministic")  # a median has no such kernel, but one answer
        (launched, slow), (replayed, fast) = (
            work.train(work.machine(precision, graphs), method, **changes) for graphs in (False, True)
        )
    found, odd = replayed.graphed_step.summary(), unlike(state(replayed), state(launched))
    replayed.context.machine.free_memory()
    value = f"recorded {found['recorded']} times, replayed {found['replayed']}; {comparison(odd)}; a step takes "
    value += f"{slow:.2f} ms launched, {fast:.2f} ms replayed"
    name = f"{method} {precision}"
    if odd:
        return Finding(name, value, False, BUG)
    if found["reason"] or not found["replayed"]:
        return Finding(
            name, f"{value}; {found['reason']}", False, "training works, but its steps are launched one by one"
        )
    return Finding(name, value)


def rmsprop(work: Workload) -> Finding:
    """The same for RMSProp, which keeps counts of steps on the device and reads its rate from a tensor there."""
    return replace(replay(replace(work, optimiser="rmsprop"), METHOD, "fp32"), name="RMSProp")


def comparison(odd: list[str]) -> str:
    """How two states compare."""
    return SAME if not odd else f"{len(odd)} tensors differ, {odd[0]} among them"


def autotuned(work: Workload) -> Finding:
    """bf16 as it is trained, with the kernels that cuDNN finds fastest: how far launched and replayed steps differ.

    Expected: not at all; or, where cuDNN picks kernels that add in no fixed order, as far as two launched trainings.
    """
    states = []
    for graphs in (False, False, True):
        lane, _ = work.train(work.machine("bf16", graphs, exact=False), METHOD)
        states.append(state(lane))
    again, replayed = (distance(states[0], other) for other in states[1:])
    value = f"launched twice they differ by {again:.1e}, launched and replayed by {replayed:.1e} of the largest weight"
    expected = "expected: 0 and 0, or both alike where cuDNN picks kernels that add in no fixed order"
    return Finding(
        "bf16 autotuned", f"{value}; {expected}", replayed <= 100 * again, "" if replayed <= 100 * again else BUG
    )


def beside_cpu(work: Workload, precision: str) -> Finding:
    """Whether a small student's loss falls as it does on a CPU, up to rounding."""
    small = replace(work, teacher="resnet14", student="resnet8", pixels=16, batches=4, batch=10, rest=4, epochs=3)
    lane, _ = small.train(small.machine(precision), METHOD)
    reference, _ = small.train(Machine(torch.device("cpu"), "fp32"), METHOD)
    pairs = list(zip(lane.curve["loss"][METHOD], reference.curve["loss"][METHOD], strict=True))
    error = max(abs(ours / theirs - 1) for ours, theirs in pairs)
    value = f"loss {pairs[-1][0]:.4f} after {small.epochs} epochs, {pairs[-1][1]:.4f} on a CPU in fp32"
    value += f"; largest difference {100 * error:.2f} %, allowed {100 * TOLERANCE[precision]:.0f} %"
    ok = error <= TOLERANCE[precision]
    return Finding(f"beside a CPU {precision}", value, ok, "" if ok else BUG)


# ---- side by side
def company(work: Workload, precision: str) -> Finding:
    """Whether lanes end the same side by side, replayed, as each does alone, launched."""
    methods = learners()
    lanes = work.train_together(work.machine(precision), methods)
    return as_alone(f"cohort {precision}", work, lanes, precision)


def delays(work: Workload) -> Finding:
    """Whether random delays on every stream leave the weights as they are: nothing is read before it is written."""
    dice = random.Random(0)
    here = with_recorder(work.machine("fp32"), lambda recorder: DelayedRecorder(recorder, dice))
    return as_alone("delayed streams", work, work.train_together(here, learners(4)), "fp32")


def as_alone(name: str, work: Workload, lanes: list[Lane], precision: str) -> Finding:
    """Whether each of some lanes has left what it leaves alone, launched."""
    together = {lane.run.method: state(lane) for lane in lanes}
    odd = []
    for method, found in together.items():
        odd += [f"{method}: {each}" for each in unlike(found, launched_alone(work, method, precision))]
    replayed = ", ".join(f"{lane.run.method} {lane.graphed_step.replayed}" for lane in lanes)
    lanes[0].context.machine.free_memory()
    return Finding(name, f"{comparison(odd)} as alone and launched; replayed: {replayed}", not odd, BUG if odd else "")


@cache
def launched_alone(work: Workload, method: str, precision: str) -> State:
    """What a lane leaves that is trained alone, its steps launched."""
    lane, _ = work.train(work.machine(precision, graphs=False), method)
    return state(lane)


class DelayedRecorder:
    """A recorder whose stream, and the stream that waits for it, are held up for random times."""

    def __init__(self, recorder: Recorder, dice: random.Random):
        self._recorder, self._dice = recorder, dice

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)

    def _delay(self) -> None:
        torch.cuda._sleep(self._dice.randrange(1, MAX_CYCLES))

    @contextmanager
    def on_own_stream(self) -> Iterator[None]:
        """As Recorder's."""
        self._delay()
        with self._recorder.on_own_stream():
            self._delay()
            yield
            self._delay()

    def join(self) -> None:
        """As Recorder's."""
        self._delay()
        self._recorder.join()
        self._delay()
