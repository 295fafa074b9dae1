"""The plain training loop of other suites, the baseline that `speed` compares this suite with.

A DataLoader whose workers crop with PIL, float32, NCHW, eager mode, one student, metrics read with `.item()` at every
step.
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
    """Start the plain loop in a process of its own, where this suite's settings of torch do not apply.

    Yields a function: a number of steps -> the seconds that they took.
    """
    context = multiprocessing.get_context("spawn")
    our_end, its_end = context.Pipe()
    process = context.Process(target=serve, args=(its_end, run, images, device))
    process.start()

    def time_in_subprocess(count: int) -> float:
        our_end.send(count)
        return our_end.recv()

    try:
        yield time_in_subprocess
    finally:
        our_end.close()  # ends the loop and its workers
        process.join(30)
        process.kill()


def serve(pipe: Connection, run: Run, images: Dataset, device: torch.device) -> None:
    """Receive numbers of steps and send back the seconds that they took, until the other end is closed."""
    training = steps(run, images, device)
    while True:
        try:
            count = pipe.recv()
        except EOFError:
            return
        pipe.send(time_steps(training, count, device))


def time_steps(training: Iterator[None], count: int, device: torch.device) -> float:
    """Seconds for `count` steps, until the device has finished them; `training` does one step for each `next`."""
    started = time.perf_counter()
    for _ in range(count):
        next(training)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


class PilDataset(torch.utils.data.Dataset):
    """Training images as other suites load them: one at a time, transformed by PIL in a DataLoader worker."""

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
    """Number of DataLoader workers of the plain loop, as the scripts of other suites set it on such a machine."""
    return 8 if device.type == "cuda" else 2


def steps(run: Run, images: Dataset, device: torch.device) -> Iterator[None]:
    """The plain loop; one step for each `next`."""
    classes = len(images.classes)
    before = registry.preactivations_read([run.method])
    student = models.build(run.student, classes, before).to(device)
    teacher = models.build(run.teacher.student, classes, before).to(device).eval() if run.teacher else None
    student_shape = models.shape(run.student, classes)
    teacher_shape = models.shape(run.teacher.student, classes) if run.teacher else student_shape
    method = registry.get(run.method)(student_shape, teacher_shape, **run.knobs).to(device)
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
    """One training step; returns a sum of the loss and both accuracies, which other suites read after each step."""
    t: Outputs | None = None
    if teacher is not None:
        with torch.no_grad():
            t = teacher(batch.x)
    s = student(batch.x)
    total = sum(loss(s, t, batch).values())
    optimiser.zero_grad()
    total.backward()
    optimiser.step()
    correct = (s.logits.topk(5).indices == batch.y[:, None]).float()  # (N, 5)
    return total.item() + correct[:, 0].mean().item() + correct.sum(1).mean().item()


@torch.no_grad()
def teacher_pass(teacher: nn.Module, images: Dataset, device: torch.device) -> Iterator[tuple[Outputs, Batch]]:
    """The `sweep` of Method.prepare: the teacher's outputs over the training images, in float32."""
    for batch in make_splits(images, "test", device)[0].in_order():
        yield teacher(batch.x), batch
