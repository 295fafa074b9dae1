"""What the lanes of a cohort share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.accelerate import Machine
from benchmark.belt import Belt
from benchmark.data import Split
from benchmark.datasets import Dataset
from benchmark.store import Store
from benchmark.teacher import Teacher


@dataclass(frozen=True, slots=True)
class Setting:
    """What the lanes of a cohort share."""

    store: Store
    machine: Machine
    data: Dataset
    learn: Split
    judged: Split
    teacher: Teacher | None
    words: Mapping[str, Any] = field(default_factory=dict)  # suite, options and plug-ins, for the record
    origins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # id -> where each value comes from
    pause: float = 30.0  # seconds between two checkpoints, at least
    too_many: tuple[int, ...] = ()  # lanes that did not fit into memory together, before fewer were tried
    belt: Belt = field(init=False)

    def __post_init__(self):
        look = self.teacher.look if self.teacher else None
        object.__setattr__(self, "belt", self.machine.belt(look))
