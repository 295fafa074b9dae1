"""A method's visiting card on a pair of networks: what it reads, what it trains beside the student, what it leaves.

Everything is built on the meta device: no memory, no data, well under a second.
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
from benchmark.training import model_size
from methods import registry
from methods.contract import Batch, Clock, Method, Outputs, Unfit

IMAGES, CLASSES = 8, 100
LATE_EPOCH = 99  # an epoch at which every term is on


@dataclass(frozen=True, slots=True)
class MethodSummary:
    """What is known of a method on a pair of networks with 100 classes; `unfit` says why it does not serve them."""

    student: tuple[str, ...] = ()  # what it reads of each
    teacher: tuple[str, ...] = ()
    auxiliary: int = 0  # parameters trained and thrown away
    added: int = 0  # parameters left in the deployed student
    buffers: int = 0
    unfit: str = ""


def summarise_method(name: str, pair: Pair) -> MethodSummary:
    """The card of a method at its default knobs.  Raises BadInput for unknown networks."""
    with torch.device("meta"):
        student, teacher = models.build(pair.student, CLASSES), models.build(pair.teacher, CLASSES)
        try:
            return observe_method(name, pair, student, teacher)
        except Unfit as reason:
            return MethodSummary(unfit=str(reason))
        except Exception as fault:  # noqa: BLE001  one method's fault must not hide the others
            return MethodSummary(unfit=f"{type(fault).__name__}: {fault}")


def observe_method(name: str, pair: Pair, student: nn.Module, teacher: nn.Module) -> MethodSummary:
    """The card of a method that goes through all its stages."""
    own, other = models.shape(pair.student, CLASSES), models.shape(pair.teacher, CLASSES)
    x = torch.empty(IMAGES, 3, 32, 32)
    batch = Batch(x, torch.zeros(IMAGES, dtype=torch.int64), torch.arange(IMAGES))
    plain = model_size.count_parameters(student)
    method = registry.get(name)(own, other, **resolve_knobs(name, {}))
    method.prepare(student, teacher, lambda: iter([(teacher(x), batch)]))
    s, t = TrackedOutputs(student(x)), TrackedOutputs(teacher(x))
    run_all_stages(method, s, t, batch)
    return MethodSummary(
        student=s.seen,
        teacher=t.seen,
        auxiliary=model_size.count_parameters(method),
        added=model_size.count_parameters(student) - plain,
        buffers=sum(b.numel() for b in method.buffers()),
    )


def run_all_stages(method: Method, s: TrackedOutputs, t: TrackedOutputs, batch: Batch) -> None:
    """Every stage's loss once, late in training, and what the method observes."""
    for stage in method.stages(LATE_EPOCH + 1):
        method.begin_epoch(Clock(stage.name, LATE_EPOCH, LATE_EPOCH + 1))
        stage.loss(s, t if method.needs_teacher else None, batch)
    method.observe(s, t if method.needs_teacher else None, batch)


class TrackedOutputs:
    """Outputs that note what is read of them."""

    def __init__(self, outputs: Outputs):
        self._outputs, self._seen = outputs, set()

    @property
    def seen(self) -> tuple[str, ...]:
        """What was read, in alphabetical order: embedding, logits, maps[2] …"""
        return tuple(sorted(self._seen))

    @property
    def maps(self) -> Sequence[Tensor]:
        return TrackedMaps(self._outputs.maps, self._seen)

    def __getattr__(self, name: str) -> Any:
        self._seen.add(name)
        return getattr(self._outputs, name)


class TrackedMaps(Sequence):
    """Feature maps that note which are read."""

    def __init__(self, maps: Sequence[Tensor], seen: set[str]):
        self._maps, self._seen = maps, seen

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, place: int | slice) -> Any:
        self._seen.add(f"maps[{place}]" if isinstance(place, int) else "maps")
        return self._maps[place]

    def __iter__(self) -> Iterator[Tensor]:
        self._seen.add("maps")
        return iter(self._maps)
