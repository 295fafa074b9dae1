"""Training speed: images per second of this suite and of the plain loop of other suites, measured in turn."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import models
from benchmark.acceleration import machine
from benchmark.data import datasets
from benchmark.data.datasets import Dataset
from benchmark.data.split import Split, make_splits
from benchmark.errors import BadInput
from benchmark.experiment import resolve
from benchmark.experiment.run import Precision, Run
from benchmark.profiling import plain_loop
from benchmark.store import Store
from benchmark.training import provenance
from benchmark.training.context import Context
from benchmark.training.lane import Lane
from benchmark.training.loop import steps
from benchmark.training.teacher import Teacher
from methods import registry

WARMUP_STEPS = 12  # untimed steps before each measurement; CUDA graphs are recorded in these
STEPS = {"cpu": 20, "cuda": 400}  # timed steps of a repeat, unless --steps is given


def measure(
    teacher: str,
    student: str,
    methods: tuple[str, ...],
    count: int | None,
    repeats: int,
    data: Path,
    device: str = "auto",
    precision: Precision = "auto",
    graphs: bool = True,
) -> dict[str, Any]:
    """Images per second of this suite and of the plain loop, best and median of `repeats`, and their ratio.

    count: timed steps of a repeat (None: STEPS).  In a cohort of L students each image counts L times, once for each
    student that trains on it.  Raises BadInput.
    """
    images, source = load_images(data)
    runs = make_runs(teacher, student, methods)
    here = machine.machine(device, precision, graphs)
    count = count or STEPS[here.device.type]
    rates = measure_rates(runs, images, here, count, repeats)
    found = {name: {"best": max(r), "median": statistics.median(r), "all": r} for name, r in rates.items()}
    ratios = {"ratio": "best", "ratio_of_medians": "median"}
    settings = {"teacher": teacher, "student": student, "methods": list(methods), "batch": 64, "steps": count}
    return (
        {name: found["ours"][statistic] / found["plain"][statistic] for name, statistic in ratios.items()}
        | settings
        | {
            "images": source,
            "images_per_s": found,
            "plain_workers": plain_loop.workers(here.device),
            "made": provenance.environment(here),
        }
    )


def measure_rates(
    runs: list[Run], images: Dataset, here: machine.Machine, count: int, repeats: int
) -> dict[str, list[float]]:
    """Images per second of each repeat, of this suite ("ours") and of the plain loop ("plain"), in turn."""
    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    with (
        tempfile.TemporaryDirectory(prefix="kd-speed-") as root,
        plain_loop.in_subprocess(runs[0], images, here.device) as time_plain,
    ):
        training = training_steps(runs, images, here, Path(root))
        for _ in range(repeats):
            time_plain(WARMUP_STEPS)  # to a steady state: the loader's queues as full as in a long run
            rates["plain"].append(64 * count / time_plain(count))
            plain_loop.time_steps(training, WARMUP_STEPS, here.device)
            rates["ours"].append(64 * count * len(runs) / plain_loop.time_steps(training, count, here.device))
    return rates


def show(found: dict[str, Any], as_json: bool) -> str:
    """The measurement as lines of text, or as one JSON object."""
    if as_json:
        return json.dumps(found, indent=1)
    pair, rates, environment = f"{found['teacher']} teaches {found['student']}", found["images_per_s"], found["made"]
    lines = [f"{pair}, {', '.join(found['methods'])}, batch {found['batch']}, {found['images']}"]
    for name, label in (("ours", f"this suite ({environment['precision']})"), ("plain", "plain loop (fp32)")):
        lines.append(f"{label:<20} {rates[name]['best']:8,.0f} images/s best, {rates[name]['median']:8,.0f} median")
    lines.append(f"ratio of the best    {found['ratio']:8.2f}")
    lines.append(f"{environment['device']}, torch {environment['torch']}, {len(rates['ours']['all'])} repeats in turn")
    return "\n".join(lines)


def make_runs(teacher: str, student: str, methods: tuple[str, ...]) -> list[Run]:
    """The runs whose steps are timed, under the recipe of the CRD benchmark.  Raises BadInput."""
    for network in (teacher, student):
        models.shape(network, 100)
    choices = resolve.Choices(methods=methods, pairs=(f"{teacher}-{student}",), seeds="0")
    return resolve.load_suite("crd", choices)


def load_images(data: Path) -> tuple[Dataset, str]:
    """CIFAR-100 if it is available, else random images of its shape, since speed does not depend on the pixels.

    Returns the images and where they come from.
    """
    try:
        return datasets.load("cifar100", data), "CIFAR-100"
    except BadInput:
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 256, (10_000, 32, 32, 3), np.uint8), rng.integers(0, 100, 10_000)
        return datasets.make_dataset("cifar100", tuple(map(str, range(100))), x, y, x[:100], y[:100]), "random pixels"


def training_steps(runs: list[Run], images: Dataset, here: machine.Machine, root: Path) -> Iterator[None]:
    """This suite's training steps, epoch after epoch; one step for each `next`."""
    train_split, eval_split = make_splits(images, "test", here.device)
    teacher = untrained_teacher(runs, images, here, eval_split)
    context = Context(Store(root), here, images, train_split, eval_split, teacher)
    lanes = [Lane(run, context) for run in runs]
    for lane in lanes:
        lane.setup()
    for epoch in range(10**6):
        for lane in lanes:
            lane.epoch = epoch % lane.epochs
            lane.begin_epoch(lane.epoch)
        yield from steps(lanes, epoch)


def untrained_teacher(runs: list[Run], images: Dataset, here: machine.Machine, eval_split: Split) -> Teacher | None:
    """A teacher with random weights, as fast as a trained one; None if no run has a teacher.

    Its logits are those of the first 64 evaluation images only.
    """
    run = next((run.teacher for run in runs if run.teacher), None)
    if run is None:
        return None
    sample = next(eval_split.in_order(64)).x
    before = registry.preactivations_read(each.method for each in runs)
    net = here.freeze(models.build(run.student, len(images.classes), before), sample)
    return Teacher(run, net, net(sample).logits.cpu(), {})
