"""The load that other programs put on the processor, from Linux's counters.

The threads of an operation wait for each other.  If another program holds the core of one of them, all wait.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

PERIOD = 10.0  # seconds over which the load is averaged
NOTICEABLE = 0.3  # cores that other programs use beyond those that are left to them
REMEDY = "set OMP_NUM_THREADS=1 and OMP_WAIT_POLICY=passive"


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
        others = (now.busy - self.last.busy - (now.own - self.last.own)) / wall
        self.last = now
        if others < NOTICEABLE + max(0, now.cores - threads):
            return ""
        self.has_warned = True
        return f"other programs use {others:.1f} of {now.cores} cores, which slows down {threads} threads; {REMEDY}"


@cache
def load_watch() -> LoadWatch:
    """The watch of this process."""
    return LoadWatch()


def load_warning(device: torch.device) -> str:
    """The warning of this process's watch about a training on `device`; "" on a GPU."""
    return load_watch().warning(torch.get_num_threads()) if device.type == "cpu" else ""
