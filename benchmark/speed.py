"""Images per second, beside the loop that other suites run, both measured in turn in one run."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import accelerate, datasets, made, models, plain, spec
from benchmark.data import Split, splits
from benchmark.datasets import Dataset
from benchmark.errors import BadInput
from benchmark.lane import Lane
from benchmark.run import Precision, Run
from benchmark.setting import Setting
from benchmark.store import Store
from benchmark.teacher import Teacher
from benchmark.train import walk

WARM = 12  # steps before each start of the clock; by then they are recorded where they can be
STEPS = {"cpu": 20, "cuda": 400}  # timed in a repeat, if nobody says how many


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
    """Images per second of each, best and median over `repeats` of `count` steps (None: STEPS), and their ratio.

    A cohort of L students counts each image L times: it is learnt from L times.  Raises BadInput.
    """
    images, source = pixels(data)
    runs = wanted(teacher, student, methods)
    here = accelerate.machine(device, precision, graphs)
    count = count or STEPS[here.device.type]
    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    with tempfile.TemporaryDirectory(prefix="kd-speed-") as root, plain.apart(runs[0], images, here.device) as slow:
        walk = steps(runs, images, here, Path(root))
        for _ in range(repeats):
            slow(WARM)  # back to a steady state: queues as full as they are in a long run
            rates["plain"].append(64 * count / slow(count))
            plain.timed(walk, WARM, here.device)
            rates["ours"].append(64 * count * len(runs) / plain.timed(walk, count, here.device))
    found = {name: {"best": max(r), "median": statistics.median(r), "all": r} for name, r in rates.items()}
    ratios = {"ratio": "best", "ratio_of_medians": "median"}
    return {name: found["ours"][word] / found["plain"][word] for name, word in ratios.items()} | {
        "teacher": teacher,
        "student": student,
        "methods": list(methods),
        "batch": 64,
        "steps": count,
        "images": source,
        "images_per_s": found,
        "plain_workers": plain.workers(here.device),
        "made": made.made(here),
    }


def show(found: dict[str, Any], as_json: bool) -> str:
    """The measurement for people, or as one JSON object."""
    if as_json:
        return json.dumps(found, indent=1)
    pair, rates, facts = f"{found['teacher']} teaches {found['student']}", found["images_per_s"], found["made"]
    lines = [f"{pair}, {', '.join(found['methods'])}, batch {found['batch']}, {found['images']}"]
    for name, words in (("ours", f"this suite ({facts['precision']})"), ("plain", "plain loop (fp32)")):
        lines.append(f"{words:<20} {rates[name]['best']:8,.0f} images/s best, {rates[name]['median']:8,.0f} median")
    lines.append(f"ratio of the best    {found['ratio']:8.2f}")
    lines.append(f"{facts['device']}, torch {facts['torch']}, {len(rates['ours']['all'])} repeats in turn")
    return "\n".join(lines)


def wanted(teacher: str, student: str, methods: tuple[str, ...]) -> list[Run]:
    """The runs whose steps are timed, under the recipe of the CRD benchmark.  Raises BadInput."""
    for network in (teacher, student):
        models.shape(network, 100)
    choices = spec.Choices(methods=methods, pairs=(f"{teacher}-{student}",), seeds="0")
    return spec.load_suite("crd", choices)


def pixels(data: Path) -> tuple[Dataset, str]:
    """CIFAR-100 where it is at hand, else random pixels of its shape: speed does not depend on what they show."""
    try:
        return datasets.load("cifar100", data), "CIFAR-100"
    except BadInput:
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 256, (10_000, 32, 32, 3), np.uint8), rng.integers(0, 100, 10_000)
        return datasets.assemble("cifar100", tuple(map(str, range(100))), x, y, x[:100], y[:100]), "random pixels"


def steps(runs: list[Run], images: Dataset, here: accelerate.Machine, root: Path) -> Iterator[None]:
    """The engine's own steps, one per `next`, epoch after epoch."""
    learn, judged = splits(images, "test", here.device)
    teacher = untrained(runs, images, here, judged)
    setting = Setting(Store(root), here, images, learn, judged, teacher)
    lanes = [Lane(run, setting) for run in runs]
    for lane in lanes:
        lane.board()
    for epoch in range(10**6):
        for lane in lanes:
            lane.epoch = epoch % lane.epochs
            lane.begin_epoch(lane.epoch)
        yield from walk(lanes, epoch)


def untrained(runs: list[Run], images: Dataset, here: accelerate.Machine, judged: Split) -> Teacher | None:
    """A teacher with fresh weights: it takes as long as a trained one."""
    taught = next((run.teacher for run in runs if run.teacher), None)
    if taught is None:
        return None
    few = next(judged.plain(64)).x
    net = here.freeze(models.build(taught.student, len(images.classes)), few)
    return Teacher(taught, net, net(few).logits.cpu(), {})
