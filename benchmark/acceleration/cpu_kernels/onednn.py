"""Frozen convolutions on a CPU with bias, residual sum and ReLU in one oneDNN kernel, their weights packed once.

Uses the operators that torch's own compiler emits; where they are missing, networks stay as they are.

N images · C, H, W of a feature map
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.acceleration.cpu_kernels import winograd
from benchmark.acceleration.device import has_bf16_kernels
from benchmark.models.net import ConvNorm


class FusedConv(nn.Module):
    """A folded ConvNorm whose ReLU, and whose end of a residual block, cost little beside the convolution."""

    fused = True  # for `FrozenNet.fused` to count

    def __init__(self, folded: ConvNorm):
        super().__init__()
        self.conv = folded.conv
        self.act = "relu" if isinstance(folded.norm, nn.ReLU) else "none"
        self._packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """As ConvNorm's: (N, C, H, W) -> (N, out_channels, H / stride, W / stride)."""
        return torch.ops.mkldnn._convolution_pointwise(x, *self._packed_for(x), self.act, [], "")

    def join(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """As ConvNorm's: ReLU of the sum of both."""
        end = ("add", 1.0, "relu", [], "")
        return torch.ops.mkldnn._convolution_pointwise.binary(x, shortcut, *self._packed_for(x), *end)

    def add(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """As ConvNorm's: the sum of both, rounded once, as `join` rounds it."""
        end = ("add", 1.0, None, [], None)
        return torch.ops.mkldnn._convolution_pointwise.binary(x, shortcut, *self._packed_for(x), *end)

    def _packed_for(self, x: Tensor) -> tuple:
        """Weight, bias and layout; the weight is put into the kernel's own order at the first batch."""
        c = self.conv
        layout = (c.padding, c.stride, c.dilation, c.groups)
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(c.weight, *layout, x.shape)
        return (self._packed, c.bias, *layout)


def fuse_convolutions(net: nn.Module) -> nn.Module:
    """The same network, in place, its convolutions replaced where something faster computes in their type."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, ConvNorm):
                setattr(module, name, fastest(child))
    return winograd.use_winograd(net)  # convolutions that no ConvNorm holds, as before an activation


def fastest(folded: ConvNorm) -> nn.Module:
    """What computes a folded ConvNorm fastest on this processor; as it is where there is nothing else."""
    if winograd.serves(folded.conv):
        return winograd.FrozenWinogradConv(folded)
    return FusedConv(folded) if can_fuse(folded.conv.weight.dtype) else folded


def can_fuse(dtype: torch.dtype) -> bool:
    """Whether this torch and this processor have oneDNN's operators for weights of a type."""
    present = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return present and (dtype != torch.bfloat16 or has_bf16_kernels())
