"""A run and its recipe, as frozen, validated values.  A run's id is the hash of everything that determines its result.

Schedules take fractional epochs: 1.5 is half-way through the second epoch.  Every number is finite and has a range.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from math import cos, pi
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

MAX_EPOCHS, MAX_BATCH, MAX_SEED, MAX_MARKS = 100_000, 100_000, 2**32 - 1, 100
COST_INDEPENDENT = {"epochs", "lr", "schedule", "crop", "pad", "flip"}  # no effect on a step's cost
Precision = Literal["auto", "fp32", "bf16"]
Judge = Literal["test", "holdout"]
Epoch = Annotated[float, Field(ge=0, le=MAX_EPOCHS)]
Rate = Annotated[float, Field(ge=1e-12, le=1000)]  # a learning rate
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class Frozen(BaseModel):
    """Base class of immutable values that reject unknown keys and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Steps(Frozen):
    """The rate is multiplied by `factor` when each of the epochs `at` has passed."""

    kind: Literal["steps"] = "steps"
    at: tuple[Epoch, ...] = Field(max_length=MAX_MARKS)
    factor: float = Field(0.1, ge=1e-6, le=100)

    def rate(self, epoch: float, epochs: int) -> float:
        """The factor on the learning rate after `epoch` epochs, which may be a fraction."""
        return self.factor ** sum(epoch >= mark for mark in self.at)

    def with_epochs(self, epochs: int, before: int) -> Steps:
        return self.model_copy(update={"at": tuple(mark * epochs / before for mark in self.at)})


class Cosine(Frozen):
    """Linear from 0 over `warmup` epochs, then half a cosine to 0; both move with every step."""

    kind: Literal["cosine"] = "cosine"
    warmup: Epoch = 0.0

    def rate(self, epoch: float, epochs: int) -> float:
        """The factor on the learning rate after `epoch` of `epochs` epochs."""
        if epoch < self.warmup:
            return epoch / self.warmup
        return (1 + cos(pi * (epoch - self.warmup) / (epochs - self.warmup))) / 2

    def with_epochs(self, epochs: int, before: int) -> Cosine:
        return self.model_copy(update={"warmup": self.warmup * epochs / before})


class Recipe(Frozen):
    """How a network is trained: by default SGD with momentum, on randomly cropped and mirrored images.

    `optimiser` was added later.  Serialisation omits its default value, so that the ids of older runs stay valid.
    """

    optimiser: Literal["sgd", "rmsprop"] = "sgd"  # added later; rmsprop keeps averages with decay 0.9, as pylearn2
    epochs: int = Field(ge=1, le=MAX_EPOCHS)
    batch: int = Field(64, ge=1, le=MAX_BATCH)
    lr: Rate
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(5e-4, ge=0, le=1000)  # on everything trained, auxiliary modules too
    schedule: Annotated[Steps | Cosine, Field(discriminator="kind")]
    crop: int = Field(4, ge=0, le=256)  # pixels of padding on each side before a random crop
    pad: Literal["zero", "reflect"] = "zero"
    flip: bool = True
    precision: Precision = "auto"  # as requested; the record says which one was used

    @model_validator(mode="after")
    def check_warmup(self) -> Recipe:
        if isinstance(self.schedule, Cosine) and not 0 <= self.schedule.warmup < self.epochs:
            raise ValueError(f"warm-up of {self.schedule.warmup} epochs does not fit into {self.epochs}")
        return self

    @model_serializer(mode="wrap")
    def omit_default_optimiser(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if (key, value) != ("optimiser", "sgd")}

    def rate(self, epoch: float, epochs: int | None = None) -> float:
        """The learning rate after `epoch` epochs of a stage of `epochs` epochs, to which the schedule is scaled."""
        return self.lr * self.schedule.rate(epoch * self.epochs / (epochs or self.epochs), self.epochs)

    def with_epochs(self, epochs: int) -> Recipe:
        """The recipe with another number of epochs and its schedule scaled in proportion.  Raises ValidationError."""
        schedule = self.schedule.with_epochs(epochs, self.epochs).model_dump()
        return Recipe.model_validate(self.model_dump() | {"epochs": epochs, "schedule": schedule})


class Run(Frozen):
    """One training of one network.  A teacher is a run too; an imported network is a run without a recipe.

    `content` was added later.  Serialisation omits it where it is empty, so that the ids of other runs stay valid.
    """

    dataset: str
    content: str = Field("", pattern=r"^([0-9a-f]{64})?$")  # hash of an image folder's files; empty for official data
    student: str  # the network that is trained
    method: str
    knobs: dict[str, Any] = {}  # of the method, defaults included
    teacher: Run | None = None
    recipe: Recipe | None
    seed: Seed = 0
    judge: Judge = "test"  # the images that the score is computed on

    @model_serializer(mode="wrap")
    def omit_empty_content(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if (key, value) != ("content", "")}

    @cached_property
    def id(self) -> str:
        """12 hex digits of sha256 over canonical JSON of all fields."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def model_copy(self, **changes: Any) -> Run:
        """A copy with changed fields (`update`), without the id of the original."""
        copy = super().model_copy(**changes)
        copy.__dict__.pop("id", None)
        return copy

    @property
    def timing_group(self) -> tuple[str, str, str]:
        """Key of runs that may be timed in turn: data set, network and the recipe fields that affect a step's cost."""
        recipe = self.recipe.model_dump_json(exclude=COST_INDEPENDENT) if self.recipe else ""
        return self.data_label, self.student, recipe

    @property
    def cost_key(self) -> tuple[str, ...]:
        """Key of runs whose steps cost the same: of teachers that differ in the seed alone, they do."""
        teacher = self.teacher
        if teacher and teacher.seed:
            teacher = teacher.model_copy(update={"seed": 0})
        return (*self.timing_group, teacher.id if teacher else "", self.method, json.dumps(self.knobs, sort_keys=True))

    @property
    def data_label(self) -> str:
        """The data set's name, of an image folder with the beginning of its hash: folder:flowers@1a2b3c4d."""
        return f"{self.dataset}@{self.content[:8]}" if self.content else self.dataset

    @property
    def label(self) -> str:
        """A short name for display, not unique."""
        return f"{self.networks} {self.method} {self.seed_label}"

    @property
    def networks(self) -> str:
        """The pair TEACHER-STUDENT, or the network alone."""
        return f"{self.teacher.student}-{self.student}" if self.teacher else self.student

    @property
    def seed_label(self) -> str:
        """The seed, and that of a teacher whose seed is not 0: seed 1 (teacher seed 2)."""
        teacher = f" (teacher seed {self.teacher.seed})" if self.teacher and self.teacher.seed else ""
        return f"seed {self.seed}{teacher}"
