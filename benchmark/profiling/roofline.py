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

from benchmark import models
from benchmark.acceleration.device import synchronize
from benchmark.acceleration.machine import Machine
from benchmark.data.datasets import Dataset
from benchmark.profiling import cost, speed
from benchmark.profiling.memory import storage_id, tensors_in
from benchmark.profiling.timing import Step, eager_step, full_step, lanes_by_stage, time_in_turn
from benchmark.sweep.runner import Options
from benchmark.training import model_size
from benchmark.training.lane import Lane
from methods.contract import Batch

WIDTH = {"cpu": 2048, "cuda": 8192}  # of the square matrices whose product is timed
COPY_BYTES = {"cpu": 1 << 28, "cuda": 1 << 31}  # bytes of the tensor that is copied: larger than any cache
TOP_OPERATORS = 8  # operators in the profile


def measure(teacher: str, student: str, data: Path, device: str = "auto") -> dict[str, Any]:
    """One step of `kd` on 64 images: its parts, its operators, and two floors, in milliseconds.  Raises BadInput.

    The floor of arithmetic is that of a large matrix product in the same precision; that of memory is the time to
    copy the bytes that torch's operators read and write, as if no cache kept them.  What our own kernels read is not
    counted.
    """
    images, _ = speed.load_images(data)
    with tempfile.TemporaryDirectory(prefix="kd-bound-") as root:
        lane, batches = prepare_lane(teacher, student, images, data, device, Path(root))
        here = lane.context.machine
        found = time_parts(lane, batches)
        moved = bytes_moved(lane, batches[0])
        operators = profile_operators(eager_step(lane), batches, here.device)
    nets = {name: model_size.count_macs(models.build(name, len(images.classes))) for name in (teacher, student)}
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


def summary_line(found: dict[str, Any]) -> str:
    """The measurement in one line."""
    took, floor = found["milliseconds"], found["floor_ms"]
    parts = ", ".join(f"{name} {value:.2f}" for name, value in took.items() if name != "step")
    return (
        f"{found['work']}: a step of {took['step']:.2f} ms; its parts alone, in ms: {parts}; at least "
        f"{floor['macs']:.2f} for its {found['counted']['macs'] / 1e9:.1f} G multiply-accumulates, "
        f"{floor['bytes']:.2f} for the {found['counted']['bytes'] / 1e6:.0f} MB that it reads and writes"
    )


def prepare_lane(
    teacher: str, student: str, images: Dataset, data: Path, device: str, root: Path
) -> tuple[Lane, list[Batch]]:
    """A lane in its last epoch, and some batches of an epoch."""
    runs = speed.make_runs(teacher, student, ("kd",))
    context = cost.make_context(runs, images, Options("crd", root, data, device), root)
    batches = list(context.train_split.epoch(0, 0, runs[0].recipe))
    return list(lanes_by_stage(runs[0], context, batches).values())[-1], batches


def time_parts(lane: Lane, batches: list[Batch]) -> dict[str, float]:
    """Milliseconds, each of its best round: the step as it is trained, and its parts, each carried out alone."""
    context = lane.context
    walk = endless_batches(lane)
    step = eager_step(lane)
    steps: dict[str, Step] = {
        "step": full_step(lane),
        "batch": lambda _: next(walk),
        "teacher": lambda batch: context.teacher.forward(batch.x),
        "forward": lambda batch: context.machine.forward(lane.student, batch.x),
        "carried out": step,
        "optimiser": lambda _: lane.optimiser.step(),
    }
    times, faults = time_in_turn({name: {"": each} for name, each in steps.items()}, batches, context.machine.device)
    for fault in faults.values():
        raise fault
    best = {name: min(own[""]) for name, own in times.items()}
    whole_ms = best.pop("carried out")
    parts = ("teacher", "forward", "optimiser")
    return best | {"loss and backward": whole_ms - sum(best[part] for part in parts)}


def endless_batches(lane: Lane) -> Iterator[Batch]:
    """Batches of one epoch after another."""
    epoch = 0
    while True:
        yield from lane.context.train_split.epoch(0, epoch, lane.run.recipe)
        epoch += 1


class BytesMoved(TorchDispatchMode):
    """Inside, `bytes` adds up what operators read and write; views move nothing."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        aliases = [result.alias_info for result in operation._schema.returns]
        if not any(alias and not alias.is_write for alias in aliases):
            touched = (*tensors_in((args, kwargs)), *tensors_in(found))
            self.bytes += sum(tensor.nbytes for tensor in touched if storage_id(tensor) is not None)
        return found


def bytes_moved(lane: Lane, batch: Batch) -> int:
    """What the operators of a step read and write."""
    with BytesMoved() as moved:
        eager_step(lane)(batch)
    return moved.bytes


def profile_operators(step: Step, batches: list[Batch], device: torch.device) -> dict[str, float]:
    """The operators that take most of the device's time, with their shares of it."""
    cuda = device.type == "cuda"
    word = "self_device_time_total" if cuda else "self_cpu_time_total"
    kinds = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * cuda]
    with profile(activities=kinds, acc_events=True) as seen:
        for batch in batches:
            step(batch)
        synchronize(device)
    operators = (event for event in seen.key_averages() if event.device_type == DeviceType.CPU)  # who launched it
    own = {event.key: getattr(event, word) for event in operators}
    total = sum(own.values())
    largest = sorted(own, key=own.get, reverse=True)[:TOP_OPERATORS]
    return {name: own[name] / total for name in largest}


def matrix_rate(here: Machine, repeats: int = 10) -> float:
    """Multiply-accumulates per second of a large square product in the machine's precision, the best of some."""
    width = WIDTH[here.device.type]
    kind = torch.bfloat16 if here.precision == "bf16" else torch.float32
    a = torch.randn(width, width, device=here.device, dtype=kind)
    return width**3 / best_seconds(lambda: a @ a, here.device, repeats)


def copy_rate(device: torch.device, repeats: int = 10) -> float:
    """Bytes per second, read and written, of copying a large tensor, the best of some."""
    a = torch.zeros(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / best_seconds(lambda: b.copy_(a), device, repeats)


def best_seconds(action, device: torch.device, repeats: int) -> float:
    """Seconds of the quickest of some repeats."""
    seconds = []
    for _ in range(repeats + 2):
        synchronize(device)
        started = time.perf_counter()
        action()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[2:])
