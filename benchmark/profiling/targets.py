"""How fast is fast enough: the suite's targets beside what this machine does, measured side by side in one run.

A target for another kind of machine is not measured here, and says so.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmark import models
from benchmark.acceleration import machine
from benchmark.errors import BadInput
from benchmark.experiment import resolve
from benchmark.files import write_atomic
from benchmark.profiling import cost, roofline, speed
from benchmark.store import Store
from benchmark.sweep.runner import Options
from benchmark.training import model_size, provenance
from methods import registry

PAIR, LARGE = ("resnet56", "resnet20"), ("resnet32x4", "resnet8x4")
EPOCHS, STEPS = 240, 782  # of the CRD benchmark; steps of 64 images an epoch
MAX_SHARE = 0.10  # of the whole step, what a method may add
LIGHT_METHODS = ("sp", "lp", "lsh", "kda")  # those that this is asked of

Found = dict[str, Any] | None  # numbers of a target, with `met`; None where it was not measured


class Measurements:
    """What was measured on this machine, each thing once, when it is first asked for."""

    def __init__(self, data: Path, device: str, steps: int | None, repeats: int):
        self.data, self.steps, self.repeats = data, steps, repeats
        self.device = device
        self.here = machine.machine(device)

    def rate(self, pair: tuple[str, str], methods: tuple[str, ...]) -> dict[str, Any]:
        """Images per second beside the plain loop."""
        return speed.measure(*pair, methods, self.steps, self.repeats, self.data, self.device)

    @cached_property
    def taught(self) -> tuple[str, ...]:
        """Every method that learns from a teacher: seven."""
        return tuple(name for name in registry.names() if registry.get(name).needs_teacher)

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
        """method -> what it adds to the plain student's and the teacher's step, as a share of them; medians."""
        images, _ = speed.load_images(self.data)
        runs = speed.make_runs(*PAIR, self.taught)
        with tempfile.TemporaryDirectory(prefix="kd-targets-") as root:
            options = Options("crd", Store(root).root, self.data, self.device, quiet=True)
            records = cost.measure_pair(runs, images, options)
        found = {}
        for record in records:
            middle = record.clock["medians"]
            base = middle["plain_ms"] + middle["teacher_ms"]
            found[record.run["method"]] = middle["step_ms"] / base - 1
        return found


@dataclass(frozen=True, slots=True)
class Target:
    """One line: what is done, on what kind of machine, what is wanted, and how it is measured."""

    work: str
    kind: str  # "cpu" or "cuda"
    aim: str
    read: Callable[[Measurements], dict[str, Any]]


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


SHARES = "each method's own share of the step, resnet56 teaches resnet20"
TARGETS = (
    Target("resnet56 teaches resnet20, kd, alone", "cpu", "2.5 x plain", lambda m: ratio(m.alone, 2.5)),
    Target("the same, cohort of all that learn from a teacher", "cpu", "4 x plain", lambda m: ratio(m.cohort, 4)),
    Target(SHARES, "cpu", "sp, lp, lsh, kda at most 10 %", overheads),
    Target("resnet56 teaches resnet20, kd, alone", "cuda", "10 x plain, 2.0 ms a step", alone_on_gpu),
    Target("the same, cohort of all that learn from a teacher", "cuda", "30 x plain, 8 minutes", cohort_on_gpu),
    Target(SHARES, "cuda", "sp, lp, lsh, kda at most 10 %", overheads),
    Target("resnet32x4 teaches resnet8x4, cohort", "cuda", "40 % of the bf16 matrix rate", use_of_gpu),
    Target("resnet56, teacher, 240 epochs", "cuda", "5 minutes", teacher_on_gpu),
)


def measure(data: Path, results: Path, device: str, steps: int | None, repeats: int) -> tuple[dict[str, Any], Path]:
    """Measure what this machine can; the whole table, kept as results/speed/<machine>.json.  Raises BadInput."""
    m = Measurements(data, device, steps, repeats)
    rows = [
        {"work": t.work, "kind": t.kind, "aim": t.aim, "found": t.read(m) if t.kind == m.here.device.type else None}
        for t in TARGETS
    ]
    rates = {name: getattr(m, name)["images_per_s"] for name in ("alone", "cohort")}
    name = provenance.device_name(m.here.device)
    found = {"schema": 1, "machine": name, "batch": 64, "steps": m.alone["steps"], "repeats": repeats, "rows": rows}
    found["bound"] = roofline.measure(*PAIR, data, device)
    found |= {"images_per_s": rates, "made": provenance.environment(m.here) | {"ended": provenance.now()}}
    folder = results / "speed"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    return found, write_atomic(path, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())


def run_targets(
    suite: str, data: Path, results: Path, device: str, steps: int | None, repeats: int, as_json: bool
) -> str:
    """What `speed --suite targets` prints.  Raises BadInput for another suite."""
    if suite != "targets":
        raise BadInput(f"--suite: there is no {suite!r}; there is targets")
    found, path = measure(data, results, device, steps, repeats)
    return json.dumps(found, indent=1) if as_json else f"{show(found)}\nwritten: {path}"


def show(found: dict[str, Any]) -> str:
    """The table for people."""
    rows = [
        [row["work"], row["kind"], row["aim"], format_found(row["found"]), verdict(row["found"])]
        for row in found["rows"]
    ]
    table = tabulate(rows, ["work (batch 64)", "machine", "target", "measured", ""], tablefmt="simple")
    by = f"{found['machine']}, torch {found['made']['torch']}, {found['repeats']} repeats in turn"
    return f"{table}\n{roofline.summary_line(found['bound'])}\n{by}"


def format_found(found: Found) -> str:
    """Numbers as they are read."""
    if found is None:
        return "not measured"
    if "shares" in found:
        return ", ".join(f"{name} {100 * share:.1f} %" for name, share in sorted(found["shares"].items()))
    return ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in found.items() if name != "met")


def verdict(found: Found) -> str:
    """met or missed; "" for what was not measured."""
    return "" if found is None else "met" if found["met"] else "missed"
