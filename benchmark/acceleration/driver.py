"""Whether torch can compute on the GPU that this machine has; checked before anything is trained.

With a driver that is too old for torch's CUDA, torch sees no device, and a run would train on the CPU without a word.
`python -m benchmark.acceleration.driver [--device NAME] [--every]` prints `cuda` or `cpu`, whichever a run would use.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Sequence

import torch

from benchmark.acceleration.device import parse_devices
from benchmark.errors import BadInput

SMI_SECONDS, TRIAL_SECONDS = 30, 180  # waiting times; nvidia-smi and CUDA start slowly on machines with many GPUs
MIN_DRIVER = {11: 450, 12: 525, 13: 580}  # major version of CUDA -> of the oldest Linux driver that runs it
OLDER_TORCH = "torch 2.10.0 with torchvision 0.25.0"  # the last on PyPI that is built for CUDA 12, here 12.8
OLDER_DEVICES = ((7, 0), (12, 0))  # compute capabilities that it is built for
INSTALL_OLDER = f"{shlex.quote(sys.executable)} -m pip install -r requirements-cuda12.txt"
FOR_CUDA_12 = f"{OLDER_TORCH} (driver 525 or newer, compute capability 7.0 or higher): {INSTALL_OLDER}"
ON_CPU = "or use --device cpu to train on the CPU on purpose"


def check_gpu(device: str = "auto", every: bool = False) -> None:
    """Raise BadInput if this machine has a GPU that torch cannot compute on, unless the user wants the CPU.

    device: as on the command line.  every: check all visible GPUs, not only the first.
    The trial operation runs in a separate process: a process that has computed on a GPU keeps some of its memory and,
    where only one process may use the GPU, keeps all others from it.
    """
    if not find_gpu(device):
        return
    command = [sys.executable, "-m", "benchmark.acceleration.driver", *(["--every"] if every else [])]
    code, _, err = call(command, TRIAL_SECONDS)
    if code is None:
        raise BadInput(f"one operation on the GPU took more than {TRIAL_SECONDS} s: restart the driver, {ON_CPU}")
    if code:
        sentence = re.search(r"^error: (.*)", err, re.MULTILINE)
        died = f"one operation on the GPU ended its process with exit code {code}: check the driver, {ON_CPU}"
        raise BadInput(sentence[1] if sentence else died)


def find_gpu(device: str = "auto") -> bool:
    """Whether `device` means a GPU here, as far as this can be found out without computing on one.

    Raises BadInput if nvidia-smi lists a GPU and torch sees none, unless the user chose --device cpu or hid the GPUs
    with CUDA_VISIBLE_DEVICES.
    """
    if device == "cpu" or hidden():
        return False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return True
    listed = list_gpus()
    if listed:
        first = str(caught[0].message) if caught else ""
        raise BadInput(why_unseen(listed[0], driver_version(), first))
    return False


def why_unseen(name: str, driver: str, warning: str) -> str:
    """Why torch does not see the GPU `name`, and what to do; warning: what torch said when it looked, or ""."""
    start, version, cuda = f"this machine has a GPU ({name})", torch.__version__, torch.version.cuda
    if cuda is None:
        return f"{start}, but torch {version} is built without CUDA: install a build with CUDA, {ON_CPU}"
    start += f", but torch {version} does not see it: its driver is {driver}, and this torch is built for CUDA {cuda}"
    least, major = MIN_DRIVER.get(int(cuda.split(".")[0]), 0), re.match(r"\d+", driver)
    if major and int(major[0]) < least:
        return f"{start}, which needs driver {least} or newer: install such a driver, or {FOR_CUDA_12}; {ON_CPU}"
    masked = os.environ.get("CUDA_VISIBLE_DEVICES")
    facts = [f"CUDA_VISIBLE_DEVICES is {masked!r}"] if masked else []
    facts += [f"torch says: {re.split(r' Please| [(]Triggered', ' '.join(warning.split()))[0]}"] if warning else []
    return "; ".join([start, *facts]) + f": check the driver and CUDA_VISIBLE_DEVICES, {ON_CPU}"


# ---- what torch says of a device
def trial_fault(every: bool = False) -> str:
    """Why torch cannot compute on the first visible GPU, or on some of `every` one; "" if it can."""
    for number in range(torch.cuda.device_count() if every else 1):
        try:
            fault = compatibility_fault(number)
            if not fault:
                torch.ones(2, device=f"cuda:{number}").sum().item()
        except Exception as reason:  # noqa: BLE001  whatever it is, it would stop every run
            first_line = (str(reason).splitlines() or [type(reason).__name__])[0]
            fault = f"torch cannot compute on GPU {number}: {first_line}: hide it with CUDA_VISIBLE_DEVICES, {ON_CPU}"
        if fault:
            return fault
    return ""


def compatibility_fault(number: int) -> str:
    """Why torch has no code for the visible GPU of this number; "" if it has."""
    built_for = torch.cuda.get_arch_list() if torch.version.cuda else []
    capability = torch.cuda.get_device_capability(number)
    if not built_for or is_served(capability, built_for):
        return ""
    least, most = OLDER_DEVICES
    serves = least <= capability <= most and not torch.version.cuda.startswith("12.")
    remedy = f"install {OLDER_TORCH}: {INSTALL_OLDER}" if serves else "install a torch that is built for this GPU"
    return (
        f"GPU {number} ({torch.cuda.get_device_name(number)}) has compute capability {capability[0]}.{capability[1]}, "
        f"but torch {torch.__version__} is built for {', '.join(built_for)}: {remedy}; or hide it with "
        f"CUDA_VISIBLE_DEVICES, {ON_CPU}"
    )


def is_served(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Whether code for the architectures `built_for` (sm_80, sm_90a, compute_90, ...) runs on a device.

    Machine code (sm) runs on its own major version from its own minor version on; PTX (compute) on all later devices.
    Code for one architecture only (suffix a) runs on that one, code for a family (suffix f) like machine code.
    """
    for architecture in built_for:
        kind, number, suffix = re.fullmatch(r"(\w+)_(\d+)([af]?)", architecture).groups()
        major, minor = divmod(int(number), 10)
        if suffix == "a":
            served = (major, minor) == capability
        elif kind == "sm" or suffix:
            served = major == capability[0] and minor <= capability[1]
        else:
            served = (major, minor) <= capability
        if served:
            return True
    return False


# ---- what the user and the driver say
def hidden() -> bool:
    """Whether the user hides all GPUs: CUDA_VISIBLE_DEVICES is set, and its first entry names no device."""
    masked = os.environ.get("CUDA_VISIBLE_DEVICES")
    return masked is not None and not parse_devices(masked.split(",")[0])


def list_gpus() -> list[str]:
    """The names of the GPUs that the driver lists; empty without a driver.  Raises BadInput if it does not answer."""
    code, out, _ = call(["nvidia-smi", "-L"], SMI_SECONDS)
    if code is None:
        raise BadInput(f"nvidia-smi does not answer within {SMI_SECONDS} s: restart the driver, {ON_CPU}")
    return re.findall(r"^GPU \d+: (.*?)(?: \(UUID.*)?$", out, re.MULTILINE)


def driver_version() -> str:
    """The version of the NVIDIA driver, as in 535.104.05."""
    _, out, _ = call(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], SMI_SECONDS)
    return out.splitlines()[0].strip() if out.strip() else "of unknown version"


def call(command: Sequence[str], seconds: float) -> tuple[int | None, str, str]:
    """A program's exit code, output and errors.  The code is 127 if there is no such program, None after `seconds`."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError:
        return 127, "", ""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.stdout.close(), process.stderr.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)  # no longer: a process that hangs in a driver does not end
        return None, "", ""
    return process.returncode, out, err


def main(arguments: Sequence[str]) -> int:
    """Print `cuda` or `cpu`, whichever a run with these options uses.  Returns the exit code, 2 with a sentence."""
    option = re.search(r"--device[= ](\S+)", " ".join(arguments))
    try:
        found = find_gpu(option[1] if option else "auto")
        if found and (fault := trial_fault("--every" in arguments)):
            raise BadInput(fault)
    except BadInput as reason:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    print("cuda" if found else "cpu")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
