"""The plain loop, as other suites train: the yardstick of `speed`, and nothing else.

A DataLoader whose workers crop with PIL, float32, NCHW, eager, one student, meters read with `.item()` at every step.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from benchmark import models
from benchmark.data.datasets import Dataset
from benchmark.data.split import make_splits
from benchmark.experiment.run import Run
from methods import registry
from methods.contract import Batch, Outputs


@contextmanager
def in_subprocess(run: Run, images: Dataset, device: torch.device) -> Iterator[Callable[[int], float]]:
    """The plain loop in a process of its own, untouched by our settings: a function from steps to seconds."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, run, images, device))
    process.start()

    def timed(count: int) -> float:
        here.send(count)
        return here.recv()

    try:
        yield timed
    finally:
        here.close()  # the loop ends, and its workers with it
        process.join(30)
        process.kill()


def serve(pipe: Connection, run: Run, images: Dataset, device: torch.device) -> None:
    """Run as many steps as asked and answer with the seconds they took, until the other end is gone."""
    walk = steps(run, images, device)
    while True:
        try:
            count = pipe.recv()
        except EOFError:
            return
        pipe.send(time_steps(walk, count, device))


def time_steps(walk: Iterator[None], count: int, device: torch.device) -> float:
    """Seconds for `count` steps, the device's own work included."""
    started = time.perf_counter()
    for _ in range(count):
        next(walk)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


class PilDataset(torch.utils.data.Dataset):
    """Images as other suites serve them: one by one, through PIL, in a worker."""

    def __init__(self, images: Dataset):
        self.x, self.y = images.train_x.numpy(), images.train_y.tolist()
        mean, sd = images.statistics
        steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize(mean, sd)])

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int):
        return self.transform(Image.fromarray(self.x[index])), self.y[index], index


def workers(device: torch.device) -> int:
    """DataLoader workers of the plain loop: as many as the peers' scripts ask for on such a machine."""
    return 8 if device.type == "cuda" else 2


def steps(run: Run, images: Dataset, device: torch.device) -> Iterator[None]:
    """The plain loop, one step per `next`."""
    classes = len(images.classes)
    student = models.build(run.student, classes).to(device)
    teacher = models.build(run.teacher.student, classes).to(device).eval() if run.teacher else None
    own = models.shape(run.student, classes)
    method = registry.get(run.method)(
        own, models.shape(run.teacher.student, classes) if run.teacher else own, **run.knobs
    )
    method = method.to(device)
    method.prepare(student, teacher, lambda: teacher_pass(teacher, images, device))
    trained = [*student.to(device).parameters(), *method.to(device).parameters()]
    optimiser = torch.optim.SGD(trained, run.recipe.lr, run.recipe.momentum, weight_decay=run.recipe.weight_decay)
    loss = method.stages(run.recipe.epochs)[-1].loss
    loader = DataLoader(
        PilDataset(images), 64, shuffle=True, num_workers=workers(device), pin_memory=device.type == "cuda"
    )
    student.train()
    while True:
        for x, y, index in loader:
            batch = Batch(x.to(device), y.to(device), index.to(device))
            step(batch, student, teacher, loss, optimiser)
            yield


def step(batch: Batch, student: nn.Module, teacher: nn.Module | None, loss: Callable, optimiser) -> float:
    """One step, and the meters that other suites read after each."""
    t: Outputs | None = None
    if teacher is not None:
        with torch.no_grad():
            t = teacher(batch.x)
    s = student(batch.x)
    total = sum(loss(s, t, batch).values())
    optimiser.zero_grad()
    total.backward()
    optimiser.step()
    right = (s.logits.topk(5).indices == batch.y[:, None]).float()
    return total.item() + right[:, 0].mean().item() + right.sum(1).mean().item()


@torch.no_grad()
def teacher_pass(teacher: nn.Module, images: Dataset, device: torch.device) -> Iterator[tuple[Outputs, Batch]]:
    """What a method's `prepare` may walk, in float32."""
    for batch in make_splits(images, "test", device)[0].in_order():
        yield teacher(batch.x), batch
