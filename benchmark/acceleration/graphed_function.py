"""Functions that are recorded as CUDA graphs and replayed, and the guards that say when a recording is out of date.

Python needs longer to launch the some hundred kernels of a small network's step than the GPU needs to run them.  A
recording fixes addresses and every value that Python held.  So a function is called and observed first, recorded once
nothing that a recording would fix has changed for a few calls, and recorded again in the epoch in which something has.
What cannot be recorded is called as it is, and `summary` says why.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.acceleration.cuda_graphs import Recorder

WARMUP_STEPS = 3  # calls in a row that changed nothing a recording would fix, before a recording
MAX_UNSTEADY_STEPS = 12  # calls in an epoch, after which a function that still changes something is not recorded
NEVER_STEADY = f"it was never steady for {WARMUP_STEPS} steps on inputs that stay in one place"
VALUE_TYPES = (bool, int, float, str, bytes, type(None))


class Guard:
    """What a recording fixes of some objects: identity and address of tensors, values of Python.

    Tensors, modules and containers are walked; of other objects only the identity counts.  Two guards are equal if
    nothing has changed between them.
    """

    def __init__(self, *things: object):
        self._alive: list[object] = []  # kept alive, so that no identity is used again
        self._seen: set[int] = set()
        self._state = self._of(things)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Guard) and self._state == other._state

    __hash__ = None

    def _of(self, thing: object) -> object:
        if isinstance(thing, VALUE_TYPES):
            return repr(thing)
        self._alive.append(thing)
        if isinstance(thing, Tensor):
            return id(thing), thing.data_ptr(), thing.requires_grad
        if id(thing) in self._seen:
            return id(thing)
        self._seen.add(id(thing))
        inside = children_of(thing)
        return id(thing) if inside is None else (type(thing), [self._of(part) for part in inside])


def children_of(thing: object) -> list | None:
    """The contents of a module or a container, keys and values of a mapping in turn; None for other objects."""
    if isinstance(thing, nn.Module):
        thing = vars(thing)
    if isinstance(thing, Mapping):
        return [part for item in thing.items() for part in item]
    return list(thing) if isinstance(thing, list | tuple | set | frozenset) else None


class GraphedFunction:
    """A function of static inputs: called, then recorded, then replayed for as long as its guard stays the same.

    guard: what a recording would fix, as it is now.  recorder: None where nothing is recorded.  never: why this
    function must not be recorded.  alone: whether nothing else could give memory back to this function.
    Inputs are static if the same objects come again; with other inputs the function is called.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        guard: Callable[[], Guard],
        recorder: Recorder | None,
        never: str = "",
        alone: Callable[[], bool] = lambda: True,
    ):
        self.function, self.guard, self.recorder, self.alone = function, guard, recorder, alone
        self.recorded, self.replayed, self.never, self.reason = 0, 0, never, never
        self.busy = False  # called since the last `join`
        self.closed = False
        self._forget()

    def _forget(self, guard: Guard | None = None) -> None:
        self._replay, self._result, self._inputs, self._known = None, None, (), guard
        self._steady_steps, self._tries = 0, 0

    def begin(self) -> None:
        """Start an epoch: a recording that would no longer do what the function does is dropped."""
        if self.recorder is None or self.never:
            return
        guard = self.guard()
        if guard != self._known:
            self._forget(guard)
            self.reason = ""

    def join(self) -> None:
        """Make the current stream wait for all calls so far."""
        if self.recorder is not None and self.busy:
            self.recorder.join()
            self.busy = False

    def close(self) -> None:
        """Drop the recording, then give its stream back.  Later calls are not recorded."""
        self.closed = True
        self._forget()
        if self.recorder is not None:
            self.recorder.close()

    def summary(self) -> dict[str, Any] | None:
        """For the run's record: how often it was recorded and replayed, and why not; None without a recorder."""
        if self.recorder is None:
            return None
        reason = self.reason or ("" if self.recorded else NEVER_STEADY)
        return {"recorded": self.recorded, "replayed": self.replayed, "reason": reason}

    def __call__(self, *inputs: Any) -> Any:
        """The function's result; a replay returns the object that was returned when it was recorded."""
        if self.recorder is None or self.closed:
            return self.function(*inputs)
        self.busy = True
        with self.recorder.on_own_stream():
            static = len(inputs) == len(self._inputs) and all(map(operator.is_, inputs, self._inputs))
            if self._replay is not None and static:
                self.replayed += 1
                self._replay()
                return self._result
            if self._replay is not None or self.reason:
                return self.function(*inputs)
            if static and self._steady_steps >= WARMUP_STEPS:
                return self._record(inputs)
            self._inputs = inputs
            return self._observed(inputs)

    def _observed(self, inputs: tuple) -> Any:
        """Call it, and note whether a recording would have done the same."""
        with self.recorder.detect_syncs() as waits:
            result = self.function(*inputs)
        guard = self.guard()
        changed = "" if guard == self._known else "what it depends on changes in Python with every step"
        fault = f"it waits for the device: {waits[0]}" if waits else changed
        self._known, self._tries = guard, self._tries + 1
        self._steady_steps = 0 if fault else self._steady_steps + 1
        if fault and self._tries >= MAX_UNSTEADY_STEPS:
            self.reason = fault
        return result

    def _record(self, inputs: tuple) -> Any:
        """Record it and replay it once, because recording executes nothing; call it if it cannot be recorded."""
        self.reason = self.recorder.why_not() or self._try_to_record(inputs)
        if self.reason:
            self.recorder.free_memory()
            return self.function(*inputs)
        self.recorded += 1
        self._replay()
        return self._result

    def _try_to_record(self, inputs: tuple) -> str:
        """Record it; returns why that failed.  Raises OutOfMemoryError, unless nothing else could give memory back."""
        try:
            self._replay, self._result = self.recorder.capture(lambda: self.function(*inputs))
        except Exception as fault:  # whatever cannot be recorded can still be called
            text = f"{type(fault).__name__}: {str(fault).partition(chr(10))[0]}"
            if ran_out_of_memory(fault) and not self.alone():
                raise torch.OutOfMemoryError(text) from fault
            return f"it could not be recorded: {text}"
        return ""


def ran_out_of_memory(fault: BaseException | None) -> bool:
    """Whether an exception is an OutOfMemoryError or was raised while one was handled.

    When memory runs out during a recording, ending the recording may raise another exception.
    """
    while fault is not None and not isinstance(fault, torch.OutOfMemoryError):
        fault = fault.__context__
    return fault is not None


def weak_method(method: Callable[..., Any]) -> Callable[..., Any]:
    """A function that calls a bound method and does not keep its object alive."""
    reference = weakref.WeakMethod(method)

    def call(*inputs: Any) -> Any:
        return reference()(*inputs)

    return call
