"""What torch is told of the device once, before anything is computed."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from functools import cache

import torch

INSTRUCTION_SETS = {"AVX2": "avx2", "AVX512": "avx512", "AVX512-BF16": "avx512_bf16", "AMX": "amx_tile"}  # as in torch
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # words of mallopt
GIBIBYTE = 1 << 30
BF16_INSTRUCTIONS = {"AVX512-BF16", "AMX"}
EMULATION = (
    "warning: this processor has no instructions for bfloat16, so that --precision bf16 is emulated and many times "
    "slower than float32; use --precision fp32, or auto, which picks it here"
)

STICKY = (  # cudaGetErrorString of the errors for which CUDA's manual says that the process must be ended; two wrappers
    "device-side assert triggered",
    "illegal memory access",
    "illegal instruction",
    "misaligned address",
    "invalid program counter",
    "operation not supported on global/shared address space",
    "hardware stack error",
    "launch failure",
    "launch timed out",
    "uncorrectable",  # ECC, NVLink
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "CUDNN_STATUS_EXECUTION_FAILED",
)


SMALL_MEMORY = 12 << 30  # bytes of a device on which a large cuBLAS workspace for each lane is too much


def set_cuda_environment() -> None:
    """Set the variables that CUDA reads when it starts; values that the user has set stay."""
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # hardware queues: with the usual 8, lanes share them


def total_memory(device: torch.device) -> int:
    """Bytes of memory of a CUDA device."""
    return torch.cuda.get_device_properties(device).total_memory


def configure_cuda(exact: bool, memory: int | None = None) -> None:
    """Have CUDA compute the same twice (`exact`), as far as torch can, or pick the fastest kernels by timing them.

    memory: bytes of the device.  On a small one cuBLAS gets workspaces of 128 KiB, not 32 MiB, for each stream.  Either
    size is fixed by a variable, which a user may set: without it, products may differ between streams.
    Products of float32 are computed in float32 in either case, because losses compare distances that TF32 would blur.
    """
    workspace = ":16:8" if memory is not None and memory < SMALL_MEMORY else ":4096:8"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", workspace)
    torch.use_deterministic_algorithms(exact, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that writes every new tensor once
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not exact
    torch.backends.cudnn.deterministic = exact


def synchronize(device: torch.device) -> None:
    """Until the device has done all that it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def supports_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16: AVX512-BF16 or AMX on x86, any GPU since Ampere."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return not BF16_INSTRUCTIONS.isdisjoint(instruction_sets())


def instruction_sets() -> list[str]:
    """The instruction sets that decide how fast training is, of those that torch and oneDNN may use on this processor.

    The variable ONEDNN_MAX_CPU_ISA limits oneDNN, as a processor without these instructions would.
    """
    found = [name for name, word in INSTRUCTION_SETS.items() if reports(word)]
    return found if has_bf16_kernels() else [name for name in found if name == "AVX2"]


def reports(instruction: str) -> bool:
    """Whether torch finds an instruction set, by torch's word for it, on this processor."""
    supported = getattr(torch.cpu, f"_is_{instruction}_supported", None)
    return bool(supported and supported())


def has_bf16_kernels() -> bool:
    """Whether oneDNN computes convolutions in bfloat16 here; elsewhere torch does, slowly, and packs no weights."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # what packing itself checks
    return torch.backends.mkldnn.is_available() and bool(supported and supported())


@cache
def warn_of_emulation() -> None:
    """Say once, on the terminal, that bfloat16 is emulated on this processor."""
    print(EMULATION, file=sys.stderr)


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory: to give each activation back and fault it in again costs a tenth of a step."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, which has habits of its own
        return
    mallopt(TRIM_THRESHOLD, GIBIBYTE)
    if not mallopt(MMAP_THRESHOLD, GIBIBYTE):  # glibc before 2.35 refuses more than this
        mallopt(MMAP_THRESHOLD, 32 << 20)


def is_sticky(fault: BaseException) -> bool:
    """Whether this process can no longer use its CUDA device after `fault`.

    After an illegal access, a failed device-side assert and their like, every further CUDA call of the process returns
    the same error.  Kernels run later than they are launched, so the call that reports it need not be its cause.
    Known errors are recognised by their text; otherwise the device is asked, so an error that was reported under
    another name is found too.  Running out of memory is not sticky, and neither is what CUDA cannot record.
    """
    if isinstance(fault, torch.OutOfMemoryError):
        return False
    named = isinstance(fault, RuntimeError) and any(text in str(fault) for text in STICKY)
    return named or device_is_lost()


def device_is_lost() -> bool:
    """Whether waiting for the device fails; False in a process that has not used one."""
    if not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def visible_devices(count: int) -> list[str]:
    """The `count` devices that torch sees, each as CUDA_VISIBLE_DEVICES names it: a number, or the user's UUID."""
    masked = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(number) for number in range(count)] if masked is None else parse_devices(masked)[:count]


def parse_devices(masked: str) -> list[str]:
    """The entries of a CUDA_VISIBLE_DEVICES up to the first that names no device, as CUDA reads it.

    Numbers count by their leading digits.  If the list begins with a UUID (GPU- or MIG-), the others are of that kind.
    An entry that is repeated leaves no device at all.
    """
    kind = next((prefix for prefix in ("GPU-", "MIG-") if masked.startswith(prefix)), "")
    pattern = re.compile(rf"{kind}.*" if kind else r"\s*[+]?0*(\d+)")
    found: list[str] = []
    for entry in masked.split(","):
        match = pattern.match(entry)
        if match is None:
            break
        name = match[0] if kind else match[1]
        if name in found:
            return []
        found.append(name)
    return found
