"""Training speed on a busy machine: ways to use the cores, beside competing processes that the measurement starts.

OpenMP's threads wait for each other at the end of every parallel region.  A thread that spins while it waits holds a
core that the other thread needs as soon as the machine runs anything else; a thread that sleeps has to be woken again.

measure(data, ...)                     the table, as `speed --suite contention` keeps and prints it
python -m benchmark.profiling.contention TEACHER STUDENT SECONDS DATA     one timing: prints images per second

Measured on 2 cores of an AMD EPYC (results/contention/), kd, batch 64, bf16, images per second beside 0, 2 and 4 busy
processes; timings beside others differ by a factor of two from one to the next:

                                              resnet20 -> resnet8         resnet56 -> resnet20
    two threads, OpenMP's own waiting      1,460     369     191         625     114      10      kept where it is quiet
    the same, asleep after 3,000 spins     1,597      56      37         578      47     126      dropped
    the same, asleep at once (passive)     1,316      57      38         511      62     104      dropped: slower quiet
    one thread                               924     633     320         341     213     128
    two processes of one thread each       1,911     920     551         681     308     207      kept where it is busy

Two processes keep their share of the processor: a third of it beside four others.  Quiet, they are faster than two
threads too, but only where there are two cohorts to train: a teacher alone would have one core.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmark.acceleration import machine
from benchmark.profiling import speed
from benchmark.training import provenance

COMPETITORS = (0, 2, 4)  # busy processes beside the training
WORKLOADS = (("resnet20", "resnet8"), ("resnet56", "resnet20"))  # teacher and student; kd, batch 64
TIME_LIMIT = 300  # seconds after which a timing is given up
WARMUP_STEPS = 4
VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")  # of GNU OpenMP


@dataclass(frozen=True, slots=True)
class Setting:
    """A way to use the cores: environment variables of a training process, and how many processes train at once."""

    name: str
    environment: Mapping[str, str]
    processes: int = 1


def settings(cores: int) -> tuple[Setting, ...]:
    """The settings that are compared on a machine with so many cores."""
    every = {"OMP_NUM_THREADS": str(cores)}
    return (
        Setting("threads, OpenMP's own waiting", every),
        Setting("threads that sleep after 3,000 spins", every | {"GOMP_SPINCOUNT": "3000"}),
        Setting("threads that sleep at once (passive)", every | {"OMP_WAIT_POLICY": "passive"}),
        Setting("one thread", {"OMP_NUM_THREADS": "1"}),
        Setting("a process of one thread on each core", {"OMP_NUM_THREADS": "1"}, cores),
    )


def measure(data: Path, seconds: float = 6.0, repeats: int = 2) -> dict[str, Any]:
    """Images per second of every setting and workload, quiet and beside busy processes; best of `repeats` in turn.

    seconds: how long each timing trains.  With several processes: the sum of their images per second.
    """
    cores = len(os.sched_getaffinity(0))
    rows = []
    for teacher, student in WORKLOADS:
        for count in COMPETITORS:
            rates: dict[str, list[float]] = {}
            with busy_processes(count):
                for _ in range(repeats):
                    for setting in settings(cores):
                        rates.setdefault(setting.name, []).append(rate(setting, teacher, student, seconds, data))
            best = {name: max(found) for name, found in rates.items()}
            rows.append({"teacher": teacher, "student": student, "busy_processes": count, "images_per_s": best})
    here = machine.machine("cpu")
    found = {"schema": 1, "machine": provenance.device_name(here.device), "seconds": seconds, "repeats": repeats}
    return found | {"rows": rows, "made": provenance.environment(here) | {"ended": provenance.now()}}


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Processes that keep a core busy each, until the end of the block."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def rate(setting: Setting, teacher: str, student: str, seconds: float, data: Path) -> float:
    """Images per second of a setting: each of its processes trains for some seconds.  0 where it took too long."""
    command = [sys.executable, "-m", "benchmark.profiling.contention", teacher, student, str(seconds), str(data)]
    inherited = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    started = [
        subprocess.Popen(command, env=inherited | dict(setting.environment), stdout=subprocess.PIPE, text=True)
        for _ in range(setting.processes)
    ]
    total, end = 0.0, time.monotonic() + TIME_LIMIT
    for process in started:
        try:
            total += float(process.communicate(timeout=max(1.0, end - time.monotonic()))[0])
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return total


def images_per_second(teacher: str, student: str, seconds: float, data: Path) -> float:
    """Images per second of `kd` alone, trained here for some seconds, with the threads that this process has."""
    images, _ = speed.load_images(data)
    runs = speed.make_runs(teacher, student, ("kd",))
    with tempfile.TemporaryDirectory(prefix="kd-contention-") as root:
        training = speed.training_steps(runs, images, machine.machine("cpu"), Path(root))
        for _ in range(WARMUP_STEPS):
            next(training)
        started, steps = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            next(training)
            steps += 1
        return runs[0].recipe.batch * steps / (time.perf_counter() - started)


def show(found: dict[str, Any]) -> str:
    """The table for people: a line per setting, a column per workload and number of busy processes."""
    names = list(found["rows"][0]["images_per_s"])
    heads = [f"{row['teacher']}-{row['student']}, {row['busy_processes']} busy" for row in found["rows"]]
    lines = [[name, *(f"{row['images_per_s'][name]:,.0f}" for row in found["rows"])] for name in names]
    by = f"images/s, {found['machine']}, torch {found['made']['torch']}, {found['made']['precision']}"
    return f"{tabulate(lines, ['setting', *heads], disable_numparse=True)}\n{by}"


if __name__ == "__main__":
    print(images_per_second(sys.argv[1], sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])))
