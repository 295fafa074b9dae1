"""How much memory a step takes at its worst: the bytes of all tensors that are alive at once.

On a CPU every operation's result is watched until its storage is freed.  This leaves out what a library takes and
gives back within one operation, and weights that it has packed for itself.  On CUDA the allocator is asked, which
counts such scratch memory too.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Inside, `now` is the bytes of all storages watched and not yet freed, `most` the highest that it has been."""

    def __init__(self, held: Iterable[Tensor] = ()):
        super().__init__()
        self.now, self.most = 0, 0
        self._known: dict[int, weakref.ref] = {}
        for tensor in held:
            self._watch(tensor)

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        given = {storage_id(tensor) for tensor in tensors_in((args, kwargs))}
        for tensor in tensors_in(found):
            if storage_id(tensor) not in given:  # else a view, or written in place: nothing new
                self._watch(tensor)
        return found

    def _watch(self, tensor: Tensor) -> None:
        place = storage_id(tensor)
        if place is None or place in self._known:
            return
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        self._known[place] = weakref.ref(storage, lambda _: self._freed(place, size))
        self.now += size
        self.most = max(self.most, self.now)

    def _freed(self, place: int, size: int) -> None:
        del self._known[place]
        self.now -= size


def peak_bytes(step: Callable[[], object], held: Iterable[Tensor], device: torch.device) -> int:
    """The most bytes alive at once during `step`, those of `held` included, whatever else is alive not.

    held: what the step finds there, weights and so on; walked once, so that the step may free it.
    """
    if device.type != "cuda":
        with LiveBytes(held) as alive:
            step()
        return alive.most
    before = LiveBytes(held).now
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    found = torch.cuda.memory_allocated(device)
    step()
    torch.cuda.synchronize(device)
    return before + torch.cuda.max_memory_allocated(device) - found


def tensors_in(values: object) -> list[Tensor]:
    """The tensors in nested arguments or results."""
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def storage_id(tensor: Tensor) -> int | None:
    """Where a tensor's storage is kept; None for one without, as libraries pack them."""
    try:
        return tensor.untyped_storage()._cdata
    except RuntimeError:
        return None
