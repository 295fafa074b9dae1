"""Whether anything has moved that a recording of an action would have baked in."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

VALUE_TYPES = (bool, int, float, str, bytes, type(None))


class Guard:
    """All that a recording bakes in of some things: the identity and address of tensors, the values Python holds.

    Tensors, modules and containers are walked; of other objects the identity counts.  Equal if nothing has moved.
    """

    def __init__(self, *things: object):
        self._alive: list[object] = []  # kept alive, so that no identity is given away again
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
    """What a module or a container holds, a mapping's keys and values in turn; None for other objects."""
    if isinstance(thing, nn.Module):
        thing = vars(thing)
    if isinstance(thing, Mapping):
        return [part for item in thing.items() for part in item]
    return list(thing) if isinstance(thing, list | tuple | set | frozenset) else None
