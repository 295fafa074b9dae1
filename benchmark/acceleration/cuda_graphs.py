"""CUDA graphs: kernels recorded once and launched together, and the CUDA streams that they are recorded on.

A stream belongs to one recorder at a time.  When torch destroys a graph it frees the cuBLAS workspaces of the stream
that the graph was recorded on, also those that another graph of this stream still uses (pytorch issue 193402).
"""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

STREAM_COUNT = 32  # streams that torch creates per device; from then on `torch.cuda.Stream` returns the same ones again


class StreamPool:
    """The CUDA streams of recorders: each is in use by at most one, and is used again after that."""

    def __init__(self):
        self._free: dict[torch.device, list[torch.cuda.Stream]] = {}
        self._in_use: set[int] = set()  # cudaStream_t as numbers

    def take(self, device: torch.device) -> torch.cuda.Stream | None:
        """A stream that nobody else uses; None if all of them are in use.  Waits for what is left on a used one."""
        free = self._free.get(device)
        stream = free.pop() if free else self._new(device)
        if stream is not None:
            stream.synchronize()
            self._in_use.add(stream.cuda_stream)
        return stream

    def _new(self, device: torch.device) -> torch.cuda.Stream | None:
        known = self._in_use | {stream.cuda_stream for free in self._free.values() for stream in free}
        candidates = (torch.cuda.Stream(device) for _ in range(STREAM_COUNT))
        return next((stream for stream in candidates if stream.cuda_stream not in known), None)

    def give_back(self, device: torch.device, stream: torch.cuda.Stream | None) -> None:
        """Let another recorder have a stream; the graphs that were recorded on it must have been destroyed."""
        if stream is not None:
            self._in_use.remove(stream.cuda_stream)
            self._free.setdefault(device, []).append(stream)


STREAMS = StreamPool()


class Recorder:
    """Work on a CUDA stream of its own, and graphs of that work.

    `close` gives the stream back, and so does the end of the recorder's life.  Without a stream, because all are in use
    or it was given back, work goes to the current stream and nothing can be recorded.
    """

    capture_failed = False  # in this process

    def __init__(self, device: torch.device):
        self.device, self.stream = device, STREAMS.take(device)
        self._give_back = weakref.finalize(self, STREAMS.give_back, device, self.stream)
        self._give_back.atexit = False

    def close(self) -> None:
        """Wait for the device and give the stream back.  The graphs recorded on it must have been destroyed before."""
        try:
            torch.cuda.synchronize(self.device)
        except RuntimeError:  # the device cannot be used any more: nobody gets this stream again
            self._give_back.detach()
        self._give_back()  # does nothing after the first time
        self.stream = None

    @contextmanager
    def on_own_stream(self) -> Iterator[None]:
        """Inside, work goes to the own stream: after what was launched outside before, in parallel to what follows."""
        if self.stream is None:
            yield
            return
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            yield

    def join(self) -> None:
        """Make the current stream wait for all work launched on the own stream so far."""
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)

    @contextmanager
    def detect_syncs(self) -> Iterator[list[str]]:
        """A list that has, afterwards, torch's warning about each operation inside that waited for the device."""
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
            elif "debug mode" not in str(warning.message):  # torch's own warning about this mode
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)

    def why_not(self) -> str:
        """Why nothing can be recorded; "" if it can be tried."""
        if self.stream is None:
            return f"all {STREAM_COUNT} CUDA streams of torch are in use"
        if allocator_is_stuck():
            return f"another recording failed before, and torch {torch.__version__} cannot record after that"
        return ""

    def capture(self, action: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """Record what an action launches, without executing it: a function that executes it, and the action's result.

        Must be called within `on_own_stream`.  Raises what the action raises, and RuntimeError where CUDA cannot
        record it.
        """
        graph, collects = torch.cuda.CUDAGraph(), gc.isenabled()
        gc.disable()  # if the collector destroyed another graph meanwhile, this recording would fail
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                result = action()
        except BaseException:
            Recorder.capture_failed = True
            raise
        finally:
            if collects:
                gc.enable()
        return graph.replay, result

    def free_memory(self) -> None:
        """Return memory that nothing uses to the device, such as that of a recording that failed."""
        empty_cache()


def allocator_is_stuck() -> bool:
    """Whether torch's allocator takes a recording that failed for one that is still under way.

    Before torch 2.13 ending a failed recording raises before the allocator has been notified (pytorch pull request
    180395).  Then every later recording fails, and `torch.cuda.empty_cache` raises.
    """
    return Recorder.capture_failed and torch.__version__ < (2, 13)


def empty_cache() -> None:
    """Return the memory that torch caches to the device, where that is possible."""
    if not allocator_is_stuck():
        torch.cuda.empty_cache()
