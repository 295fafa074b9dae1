"""Actions that are the same in every step, recorded as CUDA graphs and replayed.

A step of a small network is some hundred kernels of a few microseconds each: to launch them one by one from Python
takes longer than to run them.  A recording bakes in addresses, and every value that Python held.  So an action is
first carried out and watched; recorded once nothing that a recording would bake in has moved; and recorded anew in
the epoch in which something has.  What cannot be recorded goes on as it is, and says why.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmark.acceleration.guards import Guard

WARMUP_STEPS = 3  # steps in a row that left everything in its place, before a recording
MAX_UNSTEADY_STEPS = 12  # steps in an epoch, after which an action that is still not steady is left alone
NEVER_STEADY = f"it was never steady for {WARMUP_STEPS} steps on inputs that stay in one place"


class Recorder:
    """A CUDA stream of its own, and graphs of what is launched on it."""

    def __init__(self, device: torch.device):
        self.device, self.stream = device, torch.cuda.Stream(device)

    @contextmanager
    def on_own_stream(self) -> Iterator[None]:
        """Inside, work goes to the own stream: after what was launched outside before, beside what comes later."""
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            yield

    def join(self) -> None:
        """What is launched from here on comes after all that was launched on the own stream."""
        torch.cuda.current_stream(self.device).wait_stream(self.stream)

    @contextmanager
    def detect_syncs(self) -> Iterator[list[str]]:
        """The list has, afterwards, a sentence for each thing inside that waited for the device."""
        waits: list[str] = []
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield waits
            finally:
                torch.cuda.set_sync_debug_mode(before)
        for warning in caught:
            if "called a synchronizing" in str(warning.message):
                waits.append(str(warning.message))
            elif "debug mode" not in str(warning.message):  # torch's word on this watch itself
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)

    def capture(self, action: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """A function that does again what the action launches, and what the action returned.  It is not done yet.

        Within `branch`.  Raises what the action raises, RuntimeError where CUDA cannot record it.
        """
        graph, collects = torch.cuda.CUDAGraph(), gc.isenabled()
        gc.disable()  # another graph, found to be garbage meanwhile, would spoil this one
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                result = action()
        finally:
            if collects:
                gc.enable()
        return graph.replay, result


class GraphedFunction:
    """An action on static inputs: carried out, then recorded, then replayed for as long as its guard stays the same.

    guard: what a recording would bake in, as it is now.  recorder: None where nothing is recorded.
    Inputs are static if the same objects come again; with others the action is carried out.
    """

    def __init__(
        self,
        action: Callable[..., Any],
        guard: Callable[[], Guard],
        recorder: Recorder | None,
        never: str = "",  # why this action must not be recorded
    ):
        self.action, self.guard, self.recorder = action, guard, recorder
        self.recorded, self.replayed, self.never, self.reason = 0, 0, never, never
        self.busy = False  # told to do something since the last `join`
        self._forget()

    def _forget(self, guard: Guard | None = None) -> None:
        self._replay, self._result, self._given, self._known = None, None, (), guard
        self._steady_steps, self._tries = 0, 0

    def begin(self) -> None:
        """An epoch begins: a recording that would no longer do what the action does is dropped."""
        if self.recorder is None or self.never:
            return
        guard = self.guard()
        if guard != self._known:
            self._forget(guard)
            self.reason = ""

    def join(self) -> None:
        """What is launched from here on comes after all that this was told to do."""
        if self.recorder is not None and self.busy:
            self.recorder.join()
            self.busy = False

    def summary(self) -> dict[str, Any] | None:
        """For a record: how often it was recorded and replayed, and why it last was not; None without a recorder."""
        if self.recorder is None:
            return None
        reason = self.reason or ("" if self.recorded else NEVER_STEADY)
        return {"recorded": self.recorded, "replayed": self.replayed, "reason": reason}

    def __call__(self, *given: Any) -> Any:
        """What the action returns; from a replay, the very object that was returned to the recorder."""
        if self.recorder is None:
            return self.action(*given)
        self.busy = True
        with self.recorder.on_own_stream():
            static = len(given) == len(self._given) and all(a is b for a, b in zip(given, self._given, strict=True))
            if self._replay is not None and static:
                self.replayed += 1
                self._replay()
                return self._result
            if self._replay is not None or self.reason:
                return self.action(*given)
            if static and self._steady_steps >= WARMUP_STEPS:
                return self._record(given)
            self._given = given
            return self._watched(given)

    def _watched(self, given: tuple) -> Any:
        """Carry it out, and see whether a recording would have done the same."""
        with self.recorder.detect_syncs() as waits:
            result = self.action(*given)
        guard = self.guard()
        moved = "" if guard == self._known else "what it depends on moves in Python with every step"
        fault = f"it waits for the device: {waits[0]}" if waits else moved
        self._known, self._tries = guard, self._tries + 1
        self._steady_steps = 0 if fault else self._steady_steps + 1
        if fault and self._tries >= MAX_UNSTEADY_STEPS:
            self.reason = fault
        return result

    def _record(self, given: tuple) -> Any:
        """Record it, and replay that once: to record is not to do."""
        try:
            replay, result = self.recorder.capture(lambda: self.action(*given))
        except torch.OutOfMemoryError:
            raise
        except Exception as fault:  # noqa: BLE001  whatever cannot be recorded can still be carried out
            self.reason = f"it could not be recorded: {type(fault).__name__}: {str(fault).partition(chr(10))[0]}"
            return self.action(*given)
        self._replay, self._result = replay, result
        self.recorded += 1
        replay()
        return result
