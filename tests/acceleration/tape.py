"""A recorder without CUDA: it writes down what torch is asked to do, and does it again with the same memory.

It is as strict as a CUDA graph where mistakes go unnoticed: recording executes nothing; values that Python held are
fixed; tensors are read and written at their addresses; what must wait for the device cannot be recorded.
"""

from contextlib import contextmanager, nullcontext

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from benchmark.acceleration.machine import Machine
from benchmark.profiling.memory import storage_id, tensors_in

SYNCHRONISING = ("_local_scalar_dense", "nonzero", "equal", "masked_select", "_unique2")


def synchronises(operation):
    """Whether an operation would wait for a device."""
    return operation.overloadpacket.__name__ in SYNCHRONISING


class Tape(TorchDispatchMode):
    """Inside, operations are executed and written down; `undo` then leaves memory as it was before."""

    def __init__(self):
        super().__init__()
        self.lines, self.before, self.own = [], [], set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if synchronises(operation):
            raise RuntimeError(f"operation not permitted when stream is capturing: {operation}\nand so on")
        kwargs, places = kwargs or {}, set()
        for tensor in tensors_in((args, kwargs)):
            place = storage_id(tensor)
            places.add(place)
            if place is not None and place not in self.own:
                self.before.append((tensor.detach(), tensor.detach().clone()))
        found = operation(*args, **kwargs)
        results = list(tensors_in(found))
        self.own |= {storage_id(tensor) for tensor in results} - places
        self.lines.append((operation, args, kwargs, places, results))
        return found

    def undo(self):
        with torch.no_grad(), _disable_current_modes():
            for tensor, values in reversed(self.before):
                tensor.copy_(values)

    @torch.no_grad()
    def replay(self):
        for operation, args, kwargs, places, results in self.lines:
            new = operation(*args, **kwargs)
            for one, other in zip(results, [new] if torch.is_tensor(new) else tensors_in(new), strict=True):
                if storage_id(other) is not None and storage_id(other) not in places:
                    one.detach().copy_(other)


class SyncDetector(TorchDispatchMode):
    """Inside, operations that would wait for a device are noted."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if synchronises(operation):
            self.found.append(f"called a synchronizing operation: {operation}")
        return operation(*args, **(kwargs or {}))


class TapeRecorder:
    """Stands for `cuda_graphs.Recorder`."""

    def on_own_stream(self):
        return nullcontext()

    def join(self):
        pass

    def close(self):
        pass

    def free_memory(self):
        pass

    def why_not(self):
        return ""

    @contextmanager
    def detect_syncs(self):
        with SyncDetector() as detector:
            yield detector.found

    def capture(self, action):
        with Tape() as tape:
            try:
                result = action()
            finally:
                tape.undo()
        return tape.replay, result


class TapeMachine(Machine):
    """A CPU whose steps are recorded and replayed."""

    teacher_batches = 2

    def recorder(self):
        return TapeRecorder()


MACHINE = TapeMachine(torch.device("cpu"), "fp32", graphs=True)
CALLED = TapeMachine(torch.device("cpu"), "fp32", graphs=False)  # nothing is recorded; the teacher has as many batches
