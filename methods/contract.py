"""All that the author of a method must read: what networks show, when time passes, what is owed.

A method is a Module with a pure loss.  Its parameters are trained and counted, its buffers are saved and
resumed, and none of that needs a line of code from its author.

N images in a batch · K classes · D width of the embedding · C, H, W of a feature map
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network shows for one batch.  Methods receive all of it in float32, whatever it was computed in."""

    maps: Sequence[Tensor]  # stem, then each stage, early to late; each (N, C, H, W)
    embedding: Tensor  # (N, D)  exactly what the classifier reads
    logits: Tensor  # (N, K)


@dataclass(frozen=True, slots=True)
class Shape:
    """An `Outputs` without its batch axis: what a method may know of a network before seeing it."""

    maps: tuple[tuple[int, int, int], ...]  # (C, H, W) of each map
    embedding: int  # D
    logits: int  # K

    @classmethod
    def of(cls, outputs: Outputs) -> Shape:
        """The shape of `outputs`, measured on any batch (one of the meta device will do)."""
        maps = tuple(tuple(m.shape[1:]) for m in outputs.maps)
        return cls(maps, outputs.embedding.shape[1], outputs.logits.shape[1])


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of training images."""

    x: Tensor  # (N, 3, H, W)  augmented, normalised
    y: Tensor  # (N,)  labels, int64
    index: Tensor  # (N,)  positions in the training set, int64


@dataclass(frozen=True, slots=True)
class Clock:
    """Where training stands: epoch 0 … epochs - 1 of the stage called `stage`."""

    stage: str
    epoch: int
    epochs: int


Terms = dict[str, Tensor]
Loss = Callable[[Outputs, Outputs, Batch], Terms]
Sweep = Callable[[], Iterator[tuple[Outputs, Batch]]]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training under one loss.  Each stage starts its optimiser and its schedule anew."""

    name: str
    epochs: int
    loss: Loss


class Unfit(Exception):
    """Raised from `__init__` or `prepare`: this pair of networks cannot be served.  The reason stands in the report."""


class Method(nn.Module):
    """A way to learn from a teacher.  Write `loss`; nothing else is owed.

    Knobs are the keyword-only arguments of `__init__`, each with a type and a default: they are the schema of the
    command line, of validation, of the run's identity and of its record.  State has two homes: parameters
    (trained with the student, thrown away after) and buffers (saved and resumed; changed in place).  A GPU may record
    a step once and replay it throughout an epoch: what `loss` and `observe` do in Python is then not done again.
    """

    needs_teacher = True

    def __init__(self, student: Shape | None = None, teacher: Shape | None = None):
        super().__init__()

    def loss(self, s: Outputs, t: Outputs, batch: Batch) -> Terms:
        """Named, already weighted scalars; their sum is minimised.  Pure: same in, same out.

        The cross-entropy with the labels is called "ce": a composition of methods counts it once.
        """
        raise TypeError(f"{type(self).__name__} has no loss: write `def loss(self, s, t, batch)`")

    def prepare(self, student: nn.Module, teacher: nn.Module, sweep: Sweep) -> None:
        """Once, before the first step.  May put a layer at `student.embed`; may read the teacher.

        `sweep()` walks the training set in order, without augmentation, and yields (teacher's outputs, batch).
        """

    def stages(self, epochs: int) -> list[Stage]:
        """The stages of training; the last one has the `epochs` of the recipe, earlier ones are extra."""
        return [Stage("distill", epochs, self.loss)]

    def begin_epoch(self, clock: Clock) -> None:
        """The only moment at which what `loss` depends on may change."""

    def observe(self, s: Outputs, t: Outputs, batch: Batch) -> None:
        """After each step, without gradients: gather what the next epoch will need."""
