"""Losses and layers that several methods share.

N images in a batch · K classes · T temperature · C, H, W of a feature map
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.contract import Unfit


def soft_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of softened class probabilities, mean over the batch; not multiplied by T².

    student, teacher: logits (N, K); returns a scalar in nats.
    """
    log_s = F.log_softmax(student / temperature, dim=1)  # (N, K)
    log_t = F.log_softmax(teacher / temperature, dim=1)  # (N, K)
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


Map = tuple[int, int, int]  # (C, H, W)


def regressor(student: Map, teacher: Map, end: Literal["conv", "maxout"] = "conv") -> nn.Module:
    """A trained layer from a student's map (C, H, W) to the shape of a teacher's: a convolution and an activation.

    end: "conv" is batch norm and ReLU as in the CRD benchmark (arXiv:1910.10699), "maxout" is maxout of two pieces as
    in FitNets (arXiv:1412.6550).  The convolution follows the benchmark: 3 x 3 at stride 2 if the student's map is
    twice as large, 4 x 4 transposed at stride 2 if it is half as large, else without padding, with the kernel that
    gives the teacher's size.  Raises Unfit if the student's map is smaller in another ratio.
    """
    (in_channels, height, width), (channels, target_height, target_width) = student, teacher
    out_channels = 2 * channels if end == "maxout" else channels
    if (height, width) == (2 * target_height, 2 * target_width):
        convolution = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
    elif (2 * height, 2 * width) == (target_height, target_width):
        convolution = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
    elif height >= target_height and width >= target_width:
        convolution = nn.Conv2d(in_channels, out_channels, (1 + height - target_height, 1 + width - target_width))
    else:
        raise Unfit(f"no regressor leads from a map of {height} x {width} to one of {target_height} x {target_width}")
    activation = [Maxout()] if end == "maxout" else [nn.BatchNorm2d(out_channels), nn.ReLU()]
    return nn.Sequential(convolution, *activation)


class MaxoutFunction(torch.autograd.Function):
    """Maximum of the two halves of the channels; the backward of torch.maximum takes three times as long."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """(N, 2·C, H, W) -> (N, C, H, W)."""
        first, second = x.chunk(2, 1)  # (N, C, H, W) each
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx, dy: Tensor) -> Tensor:
        """The gradient goes to the larger half, and to the first if both are equal."""
        first = dy * ctx.saved_tensors[0]  # (N, C, H, W)
        return torch.cat([first, dy - first], 1)  # (N, 2·C, H, W)


class Maxout(nn.Module):
    """Maxout of two pieces: (N, 2·C, H, W) -> (N, C, H, W).  Goodfellow et al., ICML 2013, arXiv:1302.4389."""

    def forward(self, x: Tensor) -> Tensor:
        """The maximum of the two halves of the channels."""
        return MaxoutFunction.apply(x)
