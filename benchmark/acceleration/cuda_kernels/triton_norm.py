"""Batch normalisation, residual sum and ReLU of a student in two Triton launches each way, on CUDA, channels last.

The counterpart of `batch_norm`, which serves on a CPU.  torch reads and writes each feature map once for each of the
three, in both directions.  Triton comes with torch's CUDA builds; where it is missing or cannot compile, networks keep
torch's operators.  Block sizes are fixed and nothing waits for the device, so CUDA graphs may record the launches.

The kernels are tested with Triton's interpreter, and compiled for devices that were not present.  They have not run on
a GPU: their speed is not measured, and block sizes are calculated, not tuned.

N images · C, H, W of a feature map
"""

from __future__ import annotations

from functools import cache
from types import ModuleType

import torch
from torch import Tensor, nn

from benchmark.models.net import Norm

TILE = 4096  # elements that a program reads at once
PARTS = 128  # parts of the rows, at most: about one for each multiprocessor and block of channels; a power of 2
WIDEST = 32  # channels in a block, at most: 64 bytes of bfloat16
WARPS = 8
TYPES = (torch.bfloat16, torch.float32)


class TritonNorm(Norm):
    """A Norm that uses the kernels where they apply: training on CUDA, channels last, bfloat16 or float32."""

    def forward(self, x: Tensor) -> Tensor:
        """As Norm's."""
        return (
            TritonNormFunction.apply(x, None, self.weight, self.bias, self) if self._served(x) else super().forward(x)
        )

    def join(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """As Norm's."""
        if self._served(x) and self._served(shortcut) and x.dtype == shortcut.dtype:
            return TritonNormFunction.apply(x, shortcut, self.weight, self.bias, self)
        return super().join(x, shortcut)

    def _served(self, x: Tensor) -> bool:
        plain = x.is_cuda and x.dtype in TYPES and self.weight.dtype == torch.float32
        return self.training and plain and x.is_contiguous(memory_format=torch.channels_last)


class Blocks:
    """How a matrix of `rows` by `width` is divided among programs: a function of its shape alone.

    grid: parts of the rows, blocks of channels.  matrix, tile: arguments that every kernel takes.
    """

    def __init__(self, rows: int, width: int):
        channels = min(WIDEST, max(8, 1 << (width - 1).bit_length()))
        tile = TILE // channels
        part = -(-rows // (tile * PARTS)) * tile  # whole tiles
        self.grid = (-(-rows // part), -(-width // channels))
        self.matrix = {"rows": rows, "width": width, "part_rows": part}
        self.tile = {"ROWS": tile, "CHANNELS": channels, "num_warps": WARPS}


class TritonNormFunction(torch.autograd.Function):
    """relu?(normalised x + shortcut?), all (N, C, H, W); a joined sum always ends in the ReLU."""

    @staticmethod
    def forward(ctx, x: Tensor, shortcut: Tensor | None, weight: Tensor, bias: Tensor, norm: Norm) -> Tensor:
        kernels, blocks = load_kernels(), Blocks(x.numel() // x.shape[1], x.shape[1])
        ctx.act, ctx.joined = norm.act or shortcut is not None, shortcut is not None
        y, mean, inverse = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
        parts = weight.new_empty(blocks.grid[0], 2, x.shape[1])
        kernels.measure[blocks.grid](x, parts, **blocks.matrix, **blocks.tile)
        kernels.normalise[blocks.grid](
            x, shortcut, weight, bias, parts, y, mean, inverse, norm.running_mean, norm.running_var,
            norm.momentum, norm.eps, **blocks.matrix, ACT=ctx.act, PARTS=PARTS, **blocks.tile,
        )  # fmt: skip
        ctx.save_for_backward(x, y if ctx.act else None, weight, mean, inverse)  # without ReLU, `y` may change in place
        return y

    @staticmethod
    def backward(ctx, dy: Tensor):
        x, y, weight, mean, inverse = ctx.saved_tensors
        kernels, blocks = load_kernels(), Blocks(x.numel() // x.shape[1], x.shape[1])
        dy = dy.contiguous(memory_format=torch.channels_last)
        dx, dshortcut = torch.empty_like(x), torch.empty_like(x) if ctx.joined else None
        dweight, dbias = torch.empty_like(weight), torch.empty_like(weight)
        parts = weight.new_empty(blocks.grid[0], 2, x.shape[1])
        kernels.measure_gradient[blocks.grid](dy, y, x, mean, parts, **blocks.matrix, **blocks.tile)
        kernels.propagate[blocks.grid](
            dy, y, x, weight, mean, inverse, parts, dx, dshortcut, dweight, dbias,
            **blocks.matrix, PARTS=PARTS, **blocks.tile,
        )  # fmt: skip
        return dx, dshortcut, dweight, dbias, None


@cache
def load_kernels() -> ModuleType:
    """The kernels; each is compiled at its first launch, and stored on disk.  Raises ImportError without Triton."""
    from benchmark.acceleration.cuda_kernels import triton_kernels

    return triton_kernels


@cache
def why_unavailable() -> str:
    """Why the kernels cannot be used on this process's CUDA device, found by a trial; "" where they can be."""
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    try:
        load_kernels()
        return "" if agrees_with_torch(torch.device("cuda")) else "their results differ from torch's"
    except Exception as fault:  # noqa: BLE001  Triton, its C compiler and the driver each fail in their own way
        return f"{type(fault).__name__}: {str(fault).partition(chr(10))[0]}"


@torch.enable_grad()
def agrees_with_torch(device: torch.device) -> bool:
    """Whether the kernels compute what torch does on a small map in bfloat16, forward and backward, to 2 %."""
    x = torch.linspace(-1, 2, 12 * 7 * 7 * 16, device=device).view(12, 7, 7, 16).sin().bfloat16().permute(0, 3, 1, 2)
    results = []
    for kind, dtype in ((TritonNorm, torch.bfloat16), (Norm, torch.float32)):
        norm, value = kind(16, act=True).to(device), x.to(dtype)
        leaf = value.clone().requires_grad_()
        y = norm.join(leaf, value)
        results.append([y, norm.running_var, *torch.autograd.grad(y, [leaf, norm.weight], value)])
    return all(bool((a - b).abs().max() <= 0.02 * b.abs().max()) for a, b in zip(*results, strict=True))


def use_triton_norm(net: nn.Module) -> nn.Module:
    """The same network, its Norms on the kernels; in place."""
    for module in net.modules():
        if type(module) is Norm:
            module.__class__ = TritonNorm  # same parameters, buffers and names; another way to compute
    return net
