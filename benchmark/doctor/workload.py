"""A small training task for the checks of a device: random images, a pair of networks, lanes trained from them.

The same lane is trained on several machines, replayed and launched or alone and beside others, and what it leaves is
compared bit for bit.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import models
from benchmark.acceleration import machine
from benchmark.acceleration.cuda_graphs import Recorder
from benchmark.acceleration.device import configure_cuda, synchronize
from benchmark.acceleration.machine import Machine
from benchmark.data.datasets import Dataset, make_dataset
from benchmark.data.split import make_splits
from benchmark.experiment import resolve, seeds
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.models.net import Norm
from benchmark.store import Store
from benchmark.training.context import Context
from benchmark.training.lane import Lane
from benchmark.training.loop import Callback, Cohort, steps
from benchmark.training.teacher import Teacher, all_logits
from methods import registry

CLASSES, JUDGED = 10, 64  # classes; images that a lane is judged on
RATES = {"sgd": 0.01, "rmsprop": 2.5e-4}  # optimiser -> learning rate
State = dict[str, Tensor]  # name -> values, on the CPU


@dataclass(frozen=True)
class Workload:
    """The task: networks, sizes, and the kind of device that it runs on."""

    root: Path  # a folder for results, which may be deleted afterwards
    device: str = "cuda"
    teacher: str = "resnet56"
    student: str = "resnet20"
    pixels: int = 32
    batches: int = 12  # full ones of an epoch
    rest: int = 40  # images of the last, partial batch
    batch: int = 64
    epochs: int = 5
    optimiser: str = "sgd"

    def machine(self, precision: str, graphs: bool = True, exact: bool = True) -> Machine:
        """The machine that runs it; exact: with kernels that answer twice the same, in bf16 too."""
        here = machine.machine(self.device, precision, graphs)
        if here.device.type == "cuda":
            configure_cuda(exact)
        return here

    @property
    def recipe(self) -> Recipe:
        """A few epochs with two changes of the learning rate."""
        schedule = Steps(at=(self.epochs / 3, 2 * self.epochs / 3))
        rate = RATES[self.optimiser]
        return Recipe(optimiser=self.optimiser, epochs=self.epochs, batch=self.batch, lr=rate, schedule=schedule)

    def run(self, method: str, **changes: Any) -> Run:
        """A run of a method; changes: knobs that differ from their defaults."""
        plain = {"dataset": "doctor", "recipe": self.recipe}
        teacher = Run(student=self.teacher, method=resolve.PLAIN_METHOD, **plain)
        knobs = resolve.resolve_knobs(method, changes)
        taught = registry.get(method).needs_teacher
        return Run(student=self.student, method=method, knobs=knobs, teacher=teacher if taught else None, **plain)

    def context(self, here: Machine) -> Context:
        """Images and teacher on a machine, the same each time; a store of its own."""
        data = random_images(self.batches * self.batch + self.rest, self.pixels)
        learn, judged = make_splits(data, "test", here.device)
        run = Run(dataset="doctor", student=self.teacher, method=resolve.PLAIN_METHOD, recipe=self.recipe)
        net = here.freeze(copy.deepcopy(calibrated(self.teacher, self.pixels)), next(judged.in_order(JUDGED)).x)
        teacher = Teacher(run, net, all_logits(net, judged, here), {"id": run.id, "top1": None})
        return Context(Store(tempfile.mkdtemp(dir=self.root)), here, data, learn, judged, teacher)

    def train(self, here: Machine, method: str, **changes: Any) -> tuple[Lane, float]:
        """A lane trained alone to its end, and the milliseconds of a step of its last epoch."""
        lane = Lane(self.run(method, **changes), self.context(here))
        lane.setup()
        milliseconds = 0.0
        for epoch in range(lane.epochs):
            lane.begin_epoch(epoch)
            synchronize(here.device)
            started = time.perf_counter()
            count = sum(1 for _ in steps([lane], epoch))
            synchronize(here.device)
            milliseconds = 1000 * (time.perf_counter() - started) / count
            lane.end_epoch(1.0, 1)
        return lane, milliseconds

    def train_together(self, here: Machine, methods: Sequence[str]) -> list[Lane]:
        """The lanes of a cohort, trained to their ends.  Raises RuntimeError if one of them fails."""
        cohort = Cohort([self.run(method) for method in methods], self.context(here), Callback(), {})
        cohort.train()
        for record in cohort.records.values():
            if record.status != "done":
                raise RuntimeError(f"{record.run['method']} {record.status}: {record.error['message']}")
        return cohort.lanes


@cache
def random_images(count: int, pixels: int) -> Dataset:
    """Random images of every class: `count` to learn from, JUDGED to be judged on."""
    stream = seeds.generator("doctor", "images")
    x = torch.randint(0, 256, (count + JUDGED, pixels, pixels, 3), generator=stream, dtype=torch.uint8).numpy()
    y = (torch.arange(count + JUDGED) % CLASSES).numpy()
    classes = tuple(map(str, range(CLASSES)))
    return make_dataset("doctor", classes, x[:count], y[:count], x[count:], y[count:])


@cache
def calibrated(network: str, pixels: int) -> nn.Module:
    """An untrained network whose normalisations know their inputs, so that deep ones do not overflow."""
    with seeds.scope("doctor", network), torch.no_grad():
        net = models.build(network, CLASSES, preactivations=True)  # for whichever methods learn from it
        for module in (each for each in net.modules() if isinstance(each, Norm)):
            module.momentum = 1.0
        net.train()(torch.randn(JUDGED, 3, pixels, pixels))
    return net.eval()


def with_recorder(here: Machine, wrap: Callable[[Recorder], Any]) -> Machine:
    """The same machine, each of whose recorders is what `wrap` makes of it."""

    class Wrapped(type(here)):
        def recorder(self) -> Any:
            return wrap(super().recorder())

    return Wrapped(*(getattr(here, field.name) for field in fields(here)))


# ---- what a lane leaves
def state(lane: Lane) -> State:
    """Everything that training has changed: weights, statistics, what the method has gathered, the optimiser's."""
    modules = {"student": lane.student, "method": lane.method}
    found = {f"{who}.{name}": value for who, module in modules.items() for name, value in module.state_dict().items()}
    for place, kept in enumerate(lane.optimiser.state.values()):
        found |= {f"{name}.{place}": value for name, value in kept.items() if torch.is_tensor(value)}
    return {name: value.detach().cpu().clone() for name, value in found.items()}


def unlike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that are not the same in both, bit for bit."""
    return [
        name for name in {**one, **other} if name not in one or name not in other or not one[name].equal(other[name])
    ]


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference of two values, as a share of the largest value of its tensor."""
    pairs = ((one[name].double(), other[name].double()) for name in one)
    return max(((p - q).abs().max() / q.abs().max().clamp_min(1e-12)).item() for p, q in pairs)
