"""What the lanes of a cohort share: store, device, data, teacher, and batches that none of them may change."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmark.acceleration.feed import BatchFeed
from benchmark.acceleration.machine import Machine
from benchmark.acceleration.output_cast import output_tensors
from benchmark.data.datasets import Dataset
from benchmark.data.split import Split
from benchmark.store import Store
from benchmark.training.teacher import Teacher
from methods.contract import Batch, Outputs


@dataclass(frozen=True, slots=True)
class Context:
    """What the lanes of a cohort share.  `dataclasses.replace` makes a new feed."""

    store: Store
    machine: Machine
    data: Dataset
    train_split: Split
    eval_split: Split
    teacher: Teacher | None
    record_fields: Mapping[str, Any] = field(default_factory=dict)  # suite, options and plug-ins, for the record
    origins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # id -> where each value comes from
    checkpoint_interval: float = 30.0  # seconds between two checkpoints, at least
    did_not_fit: tuple[int, ...] = ()  # numbers of lanes that ran out of memory together, in order
    feed: BatchFeed = field(init=False)

    def __post_init__(self):
        forward = self.teacher.forward if self.teacher else None
        object.__setattr__(self, "feed", self.machine.feed(forward))

    def with_lanes_that_did_not_fit(self, lanes: int) -> Context:
        """The same context, sharing its feed, with one more number of lanes that ran out of memory together."""
        other = copy.copy(self)
        object.__setattr__(other, "did_not_fit", (*self.did_not_fit, lanes))
        return other


class SharedTensorChanged(RuntimeError):
    """A method has changed a tensor in place that the other lanes read as well."""


@contextmanager
def unchanged(batch: Batch, t: Outputs | None) -> Iterator[None]:
    """Raises SharedTensorChanged if the batch or the teacher's outputs are changed in place in this block.

    torch counts the changes of a tensor, so that nothing is read and nothing waits for a device.  Changes that torch
    does not count are not seen: through `Tensor.data`, numpy or an address.  A replayed CUDA graph runs no Python; what
    it would change is found when the step is called, before it is recorded.
    """
    own, taught = [batch.x, batch.y, batch.index], [] if t is None else output_tensors(t)
    before = [x._version for x in (*own, *taught)]
    try:
        yield
    finally:
        changed = [x._version != count for x, count in zip((*own, *taught), before, strict=True)]
        if any(changed):
            what = "the batch" if any(changed[: len(own)]) else "the teacher's outputs"
            raise SharedTensorChanged(f"its method changed {what} in place, which other runs read: clone it first")
