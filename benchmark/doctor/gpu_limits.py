"""Measurements of a GPU: how many students, teacher's batches and evaluation images it takes at once, and how fast."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from benchmark import models
from benchmark.acceleration.device import synchronize
from benchmark.acceleration.feed import BatchFeed
from benchmark.acceleration.machine import Machine
from benchmark.doctor.finding import Finding
from benchmark.doctor.gpu_training import METHOD
from benchmark.doctor.workload import CLASSES, Workload
from benchmark.training.lane import Lane
from benchmark.training.loop import steps
from methods.contract import Batch

LANES, TEACHER_BATCHES = (1, 4, 8, 16), (1, 4, 16)
WIDEST = "ResNet50"  # the network with the largest feature maps
MOST_IMAGES = 40_000  # of an evaluation batch, that are tried
EXPECTED_LANES = (
    "expected, not measured: 1.2 to 1.7 ms with 1 and 5 to 8 ms with 16 on an H100, twice that on a card of 24 GB, "
    "limited by kernels too small to fill the device"
)


def lanes(work: Workload) -> Finding:
    """Milliseconds of a step, replayed, with several students side by side; those that do not fit are left out."""
    here, found = work.machine("auto", exact=False), {}
    for count in LANES:
        try:
            found[count] = milliseconds(work, here, count)
        except torch.OutOfMemoryError:
            break
        finally:
            here.free_memory()
    value = ", ".join(f"{count}: {taken:.2f} ms" for count, taken in found.items())
    value = f"a step with {value or 'one'}" + ("" if len(found) == len(LANES) else "; more do not fit into memory")
    advice = "" if len(found) == len(LANES) else f"train fewer at once: --lanes {max(found, default=1)}"
    return Finding("students at once", f"{value}; {EXPECTED_LANES}", bool(found), advice, prevents=not found)


def milliseconds(work: Workload, here: Machine, count: int) -> float:
    """Milliseconds of a step of several equal lanes, in the last of three epochs; all batches are full."""
    long = replace(work, batches=5 * work.batches, rest=0)
    run, context = long.run(METHOD), long.context(here)
    running = [Lane(run, context) for _ in range(count)]
    for lane in running:
        lane.setup()
    for epoch in range(3):
        for lane in running:
            lane.epoch = epoch
            lane.begin_epoch(epoch)
        synchronize(here.device)
        started, number = time.perf_counter(), 0
        for _ in steps(running, epoch):
            number += 1
        synchronize(here.device)
        taken = 1000 * (time.perf_counter() - started) / number
    return taken


def teacher(work: Workload) -> Finding:
    """Milliseconds of the teacher's answer for a batch, when it is asked for one or several at once."""
    here = work.machine("auto", exact=False)
    long = replace(work, batches=8 * max(TEACHER_BATCHES), rest=0)
    context = long.context(here)
    batches = list(context.train_split.epoch(0, 0, long.recipe))
    found = {}
    for count in TEACHER_BATCHES:
        feed = BatchFeed(context.teacher.forward, count, here.recorder if here.graphs else None)
        for _ in range(2):  # recorded in the first, replayed in the second
            taken = time_feed(feed, batches, here)
        found[count] = taken
        here.free_memory()
    value = ", ".join(f"{count} at once: {taken:.3f} ms" for count, taken in found.items())
    return Finding(
        "teacher", f"for a batch of {work.batch}, {value}; in training it is asked for {here.teacher_batches}"
    )


def time_feed(feed: BatchFeed, batches: list[Batch], here: Machine) -> float:
    """Milliseconds for each batch until all have come with the teacher's answer."""
    synchronize(here.device)
    started = time.perf_counter()
    for _ in feed.batches(batches):
        pass
    synchronize(here.device)
    return 1000 * (time.perf_counter() - started) / len(batches)


@torch.no_grad()
def evaluation(work: Workload) -> Finding:
    """How many images the network with the largest feature maps takes at once; an evaluation batch must fit."""
    here, largest = work.machine("auto", exact=False), 0
    net = here.to_device(models.build(WIDEST, CLASSES)).eval()
    count = here.eval_batch
    while count <= max(MOST_IMAGES, here.eval_batch):
        try:
            here.forward(net, torch.zeros(count, 3, work.pixels, work.pixels, device=here.device))
            synchronize(here.device)
        except torch.OutOfMemoryError:
            break
        finally:
            here.free_memory()
        largest, count = count, 2 * count
    value = f"{largest:,} images of {WIDEST} fit, {here.eval_batch:,} are judged at once"
    advice = "" if largest else "small networks may fit; or free the device's memory, or use another device"
    return Finding("evaluation", value, bool(largest), advice)
