"""torch.cuda without a device: streams on paper, and a detector of accesses that these streams do not order.

Work is executed at once, on the CPU, in the order in which it is launched.  What a device could execute in another
order is known from vector clocks: a launch comes after another one if the streams say so, and in no other case.
"""

import gc
import weakref
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from tape import Tape
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.acceleration import cuda_graphs
from benchmark.acceleration.cuda_graphs import Recorder, StreamPool
from benchmark.acceleration.machine import Machine
from benchmark.profiling.memory import storage_id, tensors_in


class FakeCuda:
    """Stands for torch.cuda.  `log` has what was asked of it, in order; `lost`: whether synchronising fails."""

    def __init__(self):
        self.log, self.modes, self.lost, self.capturing = [], ["default"], False, False
        self.created, self.streams = 0, {}
        self.current = [FakeStream(self, "main")]

    def install(self, monkeypatch):
        """Put it in the place of torch.cuda, with no stream in use and no recording that failed."""
        for name in ("stream", "graph", "synchronize", "empty_cache", "current_stream", "CUDAGraph", "Stream"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: self.modes[-1])
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", self.modes.append)
        monkeypatch.setattr(cuda_graphs, "STREAMS", StreamPool())
        monkeypatch.setattr(Recorder, "capture_failed", False)

    def Stream(self, device):
        """One of 32 streams, the first again after the last."""
        self.created += 1
        name = f"stream {(self.created - 1) % 32}"
        return self.streams.setdefault(name, FakeStream(self, name))

    def CUDAGraph(self):
        """An empty graph."""
        return FakeGraph(self.log)

    def current_stream(self, device=None):
        """The stream that work goes to."""
        return self.current[-1]

    @contextmanager
    def stream(self, chosen):
        """Inside, work goes to a stream."""
        self.current.append(chosen)
        yield
        self.current.pop()

    @contextmanager
    def graph(self, graph, stream):
        """Inside, work is written down and not executed."""
        self.log.append(f"records on {stream.name}, collecting garbage: {gc.isenabled()}")
        self.capturing = True
        try:
            with Tape() as tape:
                yield
        finally:
            self.capturing = False
            tape.undo()
        graph.tape = tape

    def synchronize(self, device=None):
        """Wait for everything: what is launched later comes after all of it."""
        self.log.append("synchronizes")
        if self.lost:
            raise RuntimeError("CUDA error: unspecified launch failure")
        everything = Counter()
        for stream in self.known():
            everything |= stream.clock
        for stream in self.known():
            stream.clock = Counter(everything)

    def known(self):
        """The default stream and all others so far."""
        return [self.current[0], *self.streams.values()]

    def empty_cache(self):
        """Noted."""
        self.log.append("empties the cache")


class FakeGraph:
    """A recording; its destruction is noted."""

    def __init__(self, log):
        self.tape = None
        weakref.finalize(self, log.append, "destroys a graph").atexit = False

    def replay(self):
        """Execute it."""
        self.tape.replay()


class FakeStream:
    """A stream: `clock` has, for each stream, the number of its launches that come before the next one here."""

    def __init__(self, cuda, name):
        self.cuda, self.name, self.cuda_stream = cuda, name, 1000 + len(cuda.streams)
        self.clock = Counter()

    def wait_stream(self, other):
        """What is launched here from now on comes after what was launched there."""
        self.cuda.log.append(f"{self.name} waits for {other.name}")
        self.clock |= other.clock

    def synchronize(self):
        """Wait for this stream: what is launched later, on any stream, comes after its work."""
        for stream in self.cuda.known():
            stream.clock |= self.clock


class Streamed(Machine):
    """A CPU that takes CUDA's recorder for its own."""

    teacher_batches = 2

    def recorder(self):
        return Recorder(self.device)


STREAMED = Streamed(torch.device("cpu"), "fp32", graphs=True)


# ---- accesses without an order
@dataclass
class Accesses:
    """What was done to a storage: launches as (stream, number), and the stream it was allocated on."""

    home: str
    writes: list = field(default_factory=list)
    reads: list = field(default_factory=list)


class RaceDetector(TorchDispatchMode):
    """Inside, `races` gets a line for each access to memory that no stream's order puts after an earlier one.

    Memory that is freed may be used again at once by the stream it was allocated on, as torch's allocator does.
    `launches`: (stream, operation, its number, the clock before it), in order.
    """

    def __init__(self, cuda):
        super().__init__()
        self.cuda, self.races, self.launches = cuda, [], []
        self._known, self._freed = {}, {}

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        if self.cuda.capturing:
            return found
        stream = self.cuda.current_stream()
        stream.clock[stream.name] += 1
        name = operation.overloadpacket.__name__
        self.launches.append((stream.name, name, stream.clock[stream.name], Counter(stream.clock)))
        arguments = {**dict(zip((a.name for a in operation._schema.arguments), args, strict=False)), **(kwargs or {})}
        written = {a.name for a in operation._schema.arguments if a.alias_info and a.alias_info.is_write}
        places = set()
        for argument, value in arguments.items():
            for tensor in tensors_in(value):
                places.add(storage_id(tensor))
                self._access(tensor, stream, name, argument in written)
        for tensor in tensors_in(found):
            if storage_id(tensor) not in places:  # else a view, or written in place
                self._reuse(stream, name)
                self._access(tensor, stream, name, write=True)
        return found

    def _access(self, tensor, stream, name, write):
        place = storage_id(tensor)
        if place is None:
            return
        if place not in self._known:
            self._known[place] = accesses = Accesses(stream.name)
            storage = tensor.untyped_storage()
            accesses.reference = weakref.ref(storage, lambda _: self._free(place))
        accesses = self._known[place]
        self._check(accesses.writes + (accesses.reads if write else []), stream, f"{name} on {stream.name}")
        (accesses.writes if write else accesses.reads).append((stream.name, stream.clock[stream.name]))

    def _check(self, earlier, stream, what):
        self.races += [f"{what} races with {other}" for other, tick in set(earlier) if stream.clock[other] < tick]

    def _free(self, place):
        accesses = self._known.pop(place)
        self._freed.setdefault(accesses.home, []).append(accesses)

    def _reuse(self, stream, name):
        for accesses in self._freed.pop(stream.name, []):
            self._check(accesses.writes + accesses.reads, stream, f"memory freed too early: {name} on {stream.name}")
