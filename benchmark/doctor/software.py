"""Checks of the software: Python, the pinned packages, torch, the code's version."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from benchmark.doctor.finding import Finding

ROOT = Path(__file__).parents[2]
OLDEST = (3, 11)
INSTALL = "python -m pip install -r requirements.txt"
CUDA_12 = ROOT / "requirements-cuda12.txt"  # the same with a torch that runs with older drivers
PAIR = ("torch", "torchvision")  # in which the two differ


def python() -> Finding:
    """The interpreter and the operating system."""
    value = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.version_info >= OLDEST:
        return Finding("Python", value)
    return Finding("Python", value, False, "install Python {}.{} or newer".format(*OLDEST), prevents=True)


def packages(requirements: Path = ROOT / "requirements.txt", cuda_12: Path = CUDA_12) -> Finding:
    """The installed versions of all pinned packages; torch may be the one for CUDA 12."""
    if not requirements.is_file():
        return Finding("packages", f"{requirements} does not exist", False, "run the code from its own checkout")
    pinned, older = read_pins(requirements), read_pins(cuda_12)
    found = {name: installed_version(name) for name in pinned}
    value = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
    missing = [name for name, version in found.items() if version is None]
    if missing:
        return Finding("packages", value, False, f"not installed: {', '.join(missing)}; {INSTALL}", prevents=True)
    for_older_drivers = all(release(found.get(name, "")) == older.get(name) for name in PAIR)
    expected = pinned | ({name: older[name] for name in PAIR} if for_older_drivers else {})
    other = [f"{name} {expected[name]}" for name, version in found.items() if release(version) != expected[name]]
    if other:
        install = INSTALL.replace(requirements.name, cuda_12.name) if for_older_drivers else INSTALL
        return Finding("packages", value, False, f"tested with {', '.join(other)}; {install}")
    if for_older_drivers:
        made_with = " and ".join(f"{name} {pinned[name]}" for name in PAIR)
        return Finding("packages", value, advice=f"as {cuda_12.name} pins; the results were made with {made_with}")
    return Finding("packages", value)


def read_pins(requirements: Path) -> dict[str, str]:
    """The packages of a file of requirements, each with its version."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", requirements.read_text(), re.MULTILINE))


def installed_version(package: str) -> str | None:
    """The version of an installed package; None if it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def release(version: str) -> str:
    """A version without its build: 2.14.1 of 2.14.1+cu130."""
    return version.partition("+")[0]


def torch_library() -> Finding:
    """Whether torch can be loaded, and what it is built for."""
    try:
        import torch
    except (ImportError, OSError, RuntimeError) as fault:
        reason = f"it cannot be loaded: {str(fault).partition(chr(10))[0]}"
        return Finding("torch", reason, False, f"install it again: {INSTALL}", prevents=True)
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return Finding("torch", f"{torch.__version__}, {built}")


def code() -> Finding:
    """The commit of the code, and whether files of it have changed since."""
    from benchmark.training import provenance

    found = provenance.commit()
    if found["commit"] is None:
        return Finding("code", "no git checkout", advice="records will not name the commit that made them")
    changed = "changed since in benchmark/ or methods/" if found["dirty"] else "unchanged in benchmark/ and methods/"
    return Finding("code", f"commit {found['commit'][:10]}, {changed}")
