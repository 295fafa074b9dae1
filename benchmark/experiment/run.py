"""A run and its recipe, as frozen, validated values.  A run's id is the hash of all that determines its result.

An epoch is a real number where rates are concerned: 1.5 is half-way through the second one.
"""

from __future__ import annotations

import hashlib
import json
from math import cos, pi
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

COST_INDEPENDENT = {"epochs", "lr", "schedule", "crop", "pad", "flip"}  # of a recipe: a step costs the same
Precision = Literal["auto", "fp32", "bf16"]
Judge = Literal["test", "holdout"]


class Frozen(BaseModel):
    """A value: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Steps(Frozen):
    """The rate is multiplied by `factor` when each of the epochs `at` has passed."""

    kind: Literal["steps"] = "steps"
    at: tuple[float, ...]
    factor: PositiveFloat = 0.1

    def rate(self, epoch: float, epochs: int) -> float:
        """The factor on the learning rate when `epoch` (a fraction within an epoch) epochs have passed."""
        return self.factor ** sum(epoch >= mark for mark in self.at)

    def with_epochs(self, epochs: int, before: int) -> Steps:
        return self.model_copy(update={"at": tuple(mark * epochs / before for mark in self.at)})


class Cosine(Frozen):
    """Linear from 0 over `warmup` epochs, then half a cosine to 0; both move with every step."""

    kind: Literal["cosine"] = "cosine"
    warmup: float = 0.0

    def rate(self, epoch: float, epochs: int) -> float:
        """The factor on the learning rate when `epoch` of `epochs` epochs have passed."""
        if epoch < self.warmup:
            return epoch / self.warmup
        return (1 + cos(pi * (epoch - self.warmup) / (epochs - self.warmup))) / 2

    def with_epochs(self, epochs: int, before: int) -> Cosine:
        return self.model_copy(update={"warmup": self.warmup * epochs / before})


class Recipe(Frozen):
    """How a network is trained: by default SGD with momentum, on randomly cropped and mirrored images.

    A field that came later is left out where it has the value that was always meant: ids of older runs still stand.
    """

    optimiser: Literal["sgd", "rmsprop"] = "sgd"  # came later; rmsprop's averages keep 0.9, as pylearn2's do
    epochs: PositiveInt
    batch: PositiveInt = 64
    lr: PositiveFloat
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0)  # on everything trained, auxiliary modules too
    schedule: Annotated[Steps | Cosine, Field(discriminator="kind")]
    crop: int = Field(4, ge=0)  # pixels of padding on each side before a random crop
    pad: Literal["zero", "reflect"] = "zero"
    flip: bool = True
    precision: Precision = "auto"  # what was wished for; the record says what was picked

    @model_validator(mode="after")
    def schedule_fits(self) -> Recipe:
        if isinstance(self.schedule, Cosine) and not 0 <= self.schedule.warmup < self.epochs:
            raise ValueError(f"warm-up of {self.schedule.warmup} epochs does not fit into {self.epochs}")
        return self

    @model_serializer(mode="wrap")
    def without_what_was_always_meant(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if (key, value) != ("optimiser", "sgd")}

    def rate(self, epoch: float, epochs: int | None = None) -> float:
        """The learning rate after `epoch` epochs of a stage of `epochs`, to which the schedule is stretched."""
        return self.lr * self.schedule.rate(epoch * self.epochs / (epochs or self.epochs), self.epochs)

    def with_epochs(self, epochs: int) -> Recipe:
        """The same recipe over another number of epochs, its schedule in proportion."""
        schedule = self.schedule.with_epochs(epochs, self.epochs)
        return self.model_copy(update={"epochs": epochs, "schedule": schedule})


class Run(Frozen):
    """One network trained once; a value.  A teacher is a run too.  Without a recipe it is found, not trained."""

    dataset: str
    student: str  # the network that is trained
    method: str
    knobs: dict[str, Any] = {}  # all of them, defaults resolved
    teacher: Run | None = None
    recipe: Recipe | None
    seed: int = Field(0, ge=0)
    judge: Judge = "test"  # the images that the score is read on

    @property
    def id(self) -> str:
        """12 hex digits of sha256 over canonical JSON of everything above."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def timing_group(self) -> tuple[str, str, str]:
        """What runs have in common that may be timed in turn: data set, network, and of the recipe what costs time."""
        recipe = self.recipe.model_dump_json(exclude=COST_INDEPENDENT) if self.recipe else ""
        return self.dataset, self.student, recipe

    @property
    def cost_key(self) -> tuple[str, ...]:
        """What runs have in common whose steps cost the same."""
        taught = self.teacher.id if self.teacher else ""
        return (*self.timing_group, taught, self.method, json.dumps(self.knobs, sort_keys=True))

    @property
    def label(self) -> str:
        """A short name for people: not unique."""
        pair = f"{self.teacher.student}-{self.student}" if self.teacher else self.student
        return f"{pair} {self.method} seed {self.seed}"
