"""The interface of a method: what networks output, how training proceeds, and what a method implements.

A method is a Module with a pure loss.  The engine trains and counts its parameters, and saves and restores its
buffers; the author of a method writes no code for that.

N images in a batch · K classes · D width of the embedding · C, H, W of a feature map
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a network outputs for one batch.  Methods receive it in float32, whatever the precision of the layers."""

    maps: Sequence[Tensor]  # stem, then each stage, early to late; each (N, C, H, W)
    embedding: Tensor  # (N, D)  exactly what the classifier reads
    logits: Tensor  # (N, K)
    preactivations: Sequence[Tensor] = ()  # before the last ReLU of each stage; if the method `reads_preactivations`


@dataclass(frozen=True, slots=True)
class Shape:
    """The shapes of an `Outputs` without its batch axis: what a method knows of a network when it is constructed."""

    maps: tuple[tuple[int, int, int], ...]  # (C, H, W) of each map
    embedding: int  # D
    logits: int  # K
    preactivations: tuple[tuple[int, int, int], ...] = ()  # (C, H, W) of each; none where the network shows none

    @classmethod
    def of(cls, outputs: Outputs) -> Shape:
        """The shape of `outputs`, computed for any batch; tensors on the meta device suffice."""
        maps, before = (tuple(tuple(m.shape[1:]) for m in each) for each in (outputs.maps, outputs.preactivations))
        return cls(maps, outputs.embedding.shape[1], outputs.logits.shape[1], before)

    def check_map(self, knob: str, index: int) -> None:
        """Raises BadKnob if the network has no map `index`, the value of `knob`."""
        count = len(self.maps)
        if not -count <= index < count:
            raise BadKnob(knob, index, f"the network has {count} maps, {-count} to {count - 1}")


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of training images."""

    x: Tensor  # (N, 3, H, W)  augmented, normalised
    y: Tensor  # (N,)  labels, int64
    index: Tensor  # (N,)  positions in the training set, int64


@dataclass(frozen=True, slots=True)
class Clock:
    """The progress of training: epoch 0 … epochs - 1 of the stage called `stage`."""

    stage: str
    epoch: int
    epochs: int


Terms = dict[str, Tensor]
Loss = Callable[[Outputs, Outputs, Batch], Terms]
Sweep = Callable[[], Iterator[tuple[Outputs, Batch]]]


@dataclass(frozen=True, slots=True)
class Stage:
    """Epochs of training with one loss.  Each stage starts with a new optimiser and from the start of the schedule."""

    name: str
    epochs: int
    loss: Loss
    rate: float | None = None  # in place of the schedule: a constant learning rate, in units of the recipe's


class Unfit(Exception):
    """Raised from `__init__` or `prepare`: the method does not support this pair.  The report shows the reason."""


class BadKnob(ValueError):
    """Raised from `__init__` or `stages`: the user must choose another value of a knob, with this pair or any other.

    It ends the command before anything is trained, where `Unfit` leaves one cell of the tables empty.  A range that
    holds everywhere needs no code: it stands in the knob's type.  This is for values that depend on the networks, on
    the recipe's epochs or on other knobs.
    """

    def __init__(self, knob: str, value: object, reason: str):
        super().__init__(knob, value, reason)
        self.knob, self.value, self.reason = knob, value, reason

    def __str__(self) -> str:
        return f"{self.knob} = {self.value}: {self.reason}"


class Method(nn.Module):
    """Base class of methods.  A method must define `loss`; everything else is optional.

    Knobs are the keyword-only arguments of `__init__`, each with a type and a default; they define the method's
    options, their validation, and what enters the run's id and its record.  A range is a part of the type, as in
    `alpha: Annotated[float, Interval(ge=0, le=1)] = 0.9` (annotated_types): another value is refused before anything is
    built, and a value that is not a number, infinite or a boolean always is.  State is kept in parameters (trained
    with the student, discarded after training) and in buffers (saved and restored; changed in place).  On a GPU a step
    may be recorded once and replayed for the rest of the epoch: Python code in `loss` and `observe` does not run then.
    """

    needs_teacher = True
    reads_preactivations = False  # whether both networks shall show maps before the last ReLU of each stage
    derived: tuple[str, ...] = ()  # buffers that follow from knobs, clock or other buffers: records do not count them
    tuned: tuple[str, ...] = ()  # knobs that `tune` varies; if empty, the weights: floats whose range starts at 0

    def __init__(self, student: Shape | None = None, teacher: Shape | None = None):
        super().__init__()

    def loss(self, s: Outputs, t: Outputs, batch: Batch) -> Terms:
        """The terms: named, already weighted scalars, whose sum is minimised.  Must be pure: equal inputs, equal terms.

        The cross-entropy with the labels is named "ce": a composition of methods counts it once.
        """
        raise TypeError(f"{type(self).__name__} has no loss: write `def loss(self, s, t, batch)`")

    def prepare(self, student: nn.Module, teacher: nn.Module, sweep: Sweep) -> None:
        """Called once, before the first step.  May put a layer at `student.embed` and may read the teacher.

        `sweep()` iterates over the training set in order, without augmentation: (teacher's outputs, batch).
        """

    def stages(self, epochs: int) -> list[Stage]:
        """The stages of training; the last one has the recipe's `epochs`, earlier ones are additional."""
        return [Stage("distill", epochs, self.loss)]

    def begin_epoch(self, clock: Clock) -> None:
        """Called before each epoch: the only place where state that `loss` depends on may change."""

    def observe(self, s: Outputs, t: Outputs, batch: Batch) -> None:
        """Called after each step, without gradients: accumulates what later steps or the next epoch need."""
