"""Checks of the machine without a GPU: processor, precision, threads, load, memory, compiled kernels."""

from __future__ import annotations

import os
import platform
import re
import shutil
import time
from pathlib import Path

import torch

from benchmark.acceleration.cpu_kernels import batch_norm
from benchmark.acceleration.machine import Machine, machine
from benchmark.doctor.finding import Finding
from benchmark.sweep.load import NOTICEABLE, Counters, read_counters
from benchmark.training import provenance

INSTRUCTIONS = {  # name -> its flag in /proc/cpuinfo, torch's word for it
    "AVX2": ("avx2", "avx2"),
    "AVX512-BF16": ("avx512_bf16", "avx512_bf16"),
    "AMX": ("amx_tile", "amx_tile"),
}
SAMPLE_SECONDS = 0.5  # over which the load is measured, at least
LEAST_MEMORY = 2e9  # bytes that should be free
OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


# ---- processor and precision
def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Finding:
    """The model and its instruction sets: those that the system lists, and those that torch can use."""
    name = provenance.device_name(torch.device("cpu")).rpartition(", ")[0]
    seen = [word for word, (_, supported) in INSTRUCTIONS.items() if torch_has(supported)]
    value = f"{name}; torch sees {', '.join(seen) or 'none of ' + ', '.join(INSTRUCTIONS)}"
    listed = instruction_sets(cpuinfo)
    unseen = [word for word in listed or [] if word not in seen]
    if unseen:
        advice = f"{', '.join(unseen)} is in /proc/cpuinfo but not usable here; a newer kernel or hypervisor may help"
        return Finding("processor", value, False, advice)
    if "AVX2" not in seen and platform.machine() == "x86_64":
        return Finding("processor", value, False, "training works, but is slow on a processor without AVX2")
    return Finding("processor", value)


def instruction_sets(cpuinfo: Path) -> list[str] | None:
    """The instruction sets that the system lists; None if it has no such list."""
    try:
        flags = re.search(r"^flags\s*:(.*)", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        return None
    return [word for word, (flag, _) in INSTRUCTIONS.items() if flags and flag in flags[1].split()]


def torch_has(instruction: str) -> bool:
    """Whether torch can use an instruction set here."""
    supported = getattr(torch.cpu, f"_is_{instruction}_supported", None)
    return bool(supported and supported())


def precision(device: str) -> Finding:
    """What precision `auto` picks, and why."""
    here = machine_of(device)
    if here.device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(here.device)
        reason = f"compute capability {major}.{minor}; bfloat16 from 8.0 on"
    elif here.precision == "bf16":
        found = [word for word in ("AVX512-BF16", "AMX") if torch_has(INSTRUCTIONS[word][1])]
        reason = f"the processor has {' and '.join(found) or 'instructions for bfloat16'}"
    else:
        reason = "the processor has neither AVX512-BF16 nor AMX"
    return Finding("precision", f"auto picks {here.precision} on {here.device.type}: {reason}")


def machine_of(device: str) -> Machine:
    """The machine that training would use; the CPU where torch sees no GPU."""
    return machine(device if torch.cuda.is_available() else "cpu")


# ---- threads and load
def threads() -> Finding:
    """Threads that torch uses, beside the processors that this process may use."""
    used, usable = torch.get_num_threads(), usable_processors()
    settings = [f"{name}={os.environ[name]}" for name in OPENMP if name in os.environ]
    value = ", ".join([f"torch uses {used} on {usable:g} usable processors", *settings])
    if used > usable:
        return Finding(
            "threads", value, False, f"set OMP_NUM_THREADS={max(1, int(usable))}: threads wait for each other"
        )
    return Finding("threads", value)


def usable_processors(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> float:
    """Processors that this process may use, by affinity and by a container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        limit, period = quota.read_text().split()
        return min(count, int(limit) / int(period))
    except (OSError, ValueError):  # no such file, or the limit is "max"
        return count


def load(before: Counters | None) -> Finding:
    """Whether other programs use the processors; before: the counters when the measurement began."""
    if before is None:
        return Finding("load", "not known: this system has no /proc/stat")
    time.sleep(max(0.0, SAMPLE_SECONDS - (time.monotonic() - before.wall)))
    after = read_counters()
    wall = after.wall - before.wall
    others = max(0.0, (after.busy - before.busy - (after.own - before.own)) / wall)
    value = f"other programs used {others:.1f} of {after.cores} processors for {wall:.1f} s"
    value += f"; load average {os.getloadavg()[0]:.1f}"
    if others > NOTICEABLE:
        advice = "training is slower, in processes of one thread each, and its times do not compare; end them"
        return Finding("load", value, False, advice)
    return Finding("load", value)


# ---- memory
def memory(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> Finding:
    """Memory of the machine, and of the container if it has a limit."""
    try:
        found = {name: 1024 * int(size) for name, size in re.findall(r"(\w+):\s+(\d+) kB", meminfo.read_text())}
    except OSError:
        return Finding("memory", "not known: this system has no /proc/meminfo")
    total, free = found["MemTotal"], found["MemAvailable"]
    value = f"{free / 1e9:.1f} GB available of {total / 1e9:.1f} GB"
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, limit - used)
        value += f"; the container may use {limit / 1e9:.1f} GB and uses {used / 1e9:.1f} GB"
    except (OSError, ValueError):  # no container, or the limit is "max"
        pass
    if free < LEAST_MEMORY:
        return Finding("memory", value, False, "end other programs, or train fewer students at once with --lanes")
    return Finding("memory", value)


# ---- kernels
def kernels(device: str) -> Finding:
    """The C compiler, and whether the kernels that it makes can be used where they would be."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    value = f"C compiler {compiler or 'missing'}"
    here = machine_of(device)
    if here.device.type != "cpu":
        return Finding("kernels", f"{value}; not needed on {here.device.type}")
    started = time.time()
    library = batch_norm.kernels()
    if library is None:
        advice = "training works, more slowly; install a C compiler (gcc or clang), or name one in CC"
        return Finding("kernels", f"{value}; they could not be compiled", False, advice)
    path = Path(library._name)
    how = "compiled now" if path.stat().st_mtime >= started else "compiled earlier"
    return Finding("kernels", f"{value}; {how}, kept in {path.parent}")
