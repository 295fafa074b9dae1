"""What torch is told of the device once, before anything is computed."""

from __future__ import annotations

import ctypes
import os

import torch


def configure_cuda(exact: bool) -> None:
    """CUDA's choice of kernels: the same answer twice where there is a way to it, or the fastest found by trying.

    What is float32 is multiplied in float32 either way: losses compare distances that TF32 would blur.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, products may differ between streams
    torch.use_deterministic_algorithms(exact, warn_only=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not exact
    torch.backends.cudnn.deterministic = exact


def synchronize(device: torch.device) -> None:
    """Until the device has done all that it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def supports_bf16(device: torch.device) -> bool:
    """Whether the processor has instructions for bfloat16: AVX512-BF16 or AMX on x86, any GPU since Ampere."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    offers = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(offer() for offer in offers if offer)


def keep_freed_memory() -> None:
    """Ask glibc to keep freed memory: to give each activation back and fault it in again costs a tenth of a step."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, which has habits of its own
        return
    for word in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        mallopt(word, 1 << 30)
