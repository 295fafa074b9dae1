"""What bounds a step: where its time goes, what it computes and moves, and what the machine does of that at best.

N images in a batch
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark import cost, models, size, speed
from benchmark.accelerate import Machine
from benchmark.datasets import Dataset
from benchmark.device import wait
from benchmark.lane import Lane
from benchmark.memory import address, tensors
from benchmark.sweep import Ask
from benchmark.timing import Step, bare, by_stage, in_turn, whole
from methods.contract import Batch

WIDTH = {"cpu": 2048, "cuda": 8192}  # of the square matrices whose product is timed
COPIED = {"cpu": 1 << 28, "cuda": 1 << 31}  # bytes of the tensor that is copied: larger than any cache
SHOWN = 8  # operators in the profile


def measure(teacher: str, student: str, data: Path, device: str = "auto") -> dict[str, Any]:
    """One step of `kd` on 64 images: its parts, its operators, and two floors, in milliseconds.  Raises BadInput.

    The floor of arithmetic is that of a large matrix product in the same precision; that of memory is the time to
    copy the bytes that torch's operators read and write, as if no cache kept them.  What our own kernels read is not
    counted.
    """
    images, _ = speed.pixels(data)
    with tempfile.TemporaryDirectory(prefix="kd-bound-") as root:
        lane, batches = ready(teacher, student, images, data, device, Path(root))
        here = lane.setting.machine
        found = timed(lane, batches)
        moved = bytes_of(lane, batches[0])
        operators = profiled(bare(lane), batches, here.device)
    nets = {name: size.macs(models.build(name, len(images.classes))) for name in (teacher, student)}
    macs = len(batches[0].y) * (3 * nets[student] + nets[teacher])  # a backward pass counted as two forward ones
    rates = {"macs": matrix_rate(here), "bytes": copy_rate(here.device)}
    return {
        "work": f"{teacher} teaches {student}, kd",
        "batch": len(batches[0].y),
        "milliseconds": found,
        "operators": operators,
        "counted": {"macs": macs, "bytes": moved},
        "per_second": rates,
        "floor_ms": {"macs": 1000 * macs / rates["macs"], "bytes": 1000 * moved / rates["bytes"]},
    }


def words(found: dict[str, Any]) -> str:
    """The measurement in one line."""
    took, floor = found["milliseconds"], found["floor_ms"]
    parts = ", ".join(f"{name} {value:.2f}" for name, value in took.items() if name != "step")
    return (
        f"{found['work']}: a step of {took['step']:.2f} ms; its parts alone, in ms: {parts}; at least "
        f"{floor['macs']:.2f} for its {found['counted']['macs'] / 1e9:.1f} G multiply-accumulates, "
        f"{floor['bytes']:.2f} for the {found['counted']['bytes'] / 1e6:.0f} MB that it reads and writes"
    )


def ready(teacher: str, student: str, images: Dataset, data: Path, device: str, root: Path) -> tuple[Lane, list[Batch]]:
    """A lane in its last epoch, and some batches of an epoch."""
    runs = speed.wanted(teacher, student, ("kd",))
    setting = cost.settled(runs, images, Ask("crd", root, data, device), root)
    batches = list(setting.learn.epoch(0, 0, runs[0].recipe))
    return list(by_stage(runs[0], setting, batches).values())[-1], batches


def timed(lane: Lane, batches: list[Batch]) -> dict[str, float]:
    """Milliseconds, each of its best round: the step as it is trained, and its parts, each carried out alone."""
    setting = lane.setting
    walk = endless(lane)
    step = bare(lane)
    steps: dict[str, Step] = {
        "step": whole(lane),
        "batch": lambda _: next(walk),
        "teacher": lambda batch: setting.teacher.look(batch.x),
        "forward": lambda batch: setting.machine.look(lane.student, batch.x),
        "carried out": step,
        "optimiser": lambda _: lane.optimiser.step(),
    }
    times, faults = in_turn({name: {"": each} for name, each in steps.items()}, batches, setting.machine.device)
    for fault in faults.values():
        raise fault
    best = {name: min(own[""]) for name, own in times.items()}
    whole_ms = best.pop("carried out")
    parts = ("teacher", "forward", "optimiser")
    return best | {"loss and backward": whole_ms - sum(best[part] for part in parts)}


def endless(lane: Lane) -> Iterator[Batch]:
    """Batches of one epoch after another."""
    epoch = 0
    while True:
        yield from lane.setting.learn.epoch(0, epoch, lane.run.recipe)
        epoch += 1


class Moved(TorchDispatchMode):
    """Inside, `bytes` adds up what operators read and write; views move nothing."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        aliases = [result.alias_info for result in operation._schema.returns]
        if not any(alias and not alias.is_write for alias in aliases):
            touched = (*tensors((args, kwargs)), *tensors(found))
            self.bytes += sum(tensor.nbytes for tensor in touched if address(tensor) is not None)
        return found


def bytes_of(lane: Lane, batch: Batch) -> int:
    """What the operators of a step read and write."""
    with Moved() as moved:
        bare(lane)(batch)
    return moved.bytes


def profiled(step: Step, batches: list[Batch], device: torch.device) -> dict[str, float]:
    """The operators that take most of the device's time, with their shares of it."""
    cuda = device.type == "cuda"
    word = "self_device_time_total" if cuda else "self_cpu_time_total"
    kinds = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * cuda]
    with profile(activities=kinds, acc_events=True) as seen:
        for batch in batches:
            step(batch)
        wait(device)
    operators = (event for event in seen.key_averages() if event.device_type == DeviceType.CPU)  # who launched it
    own = {event.key: getattr(event, word) for event in operators}
    total = sum(own.values())
    largest = sorted(own, key=own.get, reverse=True)[:SHOWN]
    return {name: own[name] / total for name in largest}


def matrix_rate(here: Machine, repeats: int = 10) -> float:
    """Multiply-accumulates per second of a large square product in the machine's precision, the best of some."""
    width = WIDTH[here.device.type]
    kind = torch.bfloat16 if here.precision == "bf16" else torch.float32
    a = torch.randn(width, width, device=here.device, dtype=kind)
    return width**3 / quickest(lambda: a @ a, here.device, repeats)


def copy_rate(device: torch.device, repeats: int = 10) -> float:
    """Bytes per second, read and written, of copying a large tensor, the best of some."""
    a = torch.zeros(COPIED[device.type], dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / quickest(lambda: b.copy_(a), device, repeats)


def quickest(action, device: torch.device, repeats: int) -> float:
    """Seconds of the quickest of some repeats."""
    seconds = []
    for _ in range(repeats + 2):
        wait(device)
        started = time.perf_counter()
        action()
        wait(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[2:])
