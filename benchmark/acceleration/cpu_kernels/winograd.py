"""3 x 3 convolutions in float32 on a CPU by Winograd's minimal filtering: 4 products where the definition has 9.

Serves students, forward and backward, and frozen teachers, with bias, residual sum and ReLU in the same pass.  Answers
are as exact as those of the definition in float32.  Outputs and the gradient of the input do not depend on the number
of threads or on the other images of a batch; that of the weight is summed by threads, in order.  The C code is compiled
once; where it cannot be, networks stay as they are.  Lavin & Gray, CVPR 2016, arXiv:1509.09308, section 4.1.

N images · C channels in · K channels out · H, W of a feature map
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from benchmark.acceleration.cpu_kernels import compiler
from benchmark.acceleration.device import instruction_sets
from benchmark.models.net import ConvNorm

SOURCES = [Path(__file__).with_name(name) for name in ("winograd.c", "winograd_gradient.c")]
LAST = torch.channels_last
FORM = ((3, 3), (1, 1), (1, 1), (1, 1), 1, "zeros")  # kernel, stride, padding, dilation, groups, padding mode
CHANNELS = 16  # what channels must be a multiple of, in and out
FLOAT = 4  # bytes
MAX_SUMS = 1 << 16  # pairs of channels up to which each thread keeps sums of its own, of 64 bytes a pair


@dataclass(frozen=True, slots=True)
class Kernels:
    """The compiled functions."""

    convolve: Callable[..., None]
    transform_weight: Callable[..., None]
    weight_gradient: Callable[..., None]


@cache
def kernels() -> Kernels | None:
    """The compiled kernels; None where they cannot be made, or where the processor has no vectors for them."""
    libraries = [compiler.load(source) for source in SOURCES] if "AVX2" in instruction_sets() else [None]
    if None in libraries:
        return None
    output, gradient = libraries
    at, whole = ctypes.c_void_p, ctypes.c_long
    output.convolve.argtypes = [at] * 4 + [ctypes.c_int] + [whole] * 5 + [at]
    output.transform_weight.argtypes = [at] + [whole] * 6 + [at]
    gradient.weight_gradient.argtypes = [at] * 2 + [whole] * 5 + [at] + [whole] * 4
    output.convolve.restype = output.transform_weight.restype = gradient.weight_gradient.restype = None
    return Kernels(output.convolve, output.transform_weight, gradient.weight_gradient)


def serves(conv: nn.Conv2d) -> bool:
    """Whether the kernels compute a convolution of this form."""
    form = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, conv.padding_mode)
    channels = conv.in_channels % CHANNELS == conv.out_channels % CHANNELS == 0
    return form == FORM and channels and conv.weight.dtype == torch.float32 and kernels() is not None


def transform_weight(weight: Tensor, transposed: bool = False) -> Tensor:
    """(K, C, 3, 3), of any strides -> (16, C, K); transposed: that of the gradient of the input, (16, K, C)."""
    by_k, by_c, by_row, by_column = weight.stride()
    outward, inward, start = *weight.shape[:2], weight.data_ptr()
    if transposed:  # rows and columns from their ends, and channels in each other's place
        start += FLOAT * 2 * (by_row + by_column)
        by_k, by_c, by_row, by_column = by_c, by_k, -by_row, -by_column
        outward, inward = inward, outward
    u = weight.new_empty(16, inward, outward)
    kernels().transform_weight(start, by_k, by_c, by_row, by_column, inward, outward, u.data_ptr())
    return u


def convolve(
    x: Tensor, u: Tensor, bias: Tensor | None = None, shortcut: Tensor | None = None, act: bool = False
) -> Tensor:
    """relu?(x convolved + bias? + shortcut?): (N, C, H, W) float32, u (16, C, K) -> (N, K, H, W), channels last."""
    count, inward, height, width = x.shape
    x = x.contiguous(memory_format=LAST)
    shortcut = None if shortcut is None else shortcut.contiguous(memory_format=LAST)
    y = torch.empty((count, u.shape[2], height, width), memory_format=LAST)  # (N, K, H, W)
    others = [None if tensor is None else tensor.data_ptr() for tensor in (bias, shortcut)]
    size = (count, height, width, inward, u.shape[2])
    kernels().convolve(x.data_ptr(), u.data_ptr(), *others, act, *size, y.data_ptr())
    return y


def weight_gradient(x: Tensor, dy: Tensor, weight: Tensor) -> Tensor:
    """The gradient of the weight (K, C, 3, 3), from the input (N, C, H, W) and the output's gradient (N, K, H, W)."""
    if weight.shape[0] * weight.shape[1] > MAX_SUMS:
        form = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)
        return torch.ops.aten.convolution_backward(dy, x, weight, None, *form, [False, True, False])[1]
    x, dy = (tensor.contiguous(memory_format=LAST) for tensor in (x, dy))
    count, inward, height, width = x.shape
    size, dweight = (count, height, width, inward, len(weight)), torch.empty_like(weight)
    kernels().weight_gradient(x.data_ptr(), dy.data_ptr(), *size, dweight.data_ptr(), *dweight.stride())
    return dweight


class WinogradFunction(torch.autograd.Function):
    """x (N, C, H, W) convolved with the weight (K, C, 3, 3), plus the bias (K,) if there is one."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return convolve(x, transform_weight(weight), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, dy: Tensor):
        x, weight = ctx.saved_tensors
        dx = convolve(dy, transform_weight(weight, transposed=True)) if ctx.needs_input_grad[0] else None
        dw = weight_gradient(x, dy, weight) if ctx.needs_input_grad[1] else None
        return dx, dw, dy.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


class WinogradConv(nn.Conv2d):
    """A convolution of a student that takes the kernels when they serve: float32 on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """As Conv2d's."""
        served = x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32
        return WinogradFunction.apply(x, self.weight, self.bias) if served else super().forward(x)


class FrozenWinogradConv(nn.Module):
    """A folded ConvNorm of a teacher, its weight transformed once."""

    fused = True  # for `FrozenNet.fused` to count

    def __init__(self, folded: ConvNorm):
        super().__init__()
        self.conv, self.act = folded.conv, isinstance(folded.norm, nn.ReLU)
        self.register_buffer("u", transform_weight(folded.conv.weight.detach()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """As ConvNorm's: (N, C, H, W) -> (N, K, H, W)."""
        return convolve(x, self.u, self.conv.bias, act=self.act)

    def join(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """As ConvNorm's: ReLU of the sum of both."""
        return convolve(x, self.u, self.conv.bias, shortcut, act=True)

    def add(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """As ConvNorm's: the sum of both."""
        return convolve(x, self.u, self.conv.bias, shortcut)


def use_winograd(net: nn.Module) -> nn.Module:
    """The same network, in place, its convolutions on the kernels where those serve."""
    for module in net.modules():
        if type(module) is nn.Conv2d and serves(module):
            module.__class__ = WinogradConv  # same parameters and names; another way to compute
    return net
