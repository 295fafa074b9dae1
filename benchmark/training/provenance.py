"""By what a result was made: code, versions, device, data.  Facts for the record, never for the run's identity."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmark.acceleration.machine import Machine
from benchmark.data.datasets import Dataset

ROOT = Path(__file__).parents[2]


def now() -> str:
    """The time in UTC to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def environment(machine: Machine) -> dict[str, Any]:
    """Commit, versions and device of this process."""
    return {**commit(), **versions(), "device": device_name(machine.device), **machine.facts()}


@cache
def commit() -> dict[str, Any]:
    """The commit of the code, and whether a tracked file differs from it; None outside a git checkout."""
    try:
        head = git("rev-parse", "HEAD")
        return {"commit": head, "dirty": bool(git("status", "--porcelain", "-uno", "--", "benchmark", "methods"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def git(*arguments: str) -> str:
    """What git answers about our own checkout."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@cache
def versions() -> dict[str, Any]:
    """Versions of the interpreter and of what computes."""
    import torchvision

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    }


@cache
def device_name(device: torch.device) -> str:
    """The processor's name and, for a CPU, the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{name}, {torch.get_num_threads()} threads"


@cache
def dataset_hash(data: Dataset) -> str:
    """The content hash of a data set, computed once."""
    return data.sha256()
