"""What the speed targets are read from: each measurement made once, and numbers of a target with a verdict."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark import models
from benchmark.acceleration import machine
from benchmark.experiment import resolve
from benchmark.profiling import cost, roofline, speed
from benchmark.store import Store
from benchmark.sweep.options import Options
from benchmark.training import model_size

PAIR, LARGE = ("resnet56", "resnet20"), ("resnet32x4", "resnet8x4")
EPOCHS = 240  # of the CRD benchmark
MAX_SHARE = 0.10  # of a step, the most that a method may add
COHORT = ("fitnets", "hint", "kd", "kda", "lp", "lsh", "sp")  # the seven methods that the targets of a cohort are for
LIGHT_METHODS = ("sp", "lp", "lsh", "kda")  # the methods with this target


class Measurements:
    """Measurements on this machine, each made once, when it is first needed; its memory is given back after each."""

    taught = COHORT

    def __init__(self, data: Path, device: str, steps: int | None, repeats: int):
        self.data, self.steps, self.repeats = data, steps, repeats
        self.device = device
        self.here = machine.machine(device)

    def rate(self, pair: tuple[str, str], methods: tuple[str, ...]) -> dict[str, Any]:
        """Images per second beside the plain loop."""
        found = speed.measure(*pair, methods, self.steps, self.repeats, self.data, self.device)
        self.here.free_memory()
        return found

    @cached_property
    def alone(self) -> dict[str, Any]:
        return self.rate(PAIR, ("kd",))

    @cached_property
    def cohort(self) -> dict[str, Any]:
        return self.rate(PAIR, self.taught)

    @cached_property
    def large(self) -> dict[str, Any]:
        return self.rate(LARGE, self.taught)

    @cached_property
    def shares(self) -> dict[str, float]:
        """method -> what it adds to the time of the plain student and the teacher, as a share of it; medians.

        None of the times is of a teacher that computes beside the student: see cost_parts.py.
        """
        images, _ = speed.load_images(self.data)
        runs = speed.make_runs(*PAIR, self.taught)
        with tempfile.TemporaryDirectory(prefix="kd-targets-") as root:
            options = Options("crd", Store(root).root, self.data, self.device, quiet=True)
            records = cost.measure_pair(runs, images, options)
        self.here.free_memory()
        found = {}
        for record in records:
            middle = record.clock["medians"]
            base = middle["plain_ms"] + middle["teacher_ms"]
            found[record.run["method"]] = middle["step_ms"] / base - 1
        return found

    @cached_property
    def bound(self) -> dict[str, Any]:
        """Where a step goes, and what the machine could do at best."""
        found = roofline.measure(*PAIR, self.data, self.device)
        self.here.free_memory()
        return found


def ratio(rate: dict[str, Any], least: float) -> dict[str, Any]:
    """Our images per second over the plain loop's, best of each."""
    return {"ratio": rate["ratio"], "ratio_of_medians": rate["ratio_of_medians"], "met": rate["ratio"] >= least}


def alone_on_gpu(m: Measurements) -> dict[str, Any]:
    """Ratio and milliseconds of a step."""
    found, step = ratio(m.alone, 10), 64_000 / m.alone["images_per_s"]["ours"]["best"]
    return found | {"step_ms": step, "met": found["met"] and step <= 2.0}


def cohort_on_gpu(m: Measurements) -> dict[str, Any]:
    """Ratio, and minutes of a whole training of all at the measured rate."""
    found = ratio(m.cohort, 30)
    images = EPOCHS * 50_000 * len(m.taught)
    minutes = images / m.cohort["images_per_s"]["ours"]["best"] / 60
    return found | {"minutes_at_this_rate": minutes, "met": found["met"] and minutes <= 8}


def use_of_gpu(m: Measurements) -> dict[str, Any]:
    """Share of the matrix rate that the large pair reaches, a backward pass counted as two forward ones."""
    teacher, student = (model_size.count_macs(models.build(name, 100)) for name in LARGE)
    rate = m.large["images_per_s"]["ours"]["best"]
    done = rate * (3 * student + teacher / len(m.taught))
    share = done / roofline.matrix_rate(m.here)
    return {"share_of_matrix_rate": share, "met": share >= 0.40}


def teacher_on_gpu(m: Measurements) -> dict[str, Any]:
    """Minutes of a teacher's whole training at the rate of its steps."""
    rate = m.rate((PAIR[0], PAIR[0]), (resolve.PLAIN_METHOD,))["images_per_s"]["ours"]["best"]
    minutes = EPOCHS * 50_000 / rate / 60
    return {"minutes_at_this_rate": minutes, "met": minutes <= 5}


def overheads(m: Measurements) -> dict[str, Any]:
    """What each method adds to the step."""
    return {"shares": m.shares, "met": all(m.shares[name] <= MAX_SHARE for name in LIGHT_METHODS)}
