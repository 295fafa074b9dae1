"""Fixture for the conformance checks: a method on two small networks and a few random images.

Everything else, from lane to record, is what a real training uses.

N images in a batch
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import models
from benchmark.acceleration.frozen_net import FrozenNet
from benchmark.acceleration.machine import Machine
from benchmark.data.datasets import Dataset, make_dataset
from benchmark.data.split import make_splits
from benchmark.experiment import resolve, seeds
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.store import Record, Store
from benchmark.training.context import Context
from benchmark.training.lane import Lane
from benchmark.training.loop import steps, train
from benchmark.training.teacher import Teacher, all_logits
from methods import registry
from methods.contract import Batch, Clock, Outputs, Stage, Unfit

EPOCHS, CLASSES, IMAGES = 3, 10, 24
PAIRS = (("resnet14", "resnet8"), ("wrn_16_2", "resnet8"))  # embeddings of equal width; of different widths
RECIPE = Recipe(epochs=EPOCHS, batch=10, lr=0.01, schedule=Steps(at=(2.0,)), precision="fp32")
CPU = Machine(torch.device("cpu"), "fp32")


class UncopiedTeacher(Teacher):
    """A teacher that gives methods its own network, so that it shows what they do to it."""

    def network(self) -> nn.Module:
        return self.net.net


@dataclass(frozen=True, slots=True)
class Trial:
    """A method and a pair of networks, by name."""

    method: str
    teacher: str
    student: str
    root: Path  # a folder for its results
    changes: Mapping[str, Any] = field(default_factory=dict)  # knob -> value, for knobs that are not at their default

    @property
    def plain(self) -> Run:
        """The run of the same student without a teacher."""
        return Run(dataset="trial", student=self.student, method="ce", recipe=RECIPE)

    @property
    def run(self) -> Run:
        """The run of the method."""
        teacher = Run(dataset="trial", student=self.teacher, method="ce", recipe=RECIPE)
        needs = registry.get(self.method).needs_teacher
        knobs = resolve.resolve_knobs(self.method, self.changes)
        return self.plain.model_copy(
            update={"method": self.method, "knobs": knobs, "teacher": teacher if needs else None}
        )

    def context(self, teacher_class: type[Teacher] = Teacher) -> Context:
        """A context of random images and an untrained teacher, always the same, with a new empty store.

        The teacher shows its maps before the last ReLUs, so that any method can train beside this one.
        """
        store = Store(tempfile.mkdtemp(dir=self.root))
        data = images()
        train_split, eval_split = make_splits(data, "test", CPU.device)
        teacher = None
        if self.run.teacher:
            build = untrained_teacher if teacher_class is Teacher else untrained_teacher.__wrapped__
            net, logits = build(self.teacher)
            teacher = teacher_class(self.run.teacher, net, logits, {"id": self.run.teacher.id, "top1": None})
        return Context(store, CPU, data, train_split, eval_split, teacher)

    def lane(self) -> Lane:
        """A lane that is set up and ready for its first epoch.  Raises Unfit."""
        lane = Lane(self.run, self.context())
        lane.setup()
        return lane


@cache
def untrained_teacher(name: str) -> tuple[FrozenNet, Tensor]:
    """A teacher's network and its logits for the images to be judged; methods get copies of it."""
    _, eval_split = make_splits(images(), "test", CPU.device)
    with seeds.scope("trial", name):
        net = CPU.freeze(models.build(name, CLASSES, True), next(eval_split.in_order()).x)
    return net, all_logits(net, eval_split, CPU)


def images() -> Dataset:
    """Random images of 16 x 16 pixels, IMAGES for training and as many for testing, of all classes."""
    stream = seeds.generator("trial", "images")
    x = torch.randint(0, 256, (2 * IMAGES, 16, 16, 3), generator=stream, dtype=torch.uint8).numpy()
    y = (torch.arange(2 * IMAGES) % CLASSES).numpy()
    return make_dataset("trial", tuple(map(str, range(CLASSES))), x[:IMAGES], y[:IMAGES], x[IMAGES:], y[IMAGES:])


def outputs(lane: Lane, count: int, kind: str = "unchanged") -> tuple[Outputs, Outputs | None, Batch]:
    """Outputs of student and teacher for `count` images, and the batch.

    kind: unchanged; constant or zero features; one class (all labels 0); bf16 (features rounded to it).
    """
    context = lane.context
    batch = next(context.train_split.in_order(count))
    t = context.teacher.forward(batch.x) if context.teacher else None
    s = context.machine.forward(lane.student, batch.x)
    if kind == "unchanged":
        return s, t, batch
    y = torch.zeros_like(batch.y) if kind == "one class" else batch.y
    change = {
        "constant": torch.ones_like,
        "zero": torch.zeros_like,
        "one class": torch.clone,
        "bf16": lambda z: z.bfloat16().float(),
    }[kind]
    return map_outputs(s, change), t and map_outputs(t, change), Batch(batch.x, y, batch.index)


def map_outputs(o: Outputs, change: Callable[[Tensor], Tensor]) -> Outputs:
    """Outputs detached from their graph, with `change` applied to each tensor."""
    maps, before = ([change(m.detach()) for m in each] for each in (o.maps, o.preactivations))
    return Outputs(maps, change(o.embedding.detach()), change(o.logits.detach()), before)


def each_stage(trial: Trial, trained: bool = True) -> Iterator[tuple[Lane, Stage]]:
    """A lane prepared for each of its stages, as in the last of 100 epochs; `trained`: after one epoch of training."""
    lane = trial.lane()
    if trained:
        train_one_epoch(lane)
    for stage in lane.stages:
        lane.student.train()
        lane.method.begin_epoch(Clock(stage.name, 99, 100))
        yield lane, stage


def train_one_epoch(lane: Lane) -> None:
    """Train the lane for its next epoch, as the training loop does."""
    lane.begin_epoch(lane.epoch)
    for _ in steps([lane], lane.epoch):
        pass
    lane.end_epoch(1.0, 1)


def train_to_end(trial: Trial, cohort: list[Run]) -> Record:
    """Train a cohort; the record of its last run.  Raises Unfit if that run's method does not support the pair."""
    record = train(cohort, trial.context())[-1]
    if record.status == "unfit":
        raise Unfit(record.error["message"])
    assert record.status == "done", failure_reason(record)
    return record


def failure_reason(record: Record) -> str:
    """A sentence that says why a run has no result."""
    return f"training ended as {record.status}: {record.error['message']}"


def named_parameters(lane: Lane) -> list[tuple[str, Tensor]]:
    """The parameters of student and method, by names that start with `student.` or `method.`."""
    modules = (("student", lane.student), ("method", lane.method))
    return [(f"{owner}.{name}", p) for owner, module in modules for name, p in module.named_parameters()]
