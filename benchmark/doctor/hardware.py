"""Checks of the machine without a GPU: processor, precision, threads, load, memory, compiled kernels."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sysconfig
import time
from pathlib import Path

import torch

from benchmark.acceleration.cpu_kernels import batch_norm
from benchmark.acceleration.device import BF16_INSTRUCTIONS, INSTRUCTION_SETS, instruction_sets, reports
from benchmark.acceleration.machine import Machine, machine
from benchmark.doctor.finding import Finding
from benchmark.sweep.load import NOTICEABLE, Counters, others, read_counters, read_memory
from benchmark.training import provenance

FLAGS = {"avx512": "avx512bw"}  # torch's word for an instruction set -> its flag in /proc/cpuinfo, if that is another
ONEDNN_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # variables that keep oneDNN from using an instruction set
LIMITS = ("ATEN_CPU_CAPABILITY", *ONEDNN_LIMITS)
SAMPLE_SECONDS = 0.5  # over which the load is measured, at least
LEAST_MEMORY = 2e9  # bytes that should be free
OPENMP = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


# ---- processor and precision
def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Finding:
    """The model and its instruction sets: those that the system lists, and those that torch and oneDNN use."""
    name, used = provenance.device_name(torch.device("cpu")).rpartition(", ")[0], instruction_sets()
    settings = ", ".join(f"{each}={os.environ[each]}" for each in LIMITS if each in os.environ)
    value = f"{name}; torch uses {', '.join(used) or 'none of ' + ', '.join(INSTRUCTION_SETS)}"
    value += f"; {settings}" if settings else ""
    unseen = [each for each in listed_sets(cpuinfo) if not reports(INSTRUCTION_SETS[each])]
    unused = [each for each, word in INSTRUCTION_SETS.items() if reports(word) and each not in used]
    if unseen:
        advice = f"{', '.join(unseen)} is in /proc/cpuinfo but not usable here; a newer kernel or hypervisor may help"
        return Finding("processor", value, False, advice)
    if unused and not any(each in os.environ for each in ONEDNN_LIMITS):
        advice = f"training works, more slowly: this torch's oneDNN does not use {', '.join(unused)}"
        return Finding("processor", value, False, advice)
    if "AVX2" not in used and platform.machine() == "x86_64":
        return Finding("processor", value, False, "training works, but is slow on a processor without AVX2")
    return Finding("processor", value)


def listed_sets(cpuinfo: Path) -> list[str]:
    """The instruction sets that the system lists; none if it has no such list."""
    try:
        flags = re.search(r"^flags\s*:(.*)", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        return []
    return [each for each, word in INSTRUCTION_SETS.items() if flags and FLAGS.get(word, word) in flags[1].split()]


def precision(device: str) -> Finding:
    """What precision `auto` picks, and why."""
    here = machine_of(device)
    if here.device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(here.device)
        reason = f"compute capability {major}.{minor}; bfloat16 from 8.0 on"
    elif here.precision == "bf16":
        found = [each for each in instruction_sets() if each in BF16_INSTRUCTIONS]
        reason = f"torch uses {' and '.join(found) or 'instructions for bfloat16'}"
    else:
        reason = "torch uses neither AVX512-BF16 nor AMX"
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
    used = max(0.0, others(before, after))
    value = f"other programs used {used:.1f} of {after.cores} processors for {wall:.1f} s"
    value += f"; load average {os.getloadavg()[0]:.1f}"
    if used > NOTICEABLE:
        advice = "training is slower, on the threads that they leave cores for, and its times do not compare; end them"
        return Finding("load", value, False, advice)
    return Finding("load", value)


# ---- memory
def memory(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> Finding:
    """Memory of the machine, and of the container if it has a limit."""
    found = read_memory(meminfo, group)
    if found is None:
        return Finding("memory", "not known: this system has no /proc/meminfo, or it does not say what is available")
    value = f"{found.available / 1e9:.1f} GB available of {found.total / 1e9:.1f} GB"
    if found.limit is not None:
        value += f"; the container may use {found.limit / 1e9:.1f} GB and uses {found.used / 1e9:.1f} GB"
    if found.free < LEAST_MEMORY:
        return Finding("memory", value, False, "end other programs, or train fewer students at once with --lanes")
    return Finding("memory", value)


# ---- kernels
def kernels(device: str) -> Finding:
    """The C compiler, and on a CPU whether the kernels that it makes can be used."""
    if machine_of(device).device.type == "cuda":
        return launcher()
    compiler = shutil.which(os.environ.get("CC", "cc"))
    value = f"C compiler {compiler or 'missing'}"
    started = time.time()
    library = batch_norm.kernels()
    if library is None:
        advice = "training works, more slowly; install a C compiler (gcc or clang), or name one in CC"
        return Finding("kernels", f"{value}; they could not be compiled", False, advice)
    path = Path(library._name)
    how = "compiled now" if path.stat().st_mtime >= started else "compiled earlier"
    return Finding("kernels", f"{value}; {how}, kept in {path.parent}")


def launcher() -> Finding:
    """Whether Triton finds what it compiles the launcher of its kernels with: a C compiler and Python's headers."""
    compiler = shutil.which(os.environ["CC"]) if "CC" in os.environ else shutil.which("gcc") or shutil.which("clang")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    found = [f"C compiler {compiler or 'missing'}", *([] if header.exists() else ["Python.h missing"])]
    value = f"{', '.join(found)}; Triton compiles the launcher of its kernels with it"
    advice = "training works, in bf16 more slowly; install "
    if compiler is None:
        return Finding("kernels", value, False, f"{advice}a C compiler (gcc or clang), or name one in CC")
    if not header.exists():
        return Finding("kernels", value, False, f"{advice}Python's headers (such as the package python3-dev)")
    return Finding("kernels", value)
