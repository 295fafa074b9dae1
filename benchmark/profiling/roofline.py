"""Roofline of a training step: time by part and operator, arithmetic and memory traffic, the machine's peak rates."""

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
from benchmark.profiling.timing import Step, eager_step, lane_walk, lanes_by_stage, one_by_one, time_in_turn
from benchmark.sweep.options import Options
from benchmark.training import model_size
from benchmark.training.lane import Lane
from methods.contract import Batch

WIDTH = {"cpu": 2048, "cuda": 8192}  # rows and columns of the matrices whose product is timed
COPY_BYTES = {"cpu": 1 << 28, "cuda": 1 << 31}  # bytes of the tensor whose copy is timed: larger than any cache
TOP_OPERATORS = 8  # number of operators that the profile keeps


def measure(teacher: str, student: str, data: Path, device: str = "auto") -> dict[str, Any]:
    """One step of `kd` on 64 images: its parts, its operators, and two lower bounds, in ms.  Raises BadInput.

    floor_ms: the least time for the arithmetic, at the rate of a large matrix product in the same precision, and the
    least time for the memory traffic, at the rate of a large copy.  The traffic is every byte that torch's operators
    read or write, as if there were no cache; what this project's own kernels read is not counted.
    """
    images, _ = speed.load_images(data)
    with tempfile.TemporaryDirectory(prefix="kd-bound-") as root:
        lane, batches = prepare_lane(teacher, student, images, data, device, Path(root))
        machine = lane.context.machine
        milliseconds = time_parts(lane, batches)
        traffic = bytes_moved(lane, batches[0])
        operators = profile_operators(eager_step(lane), batches, machine.device)
    forward = {name: model_size.count_macs(models.build(name, len(images.classes))) for name in (teacher, student)}
    macs = len(batches[0].y) * (3 * forward[student] + forward[teacher])  # a backward pass counts as two forward passes
    rates = {"macs": matrix_rate(machine), "bytes": copy_rate(machine.device)}
    return {
        "work": f"{teacher} teaches {student}, kd",
        "batch": len(batches[0].y),
        "milliseconds": milliseconds,
        "operators": operators,
        "counted": {"macs": macs, "bytes": traffic},
        "per_second": rates,
        "floor_ms": {"macs": 1000 * macs / rates["macs"], "bytes": 1000 * traffic / rates["bytes"]},
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
    """A lane of `kd` ready to train in its last stage, and the batches of one round."""
    runs = speed.make_runs(teacher, student, ("kd",))
    context = cost.make_context(runs, images, Options("crd", root, data, device), root)
    batches = cost.first_batches(context, runs[0].recipe)
    return list(lanes_by_stage(runs[0], context, batches).values())[-1], batches


def time_parts(lane: Lane, batches: list[Batch]) -> dict[str, float]:
    """Milliseconds of the step as trained and of its parts, each part run alone; the best of several rounds.

    "loss and backward" is not run alone: it is the eager step minus the other parts of it.
    """
    context = lane.context
    loader = endless_batches(lane)
    steps: dict[str, Step] = {
        "batch": lambda _: next(loader),
        "teacher": lambda batch: context.teacher.forward(batch.x),
        "forward": lambda batch: context.machine.forward(lane.student, batch.x),
        "eager step": eager_step(lane),
        "optimiser": lambda _: lane.optimiser.step(),
    }
    walks = {"step": lane_walk(lane)} | {name: one_by_one(step) for name, step in steps.items()}
    times, faults = time_in_turn({name: {"": walk} for name, walk in walks.items()}, batches, context.machine)
    for fault in faults.values():
        raise fault
    best = {name: min(rounds[""]) for name, rounds in times.items()}
    eager_ms = best.pop("eager step")
    parts = ("teacher", "forward", "optimiser")
    return best | {"loss and backward": eager_ms - sum(best[part] for part in parts)}


def endless_batches(lane: Lane) -> Iterator[Batch]:
    """The training batches, epoch after epoch without end."""
    epoch = 0
    while True:
        yield from lane.context.train_split.epoch(0, epoch, lane.run.recipe)
        epoch += 1


class BytesMoved(TorchDispatchMode):
    """Counts in `bytes` what operators read and write while it is active; operators that return views do not count."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in operation._schema.returns]
        if not any(alias and not alias.is_write for alias in aliases):
            operands = (*tensors_in((args, kwargs)), *tensors_in(result))
            self.bytes += sum(tensor.nbytes for tensor in operands if storage_id(tensor) is not None)
        return result


def bytes_moved(lane: Lane, batch: Batch) -> int:
    """Bytes that the operators of an eager step read and write."""
    with BytesMoved() as traffic:
        eager_step(lane)(batch)
    return traffic.bytes


def profile_operators(step: Step, batches: list[Batch], device: torch.device) -> dict[str, float]:
    """The TOP_OPERATORS operators that take most of the device's time: name -> share of the time of all operators."""
    cuda = device.type == "cuda"
    time_field = "self_device_time_total" if cuda else "self_cpu_time_total"
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * cuda]
    with profile(activities=activities, acc_events=True) as profiled:
        for batch in batches:
            step(batch)
        synchronize(device)
    events = profiled.key_averages()
    operators = (event for event in events if event.device_type == DeviceType.CPU)  # not the kernels
    times = {event.key: getattr(event, time_field) for event in operators}
    total = sum(times.values())
    largest = sorted(times, key=times.get, reverse=True)[:TOP_OPERATORS]
    return {name: times[name] / total for name in largest}


def matrix_rate(machine: Machine, repeats: int = 10) -> float:
    """Multiply-accumulates per second of a large matrix product in the machine's precision, the best of `repeats`."""
    width = WIDTH[machine.device.type]
    dtype = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    a = torch.randn(width, width, device=machine.device, dtype=dtype)
    return width**3 / best_seconds(lambda: a @ a, machine.device, repeats)


def copy_rate(device: torch.device, repeats: int = 10) -> float:
    """Bytes per second, read and written together, of copying a large tensor, the best of `repeats`."""
    a = torch.zeros(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    return 2 * a.nbytes / best_seconds(lambda: b.copy_(a), device, repeats)


def best_seconds(action, device: torch.device, repeats: int) -> float:
    """Seconds of the quickest of `repeats` calls, after two that do not count."""
    seconds = []
    for _ in range(repeats + 2):
        synchronize(device)
        started = time.perf_counter()
        action()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[2:])
