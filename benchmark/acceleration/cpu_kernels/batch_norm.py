"""Batch normalisation, residual sum and ReLU of a student in one pass each way, on a CPU, in bfloat16 and float32.

torch passes over each feature map five times for these.  `batch_norm.c` is compiled once by the system's C compiler and
kept; where there is none, networks stay as they are.  Ioffe & Szegedy, arXiv:1502.03167, Algorithm 1.

N images · C, H, W of a feature map
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from benchmark.acceleration.cpu_kernels import compiler
from benchmark.models.net import Norm

SOURCE = Path(__file__).with_name("batch_norm.c")
SERVED = {torch.bfloat16: "bf16", torch.float32: "float"}  # types of maps, and how batch_norm.c calls them


@cache
def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be made."""
    library = compiler.load(SOURCE)
    return library and declare_argument_types(library)


def declare_argument_types(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the types of its functions, two for each type of maps, as batch_norm.c has them."""
    at, number, whole = ctypes.c_void_p, ctypes.c_float, ctypes.c_long
    for kind in SERVED.values():
        forward, backward = getattr(library, f"forward_{kind}"), getattr(library, f"backward_{kind}")
        forward.argtypes = [at] * 6 + [number] * 2 + [ctypes.c_int, whole, whole] + [at] * 3
        backward.argtypes = [at] * 6 + [ctypes.c_int, whole, whole] + [at] * 4
        forward.restype = backward.restype = None
    return library


class FusedNorm(Norm):
    """A Norm that takes the kernels when they serve: training, bfloat16 or float32, channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """As Norm's."""
        return FusedNormFunction.apply(x, None, self.weight, self.bias, self) if self._served(x) else super().forward(x)

    def join(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """As Norm's."""
        if self._served(x) and self._served(shortcut) and x.dtype == shortcut.dtype:
            return FusedNormFunction.apply(x, shortcut, self.weight, self.bias, self)
        return super().join(x, shortcut)

    def _served(self, x: Tensor) -> bool:
        plain = x.device.type == "cpu" and x.dtype in SERVED and self.weight.dtype == torch.float32
        return self.training and plain and x.is_contiguous(memory_format=torch.channels_last)


def kernel(x: Tensor, direction: str) -> Callable[..., None]:
    """The compiled function for maps like `x`; direction: forward or backward."""
    return getattr(kernels(), f"{direction}_{SERVED[x.dtype]}")


class FusedNormFunction(torch.autograd.Function):
    """relu?(normalised x + shortcut?), all (N, C, H, W); a joined sum always ends in the ReLU."""

    @staticmethod
    def forward(ctx, x: Tensor, shortcut: Tensor | None, weight: Tensor, bias: Tensor, norm: Norm) -> Tensor:
        width = x.shape[1]
        y, mean, inverse = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        ctx.act, ctx.joined = norm.act or shortcut is not None, shortcut is not None
        kernel(x, "forward")(
            x.data_ptr(), shortcut.data_ptr() if ctx.joined else None, weight.data_ptr(), bias.data_ptr(),
            norm.running_mean.data_ptr(), norm.running_var.data_ptr(), norm.momentum, norm.eps, ctx.act,
            x.numel() // width, width, y.data_ptr(), mean.data_ptr(), inverse.data_ptr(),
        )  # fmt: skip
        ctx.save_for_backward(x, y if ctx.act else x, weight, mean, inverse)  # without ReLU, `y` may change in place
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy: Tensor):
        x, y, weight, mean, inverse = ctx.saved_tensors
        dy, width = dy.contiguous(memory_format=torch.channels_last), x.shape[1]
        dx, dw, db = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        dshortcut = torch.empty_like(x) if ctx.joined else None
        kernel(x, "backward")(
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
