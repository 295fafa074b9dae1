"""Checks of a GPU that need processes of their own: masked devices, faults that make a process useless."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from benchmark.doctor.finding import Finding, run_check
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


# ---- any check in a process of its own
@dataclass(frozen=True, slots=True)
class CheckJob:
    """A check for a child process, and the file that its finding goes to."""

    name: str
    check: Callable[[Workload], Finding]
    work: Workload
    path: Path


def write_finding(job: CheckJob) -> None:
    """Make the check in this process, and write its finding."""
    found = run_check(job.name, partial(job.check, job.work))
    job.path.write_text(json.dumps(asdict(found)))


def in_own_process(name: str, check: Callable[[Workload], Finding], work: Workload) -> Finding:
    """The finding of a check after which its process may record nothing more, or not use the device any more."""
    job = CheckJob(name, check, work, Path(tempfile.mkdtemp(dir=work.root)) / "finding.json")
    (fault,) = run_in_processes(write_finding, [job], [""])
    if job.path.exists():
        return Finding(**json.loads(job.path.read_text()))
    return Finding(name, f"the check has no result: {fault.error['message'] if fault else 'nothing came'}", False, BUG)


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


def uuid_masks(own: list[str]) -> list[str]:
    """The devices of these UUIDs as CUDA_VISIBLE_DEVICES names them; none where they are parts of a GPU (MIG).

    The UUID that CUDA reports for such a part need not be the one that it is named by.
    """
    if any("MIG" in torch.cuda.get_device_name(number) for number in range(len(own))):
        return []
    return [f"GPU-{uuid.removeprefix('GPU-')}" for uuid in own]


def masked(work: Workload) -> Finding:
    """Whether each child process sees exactly the device that it is given, as in training and by its UUID."""
    own, options = visible(), Options("doctor", work.root, work.root, work.device, executor="spawn")
    by_uuid = uuid_masks(own)
    devices = [*runner.devices(options), *by_uuid]
    jobs = [Look(work.root / f"device-{number}.json") for number, _ in enumerate(devices)]
    faults = run_in_processes(look, jobs, devices)
    seen = [json.loads(job.path.read_text()) if job.path.exists() else ["nothing"] for job in jobs]
    expected = [[uuid] for uuid in [*own, *own[: len(by_uuid)]]] or [[]]
    if seen == expected:
        value = f"{len(own)} devices; each of {len(jobs)} child processes sees its own"
        return Finding("masked devices", value + (", as masked in training and by UUID" if by_uuid else ""))
    reasons = "; ".join(fault.error["message"] for fault in faults if fault)
    numbers = [[own.index(uuid) if uuid in own else "another" for uuid in each] for each in seen]
    ways = " (masked as in training, then by UUID)" if by_uuid else ""
    value = f"{len(own)} devices; the child processes{ways} see {', '.join(map(str, numbers))}. {reasons}".rstrip()
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
