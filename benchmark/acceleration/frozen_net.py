"""Frozen teachers: batch norm folded into convolutions where that is exact, weights cast, convolutions fused.

N images in a batch
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from benchmark.acceleration.cpu_kernels import onednn
from benchmark.acceleration.cuda_kernels import cudnn_conv
from benchmark.acceleration.output_cast import outputs_close, to_float32
from benchmark.models.net import Net, fold
from methods.contract import Outputs


class FrozenNet(nn.Module):
    """A teacher: `net` as it was trained, for methods to read, and a faster copy that computes.  No gradients.

    folded: whether batch norm is folded in the copy.  memory_format: that of its weights.
    """

    def __init__(self, net: nn.Module, inference_net: nn.Module, folded: bool, memory_format: torch.memory_format):
        super().__init__()
        self.net, self.inference_net, self.folded = net, inference_net, folded
        self._dtype, self._format = next(inference_net.parameters()).dtype, memory_format

    @torch.no_grad()
    def forward(self, x: Tensor) -> Outputs:
        """Outputs for (N, 3, H, W), in float32."""
        return to_float32(self.inference_net(x.to(self._dtype, memory_format=self._format)))

    def train(self, mode: bool = True) -> FrozenNet:
        """Stays in eval mode, whatever `mode` says."""
        return super().train(False)

    @property
    def fused(self) -> int:
        """How many convolutions are computed together with what follows them; on CUDA, in the passes so far."""
        return sum(bool(getattr(module, "fused", False)) for module in self.inference_net.modules())


@torch.no_grad()
def fold_if_exact(net: nn.Module, x: Tensor) -> nn.Module | None:
    """A copy of `net`, on the CPU, with batch norm folded; None if that changes the outputs for the images `x`.

    Decided in float32 on the CPU: kernels that a GPU picks by their time must not decide what a teacher computes.
    Moves `net` to the CPU.
    """
    if not isinstance(net, Net):
        return None
    net = net.to(device="cpu", memory_format=torch.channels_last)
    folded, x = fold(net), x.cpu()
    return folded if outputs_close(net(x), folded(x)) else None


def inference_copy(net: nn.Module, folded: nn.Module | None, precision: str) -> nn.Module:
    """The network that computes for a teacher, on the device of `net`: cast to `precision`, convolutions fused.

    folded: what `fold_if_exact` returned, moved to that device.
    """
    quick = net if folded is None else folded
    if precision == "bf16":
        quick = copy.deepcopy(quick).to(torch.bfloat16)
    if folded is None:
        return quick
    on_cuda = next(net.parameters()).is_cuda
    return cudnn_conv.fuse_convolutions(quick) if on_cuda else onednn.fuse_convolutions(quick)
