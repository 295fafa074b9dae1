"""What a trained network costs where it is used: time of one image, images per second in batches, size of its file.

Networks as they are deployed: without the teacher and what trained beside the student, but with a layer that a method
leaves in it; batch norm folded into the convolutions, weights in float32 and, where the processor has it, bfloat16.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from benchmark import models
from benchmark.acceleration.device import device_is_lost, supports_bf16, synchronize
from benchmark.acceleration.machine import Machine, machine
from benchmark.data import datasets
from benchmark.errors import BadInput, printable
from benchmark.experiment.run import Run
from benchmark.store import Record, Store
from benchmark.training import model_size, provenance, weights

if TYPE_CHECKING:
    from benchmark.sweep.options import Options

KIND = "deployment"  # of the records
BATCH = 256  # of the throughput
SECONDS_EACH, LEAST, WARMUP = 1.0, 5, 3  # of each timing: seconds, fewest passes, passes before
Key = tuple[str, str, str, tuple[int, ...]]  # data set, its content, network, shape of a layer left in it


def measure(runs: Sequence[Run], options: Options) -> list[Record]:
    """Measure every network of the runs that this device has not measured, teachers too; the records as kept.

    The weights are those of the first run that has any, else initial ones, which take as long.  Raises BadInput.
    Nothing is measured, with a sentence, by a process that has lost its CUDA device to an earlier measurement.
    """
    if device_is_lost():
        print("networks as deployed not measured: this process cannot use its CUDA device any more", file=sys.stderr)
        return []
    store, here = Store(options.results), machine(options.device)
    name, kept = provenance.device_name(here.device), []
    measured = [record for record in store.records(KIND) if record.provenance.get("device") == name]
    known = {deployed_key(Run.model_validate(record.run), store) for record in measured}
    everyone = {run.id: run for each in runs for run in (each.teacher, each) if run}
    for run in everyone.values():
        key = deployed_key(run, store)
        if key not in known:
            known.add(key)
            kept.append(store.add(measure_run(run, store, options)))
            here.free_memory()
            if not options.quiet:
                print(f"deployment · {run.student} on {run.dataset} · measured", flush=True)
    return kept


def deployed_key(run: Run, store: Store) -> Key:
    """What networks have in common that take the same time."""
    return run.dataset, run.content, run.student, layer_shape(run, store)


def layer_shape(run: Run, store: Store) -> tuple[int, ...]:
    """The shape of the layer that a method has left before the classifier; empty if there is none, or no whole file."""
    path = store.weights(run.id)
    try:
        with safe_open(path, "pt") if path else nullcontext() as file:
            names = file.keys() if file else ()
            return tuple(file.get_slice("embed.weight").get_shape()) if "embed.weight" in names else ()
    except (SafetensorError, OSError):
        return ()


def stored_network(run: Run, store: Store, classes: int) -> nn.Module | None:
    """The network of a run with its kept weights; None, with a sentence, if they are damaged, or if there are none."""
    path = store.weights(run.id)
    try:
        return weights.load_network(path, run.student, classes) if path else None
    except BadInput as fault:
        print(printable(f"{fault}; {run.student} is timed with initial weights, which take as long"), file=sys.stderr)
        return None


def measure_run(run: Run, store: Store, options: Options) -> Record:
    """The measurement of one network, in each precision that the device computes in."""
    info, started = datasets.info(run.dataset, options.data), provenance.now()
    stored = stored_network(run, store, info.classes)
    net = models.build(run.student, info.classes) if stored is None else stored
    size = (info.height, info.width)
    there = machine(options.device)
    clock = {"batch": BATCH}
    for precision in ("fp32", "bf16"):
        if precision == "fp32" or supports_bf16(there.device):
            clock[precision] = time_network(net, size, machine(options.device, precision))
    sizes = {
        "student": model_size.count_parameters(net),
        "macs": model_size.count_macs(net, *size),
        "file_bytes": len(weights.to_bytes(net)),
    }
    environment = provenance.environment(there) | {
        "trained": stored is not None,
        "layer": list(layer_shape(run, store)),
    }
    environment |= {"started": started, "ended": provenance.now()}
    return Record(
        kind=KIND,
        id=run.id,
        status="done",
        run=run.model_dump(mode="json"),
        size=sizes,
        clock=clock,
        provenance=environment,
    )


def time_network(net: nn.Module, size: tuple[int, int], here: Machine) -> dict[str, float]:
    """Milliseconds of one image and images per second in batches of BATCH: medians, on images that are there."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, *size, generator=generator).to(here.device)
    frozen = here.freeze(copy.deepcopy(net), images[:64])
    one = images[:1].contiguous()
    return {
        "latency_ms": 1000 * seconds(lambda: frozen(one), here),
        "images_per_s": BATCH / seconds(lambda: frozen(images), here),
        "folded": frozen.folded,
    }


def seconds(action: Callable[[], Any], here: Machine) -> float:
    """The median time of an action, of at least LEAST after WARMUP others."""
    times, end = [], 0.0
    for number in range(10**6):
        if number == WARMUP:
            end = time.perf_counter() + SECONDS_EACH
        started = time.perf_counter()
        action()
        synchronize(here.device)
        if number >= WARMUP:
            times.append(time.perf_counter() - started)
            if len(times) >= LEAST and time.perf_counter() > end:
                break
    return statistics.median(times)
