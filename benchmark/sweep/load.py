"""The load that other programs put on the processor, from Linux's counters, and what a sweep on a CPU does about it.

Threads of one process wait for each other at the end of every operation: if another program holds the core of one of
them, all wait.  Beside four busy processes on two cores, two threads train at 1 to 16 % of their speed, however they
wait; processes of one thread wait for nobody and keep their share.  The measurements are at the head of
benchmark/profiling/contention.py.
"""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from benchmark.acceleration.machine import machine
from benchmark.experiment.run import Run
from benchmark.sweep.options import Options
from benchmark.sweep.plan import cohorts

SAMPLE_SECONDS = 0.5  # for which the processor is watched before a sweep
THREADS = "OMP_NUM_THREADS"
PERIOD = 10.0  # seconds over which the load is averaged
NOTICEABLE = 0.3  # cores that other programs use beyond those that are left to them
REMEDY = "stop this and start it again: beside other programs it then trains in processes of one thread each"


@dataclass(frozen=True, slots=True)
class Counters:
    """Readings of the processor's clocks, in seconds; busy and own are summed over cores."""

    wall: float
    busy: float  # time that the cores did anything, for any program
    own: float  # time that they worked for this process
    cores: int  # that this process may use


def read_counters(stat: Path = Path("/proc/stat")) -> Counters | None:
    """The counters of the cores that this process may use; None where the system does not have them."""
    try:
        cores = os.sched_getaffinity(0)
        lines = stat.read_text().splitlines()
    except (OSError, AttributeError):
        return None
    busy = 0
    for line in lines:
        match = re.match(r"cpu(\d+) (.*)", line)
        if match and int(match[1]) in cores:
            ticks = [int(number) for number in match[2].split()[:8]]  # the last two are counted in the first two
            busy += sum(ticks) - sum(ticks[3:5])  # idle, waiting for a disk
    return Counters(time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), time.process_time(), len(cores))


def others(before: Counters, after: Counters) -> float:
    """Cores that other programs used on average between two readings."""
    return (after.busy - before.busy - (after.own - before.own)) / (after.wall - before.wall)


class LoadWatch:
    """Watches the processor from its creation on, and speaks once."""

    def __init__(self, read: Callable[[], Counters | None] = read_counters):
        self.read, self.last, self.has_warned = read, read(), False

    def warning(self, threads: int) -> str:
        """A sentence, the first time that other programs slow down this process's `threads`; otherwise "".

        One thread waits for no other, so it is never warned of.
        """
        if self.has_warned or self.last is None or threads == 1:
            return ""
        now = self.read()
        wall = now.wall - self.last.wall
        if wall < PERIOD:
            return ""
        load, self.last = others(self.last, now), now
        if load < NOTICEABLE + max(0, now.cores - threads):
            return ""
        self.has_warned = True
        return f"other programs use {load:.1f} of {now.cores} cores, which slows down {threads} threads; {REMEDY}"


@cache
def load_watch() -> LoadWatch:
    """The watch of this process."""
    return LoadWatch()


def load_warning(device: torch.device) -> str:
    """The warning of this process's watch about a training on `device`; "" on a GPU."""
    return load_watch().warning(torch.get_num_threads()) if device.type == "cpu" else ""


# ---- before a sweep
def make_room(options: Options) -> Options:
    """The options for this moment: where other programs use the processor, with processes of one thread each.

    Also sets the number of threads of this process and its children.  Raises BadInput for a device that is not there.
    """
    count = processes_of_one_thread(machine(options.device).device.type)
    if not count or options.executor == "ray":
        return options
    torch.set_num_threads(1)
    os.environ[THREADS] = "1"
    if not options.quiet:
        print(
            f"other programs use this processor: training in {count} processes of one thread each, which is faster "
            f"there than {count} threads; {THREADS}={count} chooses the threads",
            file=sys.stderr,
        )
    return replace(options, executor="spawn", processes=count)


def processes_of_one_thread(device: str, read: Callable[[], Counters | None] = read_counters) -> int:
    """In how many processes of one thread each a sweep trains; 0: in one process, with torch's threads.

    0 on a GPU, where the user has set the number of threads, and where nothing else uses the processor.
    """
    threads = torch.get_num_threads()
    before = read() if device == "cpu" and threads > 1 and not os.environ.get(THREADS) else None
    if before is None:
        return 0
    time.sleep(SAMPLE_SECONDS)
    after = read()
    return threads if others(before, after) >= NOTICEABLE + max(0, after.cores - threads) else 0


def cohorts_for(runs: list[Run], options: Options) -> list[list[Run]]:
    """The cohorts of runs that may train now: at least one for each process, if there are as many runs."""
    few = cohorts(runs, options.lanes)
    if len(few) >= options.processes:
        return few
    return cohorts(runs, min(options.lanes, math.ceil(len(runs) / options.processes)))
