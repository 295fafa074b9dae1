"""What the lanes of a cohort share: store, device, data, teacher."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.acceleration.feed import BatchFeed
from benchmark.acceleration.machine import Machine
from benchmark.data.datasets import Dataset
from benchmark.data.split import Split
from benchmark.store import Store
from benchmark.training.teacher import Teacher


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
