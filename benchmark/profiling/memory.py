"""Peak memory of a training step: the bytes of all tensors that are alive at the same time.

On a CPU the result of every operation is tracked until its storage is freed.  Not counted are the memory that a
library allocates and frees within one operation, and the weights that it has packed into a format of its own.  On CUDA
the number comes from torch's allocator, which counts such workspaces too.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts bytes while it is active: `current`, of all tracked storages that are not freed; `peak`, its maximum.

    held: tensors that exist before, to be tracked from the start.
    """

    def __init__(self, held: Iterable[Tensor] = ()):
        super().__init__()
        self.current, self.peak = 0, 0
        self._tracked: dict[int, weakref.ref] = {}
        for tensor in held:
            self._track(tensor)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        inputs = {storage_id(tensor) for tensor in tensors_in((args, kwargs))}
        for tensor in tensors_in(result):
            if storage_id(tensor) not in inputs:  # views and in-place results allocate nothing
                self._track(tensor)
        return result

    def _track(self, tensor: Tensor) -> None:
        key = storage_id(tensor)
        if key is None or key in self._tracked:
            return
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        self._tracked[key] = weakref.ref(storage, lambda _: self._free(key, size))
        self.current += size
        self.peak = max(self.peak, self.current)

    def _free(self, key: int, size: int) -> None:
        del self._tracked[key]
        self.current -= size


def peak_bytes(step: Callable[[], object], held: Iterable[Tensor], device: torch.device) -> int:
    """Peak bytes during `step`: of the tensors that it creates and of those in `held`; other tensors do not count.

    held: tensors that exist before the step, such as weights; iterated once and not kept, so that the step can free
    them.
    """
    if device.type != "cuda":
        with LiveBytes(held) as live:
            step()
        return live.peak
    held_bytes = LiveBytes(held).current
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    allocated = torch.cuda.memory_allocated(device)
    step()
    torch.cuda.synchronize(device)
    return held_bytes + torch.cuda.max_memory_allocated(device) - allocated


def tensors_in(values: object) -> list[Tensor]:
    """The tensors in nested arguments or results."""
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def storage_id(tensor: Tensor) -> int | None:
    """Address of the storage object of a tensor; None if it has none, as tensors in a library's packed format."""
    try:
        return tensor.untyped_storage()._cdata
    except RuntimeError:
        return None
