"""A method on trial: two small networks, a few images, everything else as in earnest.

N images in a batch
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark import models
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
from methods.contract import Batch, Clock, Outputs, Stage

EPOCHS, CLASSES, IMAGES = 3, 10, 24
PAIRS = (("resnet14", "resnet8"), ("wrn_16_2", "resnet8"))  # the same widths; others
RECIPE = Recipe(epochs=EPOCHS, batch=10, lr=0.01, schedule=Steps(at=(2.0,)), precision="fp32")
CPU = Machine(torch.device("cpu"), "fp32")


@dataclass(frozen=True, slots=True)
class Trial:
    """A method by name, on a pair."""

    method: str
    teacher: str
    student: str
    root: Path  # a folder for its results
    changes: Mapping[str, Any] = field(default_factory=dict)  # knob -> value, where it departs from the default

    @property
    def plain(self) -> Run:
        """The plain student beside it."""
        return Run(dataset="trial", student=self.student, method="ce", recipe=RECIPE)

    @property
    def run(self) -> Run:
        """The run on trial."""
        taught = Run(dataset="trial", student=self.teacher, method="ce", recipe=RECIPE)
        needs = registry.get(self.method).needs_teacher
        knobs = resolve.resolve_knobs(self.method, self.changes)
        return self.plain.model_copy(
            update={"method": self.method, "knobs": knobs, "teacher": taught if needs else None}
        )

    def context(self) -> Context:
        """Random images and an untrained teacher, the same each time; a store of its own."""
        store = Store(tempfile.mkdtemp(dir=self.root))
        data = images()
        learn, judged = make_splits(data, "test", CPU.device)
        teacher = None
        if self.run.teacher:
            with seeds.scope("trial", self.teacher):
                net = CPU.freeze(models.build(self.teacher, CLASSES), next(judged.in_order()).x)
            teacher = Teacher(self.run.teacher, net, all_logits(net, judged), {"id": self.run.teacher.id, "top1": None})
        return Context(store, CPU, data, learn, judged, teacher)

    def lane(self) -> Lane:
        """A lane that has boarded.  Raises Unfit."""
        lane = Lane(self.run, self.context())
        lane.setup()
        return lane


def images() -> Dataset:
    """A few random images of every class, 16 x 16."""
    stream = seeds.generator("trial", "images")
    x = torch.randint(0, 256, (2 * IMAGES, 16, 16, 3), generator=stream, dtype=torch.uint8).numpy()
    y = (torch.arange(2 * IMAGES) % CLASSES).numpy()
    return make_dataset("trial", tuple(map(str, range(CLASSES))), x[:IMAGES], y[:IMAGES], x[IMAGES:], y[IMAGES:])


def outputs(lane: Lane, count: int, kind: str = "usual") -> tuple[Outputs, Outputs | None, Batch]:
    """What student and teacher show for `count` images; kind: usual, constant, zero, one class, bf16."""
    context = lane.context
    batch = next(context.train_split.in_order(count))
    t = context.teacher.forward(batch.x) if context.teacher else None
    s = context.machine.forward(lane.student, batch.x)
    if kind == "usual":
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
    """Outputs cut off from their graph, each tensor changed."""
    return Outputs([change(m.detach()) for m in o.maps], change(o.embedding.detach()), change(o.logits.detach()))


def each_stage(trial: Trial, trained: bool = True) -> Iterator[tuple[Lane, Stage]]:
    """A lane ready for each stage, as in the last of a hundred epochs; `trained`: after one epoch of training."""
    lane = trial.lane()
    if trained:
        train_one_epoch(lane)
    for stage in lane.stages:
        lane.student.train()
        lane.method.begin_epoch(Clock(stage.name, 99, 100))
        yield lane, stage


def train_one_epoch(lane: Lane) -> None:
    """The lane's next epoch, as the loop does it."""
    lane.begin_epoch(lane.epoch)
    for _ in steps([lane], lane.epoch):
        pass
    lane.end_epoch(1.0, 1)


def train_to_end(trial: Trial, cohort: list[Run]) -> Record:
    """The record of the trial's run, trained beside the cohort."""
    record = train(cohort, trial.context())[-1]
    assert record.status == "done", failure_reason(record)
    return record


def failure_reason(record: Record) -> str:
    """Why a run has no result."""
    return f"training ended as {record.status}: {record.error['message']}"


def named_parameters(lane: Lane) -> list[tuple[str, Tensor]]:
    """Every trained parameter, by a name that says whose it is."""
    modules = (("student", lane.student), ("method", lane.method))
    return [(f"{whose}.{name}", p) for whose, module in modules for name, p in module.named_parameters()]
