"""Frozen convolutions on CUDA with bias, residual sum and ReLU in one cuDNN operator instead of three or four kernels.

Uses `torch.cudnn_convolution_relu` and `torch.cudnn_convolution_add_relu`.  They take any type that cuDNN convolves,
input and weight in the memory format of either, and groups; cuDNN may have no engine for a shape, and then they raise.
They ignore `torch.backends.cudnn.deterministic`, so they are not used where that is set.  Without a shortcut they pass
their own uninitialised result as one, times 0.

Therefore every layer tries the operator once for each shape of input, and stays plain where that fails or is less
exact.  Written from torch's source; nothing of it has run on a GPU, and its speed is not measured.

N images · C, H, W of a feature map
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.net import ConvNorm

OPERATORS = ("cudnn_convolution_relu", "cudnn_convolution_add_relu")
TOLERANCE = 1e-5  # of the largest entry: what float32 may differ by, where there is nothing to round


class FusedConv(nn.Module):
    """A folded ConvNorm on the fused operators, for the shapes of input where those agree with the plain layers."""

    def __init__(self, folded: ConvNorm):
        super().__init__()
        self.conv, self.norm = folded.conv, folded.norm
        self.agreed: dict[torch.Size, bool] = {}  # shape of the input -> whether the fused operator is used

    @property
    def fused(self) -> bool:
        """Whether the fused operator is used for some shape of input."""
        return any(self.agreed.values())

    def forward(self, x: Tensor) -> Tensor:
        """As ConvNorm's: (N, C, H, W) -> (N, out_channels, H / stride, W / stride)."""
        return self._compute(x) if isinstance(self.norm, nn.ReLU) else self.conv(x)

    def join(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """As ConvNorm's: ReLU of the sum of both."""
        return self._compute(x, shortcut)

    def add(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """As ConvNorm's: the sum of both, on plain layers, as cuDNN has no such operator without a ReLU."""
        return self.conv(x).add_(shortcut)

    def _compute(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        if x.shape not in self.agreed:  # waits for the device, before a CUDA graph is recorded
            self.agreed[x.shape] = self._agrees(x, shortcut)
        return self._fused(x, shortcut) if self.agreed[x.shape] else self._plain(x, shortcut)

    def _plain(self, x: Tensor, shortcut: Tensor | None) -> Tensor:
        y = self.conv(x)
        return (y if shortcut is None else y.add_(shortcut)).relu_()

    def _fused(self, x: Tensor, shortcut: Tensor | None) -> Tensor:
        c = self.conv
        layer = (c.bias, c.stride, c.padding, c.dilation, c.groups)
        if shortcut is None:
            return torch.cudnn_convolution_relu(x, c.weight, *layer)
        return torch.cudnn_convolution_add_relu(x, c.weight, shortcut, 1.0, *layer)

    def _exact(self, x: Tensor, shortcut: Tensor | None) -> Tensor:
        c, x = self.conv, x.float()
        y = F.conv2d(x, c.weight.float(), c.bias.float(), c.stride, c.padding, c.dilation, c.groups)
        return (y if shortcut is None else y.add_(shortcut)).relu_()

    def _agrees(self, x: Tensor, shortcut: Tensor | None) -> bool:
        """Whether the operator is as exact as the plain layers, whatever the memory of its result held before.

        The plain layers round to bfloat16 up to three times, the operator once.
        """
        exact, plain = self._exact(x, shortcut), self._plain(x, shortcut)
        bound = 2 * (plain - exact).abs().max() + TOLERANCE * exact.abs().max()
        torch.full_like(plain, float("nan"))  # freed at once: the allocator gives the same memory to the next result
        try:
            found = self._fused(x, shortcut)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # cuDNN has no engine for this shape; a fault of the device comes again in `_plain`
            return False
        return bool((found - exact).abs().max() <= bound)


def fuse_convolutions(net: nn.Module) -> nn.Module:
    """The same network, every folded ConvNorm in it replaced where torch has the operators; in place."""
    if not can_fuse():
        return net
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, ConvNorm):
                setattr(module, name, FusedConv(child))
    return net


def can_fuse() -> bool:
    """Whether torch has the operators, and repeatable results are not asked for."""
    cudnn = torch.backends.cudnn
    present = cudnn.is_available() and cudnn.enabled and all(hasattr(torch, name) for name in OPERATORS)
    return present and not (cudnn.deterministic or torch.are_deterministic_algorithms_enabled())
