"""The load that other programs put on the processor, from Linux's counters, and what a sweep on a CPU does about it.

Threads of one process wait for each other at the end of every operation: if another program holds the core of one of
them, all wait.  Beside four busy processes on two cores, two threads train at 1 to 16 % of their speed, however they
wait; processes of one thread wait for nobody and keep their share.  The measurements, on two cores, are at the head of
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

SAMPLE_SECONDS = (0.5, 2.5)  # for which the processor is watched before a sweep; the second only if others use it
PROCESS_BYTES = 2.5e9  # of memory for each process: seven students and a teacher take 1.7 GB
THREADS = "OMP_NUM_THREADS"
PERIOD = 10.0  # seconds over which the load is averaged
NOTICEABLE = 0.3  # cores that other programs use beyond those that are left to them
REMEDY = "stop this and start it again: it then trains with as many threads as the others leave cores for"


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
    """The options for this moment: where other programs use the processor, with the threads that they leave room for.

    Also sets the number of threads of this process and its children.  Raises BadInput for a device that is not there.
    """
    if machine(options.device).device.type != "cpu" or options.executor == "ray" or not (room := room_beside_others()):
        return options
    torch.set_num_threads(room.threads)
    os.environ[THREADS] = str(room.threads)
    if not options.quiet:
        print(f"other programs use this processor: {room}; {THREADS} chooses the threads", file=sys.stderr)
    executor = options.executor if room.processes == 1 else "spawn"
    return replace(options, executor=executor, processes=room.processes)


@dataclass(frozen=True, slots=True)
class Room:
    """Processes to train in beside other programs, and threads of each."""

    processes: int
    threads: int

    def __str__(self) -> str:
        if self.threads > 1:
            return f"training with {self.threads} threads, for which they leave cores"
        count = f"{self.processes} processes" if self.processes > 1 else "a process"
        return f"training in {count} of one thread each, which is faster here than threads that wait for each other"


def room_beside_others(read: Callable[[], Counters | None] = read_counters) -> Room | None:
    """How to train beside the programs that use the processor now; None: as if alone, with torch's threads.

    None too where the user has set the number of threads.  A load is believed if it is still there seconds later.
    """
    threads = torch.get_num_threads()
    before = read() if threads > 1 and not os.environ.get(THREADS) else None
    if before is None:
        return None
    for seconds in SAMPLE_SECONDS:
        time.sleep(seconds)
        after = read()
        memory = read_memory()
        room = room_for(threads, after.cores, others(before, after), memory.free if memory else math.inf)
        if room is None:
            return None
        before = after
    return room


def room_for(threads: int, cores: int, load: float, memory: float) -> Room | None:
    """The room on `cores`, of which others use `load` on average; memory: bytes available.

    As many threads as find a core of their own; if that is one, a process of one thread for each of torch's threads:
    they keep their share of a full processor, which was measured on two cores, and not on more.
    """
    if load < NOTICEABLE + max(0, cores - threads):
        return None
    fitting = min(threads, int(cores - load))
    return Room(1, fitting) if fitting > 1 else Room(int(max(1, min(threads, memory / PROCESS_BYTES))), 1)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of memory, of the machine and of the container; limit and used are None where no container has a limit."""

    total: int
    available: int  # to programs that start now, on the machine
    limit: int | None = None
    used: int | None = None

    @property
    def free(self) -> int:
        """Bytes that programs can still take, here and in the container."""
        return self.available if self.limit is None else min(self.available, self.limit - self.used)


def read_memory(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> Memory | None:
    """The memory of machine and container; None where the system does not say."""
    try:
        sizes = {name: 1024 * int(size) for name, size in re.findall(r"(\w+):\s+(\d+) kB", meminfo.read_text())}
        of_machine = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, KeyError):
        return None
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no container, or its limit is "max"
        return Memory(*of_machine)
    return Memory(*of_machine, limit, used)


def cohorts_for(runs: list[Run], options: Options) -> list[list[Run]]:
    """The cohorts of runs that may train now: at least one for each process, if there are as many runs."""
    few = cohorts(runs, options.lanes)
    if len(few) >= options.processes:
        return few
    return cohorts(runs, min(options.lanes, math.ceil(len(runs) / options.processes)))
