"""Provenance of a result: code, versions, device and data.  It is kept in the record and is no part of the run's id."""

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
    """The commit of the code, and whether tracked files differ from it; both None outside a git checkout."""
    try:
        head = git("rev-parse", "HEAD")
        return {"commit": head, "dirty": bool(git("status", "--porcelain", "-uno", "--", "benchmark", "methods"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def git(*arguments: str) -> str:
    """Output of a git command run in this project's folder.  Raises CalledProcessError or OSError."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@cache
def versions() -> dict[str, Any]:
    """Versions of Python, torch, torchvision and, where it is used, CUDA."""
    import torchvision

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
    }


@cache
def device_name(device: torch.device) -> str:
    """Name of the processor; for a CPU with the number of threads that torch uses."""
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
    """SHA-256 of a data set's contents, computed once for each data set."""
    return data.sha256()
