"""Summary of a method on a pair of networks: which outputs it reads, how many parameters it adds or trains beside.

Everything is built on the meta device, without data and without memory for weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import models
from benchmark.experiment.resolve import resolve_knobs
from benchmark.experiment.suite import Pair
from benchmark.models.unfilled import Unfilled
from benchmark.training import model_size
from methods import registry
from methods.contract import Batch, Clock, Method, Outputs, Unfit

IMAGES, CLASSES = 8, 100
LATE_EPOCH = 99  # of each stage; terms that start later than the first epoch are active in it


@dataclass(frozen=True, slots=True)
class MethodSummary:
    """A method on a pair of networks with 100 classes."""

    student: tuple[str, ...] = ()  # outputs of the student that it reads
    teacher: tuple[str, ...] = ()  # outputs of the teacher that it reads
    auxiliary: int = 0  # parameters that are trained and not deployed
    added: int = 0  # parameters that it adds to the deployed student
    buffers: int = 0  # numbers in its buffers
    unfit: str = ""  # why it does not support the pair; else empty


def summarise_method(name: str, pair: Pair) -> MethodSummary:
    """The summary of a method at its default knobs.  Raises BadInput for unknown networks."""
    with torch.device("meta"), Unfilled():
        shown = registry.preactivations_read([name])
        student, teacher = (models.build(each, CLASSES, shown) for each in (pair.student, pair.teacher))
        try:
            return observe_method(name, pair, student, teacher)
        except Unfit as reason:
            return MethodSummary(unfit=str(reason))
        except Exception as fault:  # noqa: BLE001  an error in one method must not hide the others
            return MethodSummary(unfit=f"{type(fault).__name__}: {fault}")


def observe_method(name: str, pair: Pair, student: nn.Module, teacher: nn.Module) -> MethodSummary:
    """The summary of a method, observed while it runs each of its stages once.  Raises Unfit."""
    shapes = models.shape(pair.student, CLASSES), models.shape(pair.teacher, CLASSES)
    x = torch.empty(IMAGES, 3, 32, 32)
    batch = Batch(x, torch.zeros(IMAGES, dtype=torch.int64), torch.arange(IMAGES))
    before = model_size.count_parameters(student)
    method = registry.get(name)(*shapes, **resolve_knobs(name, {}))
    method.prepare(student, teacher, lambda: iter([(teacher(x), batch)]))
    s, t = TrackedOutputs(student(x)), TrackedOutputs(teacher(x))
    run_all_stages(method, s, t, batch)
    return MethodSummary(
        student=s.read,
        teacher=t.read,
        auxiliary=model_size.count_parameters(method),
        added=model_size.count_parameters(student) - before,
        buffers=model_size.count_buffers(method),
    )


def run_all_stages(method: Method, s: TrackedOutputs, t: TrackedOutputs, batch: Batch) -> None:
    """Call the loss of every stage once, in a late epoch, and then `observe`."""
    for stage in method.stages(LATE_EPOCH + 1):
        method.begin_epoch(Clock(stage.name, LATE_EPOCH, LATE_EPOCH + 1))
        stage.loss(s, t if method.needs_teacher else None, batch)
    method.observe(s, t if method.needs_teacher else None, batch)


class TrackedOutputs:
    """Outputs that record which of their fields are read."""

    def __init__(self, outputs: Outputs):
        self._outputs, self._read = outputs, set()

    @property
    def read(self) -> tuple[str, ...]:
        """Names of what was read, in alphabetical order: embedding, logits, maps[2] …"""
        return tuple(sorted(self._read))

    @property
    def maps(self) -> Sequence[Tensor]:
        return TrackedMaps(self._outputs.maps, self._read)

    def __getattr__(self, name: str) -> Any:
        self._read.add(name)
        return getattr(self._outputs, name)


class TrackedMaps(Sequence):
    """Feature maps that record which of them are read."""

    def __init__(self, maps: Sequence[Tensor], read: set[str]):
        self._maps, self._read = maps, read

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: int | slice) -> Any:
        self._read.add(f"maps[{index}]" if isinstance(index, int) else "maps")
        return self._maps[index]

    def __iter__(self) -> Iterator[Tensor]:
        self._read.add("maps")
        return iter(self._maps)
