"""Checks of a GPU that need processes of their own: masked devices, and a device-side assert."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmark.doctor.finding import Finding
from benchmark.doctor.gpu_training import BUG
from benchmark.doctor.workload import Workload
from benchmark.experiment import resolve
from benchmark.experiment.run import Run
from benchmark.store import Record, Store
from benchmark.sweep import runner
from benchmark.sweep.executors import run_in_processes
from benchmark.sweep.options import Options
from benchmark.sweep.runner import Task
from methods import registry

ASSERTING = '''
"""Cross-entropy; from the second epoch on it reads outside of a tensor, which CUDA reports as a failed assert."""

import torch
import torch.nn.functional as F

from methods import Method, register


@register("asserting")
class Asserting(Method):
    needs_teacher = False

    def __init__(self, student, teacher):
        super().__init__()
        self.register_buffer("first", torch.zeros((), dtype=torch.long))

    def begin_epoch(self, clock):
        self.first.fill_(1000 * clock.epoch)

    def loss(self, s, t, batch):
        place = (self.first + torch.zeros_like(batch.y))[:, None]
        return {"ce": F.cross_entropy(s.logits, batch.y), "outside": 0.0 * s.logits.gather(1, place).mean()}
'''


# ---- masked devices
@dataclass(frozen=True, slots=True)
class Look:
    """What a child process is asked to do: write what it sees of the devices."""

    path: Path


def look(job: Look) -> None:
    """Write the devices that this process sees."""
    job.path.write_text(json.dumps(visible()))


def visible() -> list[str]:
    """The devices that this process sees, each by its UUID, in order."""
    return [str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count())]


def masked(work: Workload) -> Finding:
    """Whether each child process sees exactly the device that it is given."""
    own, options = visible(), Options("doctor", work.root, work.root, work.device, executor="spawn")
    devices = runner.devices(options)
    jobs = [Look(work.root / f"device-{number}.json") for number, _ in enumerate(devices)]
    faults = run_in_processes(look, jobs, devices)
    seen = [json.loads(job.path.read_text()) if job.path.exists() else ["nothing"] for job in jobs]
    expected = [[uuid] for uuid in own] or [[]]
    value = f"{len(own)} devices; each of {len(jobs)} child processes sees its own"
    if seen == expected:
        return Finding("masked devices", value)
    reasons = "; ".join(fault.error["message"] for fault in faults if fault)
    numbers = [[own.index(uuid) if uuid in own else "another" for uuid in each] for each in seen]
    value = f"{len(own)} devices; the child processes see {', '.join(map(str, numbers))}, by number. {reasons}".rstrip()
    return Finding("masked devices", value, False, "train with --executor here, one process on each device")


# ---- a device-side assert
def device_assert(work: Workload) -> Finding:
    """What becomes of a lane beside one whose kernel fails an assert, after which its process cannot use the device.

    Expected: the lane that asserts ends with a record that says so; the other one is trained in a new process.
    """
    plugin = work.root / "asserting.py"
    plugin.write_text(ASSERTING)
    recipe = work.recipe.model_copy(update={"epochs": 3, "batch": 64})
    methods = (resolve.PLAIN_METHOD, plugin.stem)
    cohort = [Run(dataset="digits", student=work.student, method=method, recipe=recipe) for method in methods]
    options = Options("doctor", work.root / "results", work.root, work.device, executor="spawn", quiet=True)
    run_in_processes(train_beside_assert, [Task(cohort, replace(options, plugins=(str(plugin),)))], [""])
    latest = Store(options.results).latest()
    good, bad = (latest.get(run.id) for run in cohort)
    ok = (good and good.status, bad and bad.status) == ("done", "failed")
    value = f"the lane that fails: {outcome(bad)}; the lane beside it: {outcome(good)}; {device_state(work)}"
    return Finding("device-side assert", value, ok, "" if ok else BUG)


def train_beside_assert(job: Task) -> None:
    """Train the cohort in processes of its own; in a process, whose registry then knows the method that asserts."""
    for plugin in job.options.plugins:
        registry.load(plugin)
    runner.train_wave([job.cohort], Store(job.options.results), job.options)


def outcome(record: Record | None) -> str:
    """How a run ended."""
    if record is None:
        return "no record"
    return record.status + (f" ({record.error['message'].partition(chr(10))[0]})" if record.error else "")


def device_state(work: Workload) -> str:
    """Whether this process can still use the device.  Raises what torch raises if not."""
    total = torch.ones(8, device=work.machine("fp32").device).sum().item()
    return f"this process still computes: {total:.0f} of 8"
