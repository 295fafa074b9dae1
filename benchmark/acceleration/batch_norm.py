"""Batch normalisation, residual sum and ReLU of a student in one pass each way, on a CPU in bfloat16.

torch walks each feature map five times for these; they are a quarter of a small network's step.  `norm.c` is compiled
once by the system's C compiler and kept; where there is none, networks stay as they are.  Ioffe & Szegedy,
arXiv:1502.03167, Algorithm 1.

N images · C, H, W of a feature map
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.models.net import Norm

SOURCE = Path(__file__).with_name("batch_norm.c")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC")


@cache
def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be made."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None or platform.system() != "Linux":
        return None
    machine = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("flags")), "")
    text = "\0".join((SOURCE.read_text(), machine, compiler, *FLAGS))
    kept = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kd-benchmark"
    place = kept / f"norm-{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    try:
        if not place.exists():
            compile_kernels(compiler, place)
        return declare_argument_types(ctypes.CDLL(str(place)))
    except (OSError, subprocess.CalledProcessError):
        return None


def declare_argument_types(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the types of its two functions, as norm.c has them."""
    at, number, whole = ctypes.c_void_p, ctypes.c_float, ctypes.c_long
    library.forward.argtypes = [at] * 6 + [number] * 2 + [ctypes.c_int, whole, whole] + [at] * 3
    library.backward.argtypes = [at] * 6 + [ctypes.c_int, whole, whole] + [at] * 4
    library.forward.restype = library.backward.restype = None
    return library


def compile_kernels(compiler: str, place: Path) -> None:
    """Compile, in one step as others see it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        built = Path(folder) / "norm.so"
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(built), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        built.replace(place)


class FusedNorm(Norm):
    """A Norm that takes the kernels when they serve: training, bfloat16, channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """As Norm's."""
        return FusedNormFunction.apply(x, None, self.weight, self.bias, self) if self._served(x) else super().forward(x)

    def join(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """As Norm's."""
        if self._served(x) and self._served(shortcut):
            return FusedNormFunction.apply(x, shortcut, self.weight, self.bias, self)
        return super().join(x, shortcut)

    def _served(self, x: Tensor) -> bool:
        plain = x.device.type == "cpu" and x.dtype == torch.bfloat16 and self.weight.dtype == torch.float32
        return self.training and plain and x.is_contiguous(memory_format=torch.channels_last)


class FusedNormFunction(torch.autograd.Function):
    """relu?(normalised x + shortcut?), all (N, C, H, W); a joined sum always ends in the ReLU."""

    @staticmethod
    def forward(ctx, x: Tensor, shortcut: Tensor | None, weight: Tensor, bias: Tensor, norm: Norm) -> Tensor:
        width = x.shape[1]
        y, mean, inverse = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        ctx.act, ctx.joined = norm.act or shortcut is not None, shortcut is not None
        kernels().forward(
            x.data_ptr(), shortcut.data_ptr() if ctx.joined else None, weight.data_ptr(), bias.data_ptr(),
            norm.running_mean.data_ptr(), norm.running_var.data_ptr(), norm.momentum, norm.eps, ctx.act,
            x.numel() // width, width, y.data_ptr(), mean.data_ptr(), inverse.data_ptr(),
        )  # fmt: skip
        norm.num_batches_tracked.add_(1)
        ctx.save_for_backward(x, y, weight, mean, inverse)
        return y

    @staticmethod
    def backward(ctx, dy: Tensor):
        x, y, weight, mean, inverse = ctx.saved_tensors
        dy, width = dy.contiguous(memory_format=torch.channels_last), x.shape[1]
        dx, dw, db = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        dshortcut = torch.empty_like(x) if ctx.joined else None
        kernels().backward(
            dy.data_ptr(), y.data_ptr(), x.data_ptr(), weight.data_ptr(), mean.data_ptr(), inverse.data_ptr(), ctx.act,
            x.numel() // width, width, dx.data_ptr(), dshortcut.data_ptr() if ctx.joined else None, dw.data_ptr(),
            db.data_ptr(),
        )  # fmt: skip
        return dx, dshortcut, dw, db, None


def use_fused_norm(net: nn.Module) -> nn.Module:
    """The same network, in place, its Norms on the kernels where those can be made."""
    if kernels() is not None:
        for module in net.modules():
            if type(module) is Norm:
                module.__class__ = FusedNorm  # same parameters, buffers and names; another way to compute
    return net
