"""Checks of a GPU: whether torch sees one, its driver, devices and memory; then those of training on it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from benchmark.acceleration import driver
from benchmark.doctor.finding import Check, Finding
from benchmark.errors import BadInput

LEAST_MEMORY = 4e9  # bytes that should be free


def present(device: str) -> Finding:
    """Whether there is a GPU that torch sees."""
    try:
        found = driver.find_gpu(device)
    except BadInput as fault:
        return Finding("GPU", "there is one, but torch cannot use it", False, str(fault), prevents=True)
    if found:
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Finding("GPU", f"{len(names)} visible: {', '.join(names)}")
    if device == "cuda":
        advice = "use --device cpu, or check the driver and CUDA_VISIBLE_DEVICES"
        return Finding("GPU", "none that torch sees", False, advice, prevents=True)
    if device == "cpu":
        return Finding("GPU", "not looked for: --device cpu")
    return Finding(
        "GPU", "hidden by CUDA_VISIBLE_DEVICES" if driver.hidden() else "none; training runs on the processor"
    )


def sections(device: str) -> Iterator[tuple[str, Iterable[tuple[str, Check]]]]:
    """The sections of checks that need a GPU; none without one."""
    if device == "cpu" or driver.hidden() or not torch.cuda.is_available():
        return
    from benchmark.doctor.gpu_checks import training_checks, within_time
    from benchmark.doctor.workload import Workload

    yield "GPU", [("driver", versions), ("devices", devices), ("memory of the GPU", memory)]
    with tempfile.TemporaryDirectory(prefix="kd-doctor-") as root:
        yield "training on the GPU", within_time(training_checks(Workload(Path(root))))


# ---- what there is
def versions() -> Finding:
    """The driver, the CUDA that torch is built for, and the architectures that it has code for."""
    architectures = ", ".join(torch.cuda.get_arch_list())
    return Finding(
        "driver", f"{driver.driver_version()}; torch is built for CUDA {torch.version.cuda}, {architectures}"
    )


def devices() -> Finding:
    """Every visible device, and whether an operation on each comes through, in a process of its own."""
    found = []
    for number in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(number)
        found.append(f"{number}: {torch.cuda.get_device_name(number)}, compute capability {major}.{minor}")
    found += ["CUDA_VISIBLE_DEVICES is set"] * ("CUDA_VISIBLE_DEVICES" in os.environ)
    try:
        driver.check_gpu("auto", every=True)
    except BadInput as fault:
        return Finding("devices", "; ".join(found), False, str(fault), prevents=True)
    return Finding("devices", "; ".join(found))


def memory() -> Finding:
    """Free memory of every visible device."""
    found = [torch.cuda.mem_get_info(number) for number in range(torch.cuda.device_count())]
    value = ", ".join(f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free" for free, total in found)
    if min(free for free, _ in found) < LEAST_MEMORY:
        return Finding("memory of the GPU", value, False, "end other programs on it, or hide it: CUDA_VISIBLE_DEVICES")
    return Finding("memory of the GPU", value)
