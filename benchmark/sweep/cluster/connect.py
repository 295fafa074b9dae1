"""A Ray cluster: joined or started, and what a cohort occupies on it.  The only file that imports Ray."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import BadInput
from benchmark.sweep.options import Options

ROOT = Path(__file__).parents[3]
ANSWER_SECONDS = 10.0  # for the head of a cluster to answer
Nodes = Sequence[Mapping[str, float]]  # of each machine its resources, as Ray names them: CPU, GPU and others


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a cohort occupies while it trains."""

    device: str
    cpus: int
    gpus: float


def import_ray() -> Any:
    """The package.  Raises BadInput if it is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # every line of the workers' progress is shown
    if not sys.stderr.isatty():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # no colours in a file
    try:
        import ray
    except ImportError as fault:
        raise BadInput(
            f"--executor ray needs Ray ({fault}): python -m pip install -r requirements-cluster.txt"
        ) from fault
    return ray


def check_options(options: Options) -> None:
    """Raises BadInput for a share of a GPU or a time limit that is none, and for a budget, which a cluster has not."""
    if options.limits.start_until is not None:
        raise BadInput("--budget is for the executors here and spawn; with ray use --max-hours")
    if not 0 < options.cohort_gpus <= 1:
        raise BadInput(f"--cohort-gpus is a share of a GPU, above 0 and up to 1, not {options.cohort_gpus:g}")
    if options.cohort_hours is not None and options.cohort_hours <= 0:
        raise BadInput(f"--cohort-hours is a number of hours above 0, not {options.cohort_hours:g}")


@contextmanager
def cluster(options: Options) -> Iterator[Footprint]:
    """Join the cluster at `options.address`, that of this machine, or one that ends with this process.

    Yields what each cohort will occupy.  Raises BadInput if there is no such cluster, or none of its machines is
    large enough.
    """
    check_options(options)
    ray, where = import_ray(), options.address or os.environ.get("RAY_ADDRESS", "")
    check_address(where)
    code = {"py_modules": [str(ROOT / name) for name in ("benchmark", "methods")]}
    try:
        ray.init(
            address=where or None,
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=not options.quiet,
            runtime_env=code,
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as fault:
        raise BadInput(unreachable(where, str(fault).strip().partition("\n")[0])) from fault
    try:
        found = live_nodes(ray)
        footprint = find_footprint(found, options, torch.get_num_threads())
        if not options.quiet:
            at_once = sum(fits(node, footprint) for node in found)
            print(f"ray: machines: {len(found)}, cohorts at a time: {at_once}, on {footprint.device}", flush=True)
        yield footprint
    finally:
        ray.shutdown()


def check_address(where: str) -> None:
    """Raises BadInput if nothing listens at HOST:PORT, which Ray itself would notice after many minutes."""
    host, colon, port = where.rpartition(":")
    if not where or where in ("auto", "local"):
        return
    if not (colon and port.isdecimal()) or "/" in host:
        raise BadInput(f"--address is HOST:PORT, as `ray start --head` prints it, not {where!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as fault:
        raise BadInput(unreachable(where, str(fault))) from fault


def unreachable(where: str, reason: str) -> str:
    """The sentence for a cluster that cannot be joined."""
    return (
        f"no Ray cluster can be joined at {where or 'this machine'} ({reason}): "
        "start one with `ray start --head`, with the same versions of Ray and Python everywhere, and the same "
        "RAY_AUTH_MODE and RAY_AUTH_TOKEN"
    )


def live_nodes(ray: Any) -> Nodes:
    """The resources of each machine that is there."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def find_footprint(nodes: Nodes, options: Options, threads: int) -> Footprint:
    """What a cohort occupies: the processor's threads that it uses, or a share of a GPU.

    threads: that torch uses here, and shall use there: on a CPU the last bits of a result depend on their number.
    Raises BadInput if no machine has as much.
    """
    gpus = [node for node in nodes if node.get("GPU")]
    if options.device == "cuda" and not gpus:
        raise BadInput("--device cuda, but no machine of the Ray cluster has a GPU: use --device cpu, or add one")
    if gpus and options.device != "cpu":
        each = min(int(node.get("CPU", 0) * options.cohort_gpus / node["GPU"]) for node in gpus)
        return Footprint("cuda", max(1, min(threads, each)), options.cohort_gpus)
    footprint = Footprint("cpu", threads, 0)
    if not any(fits(node, footprint) for node in nodes):
        raise BadInput(
            f"a cohort uses {threads} threads, and no machine of the Ray cluster has as many CPUs: "
            "set OMP_NUM_THREADS to what they have, or `ray start --num-cpus` to what they can do"
        )
    return footprint


def fits(node: Mapping[str, float], footprint: Footprint) -> int:
    """How many cohorts a machine takes at the same time."""
    cpus = int(node.get("CPU", 0) // footprint.cpus)
    return min(cpus, int(node.get("GPU", 0) / footprint.gpus + 1e-6)) if footprint.gpus else cpus
