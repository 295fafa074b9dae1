"""Tensor pieces that more than one method needs.

N images in a batch · K classes · T temperature · C, H, W of a feature map
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.contract import Unfit


def soft_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher ‖ student) of softened classes, mean over the batch; not multiplied by T².

    student, teacher: logits (N, K); returns a scalar in nats.
    """
    log_s = F.log_softmax(student / temperature, dim=1)  # (N, K)
    log_t = F.log_softmax(teacher / temperature, dim=1)  # (N, K)
    return F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)


Map = tuple[int, int, int]  # (C, H, W)


def regressor(student: Map, teacher: Map, end: Literal["conv", "maxout"] = "conv") -> nn.Module:
    """A trained map from a student's (C, H, W) to a teacher's: a convolution; then batch norm and ReLU, or maxout.

    "conv" ends as in the CRD benchmark, "maxout" as in FitNets (arXiv:1412.6550): the larger of two pieces.
    The benchmark's rule for the convolution (arXiv:1910.10699): 3 x 3 at stride 2 where the student's map is twice
    as large, 4 x 4 transposed at stride 2 where it is half as large, else without padding over what it is larger by.
    Raises Unfit where the student's map is smaller otherwise.
    """
    (inward, height, width), (channels, high, wide) = student, teacher
    outward = 2 * channels if end == "maxout" else channels
    if (height, width) == (2 * high, 2 * wide):
        convolution = nn.Conv2d(inward, outward, 3, stride=2, padding=1)
    elif (2 * height, 2 * width) == (high, wide):
        convolution = nn.ConvTranspose2d(inward, outward, 4, stride=2, padding=1)
    elif height >= high and width >= wide:
        convolution = nn.Conv2d(inward, outward, (1 + height - high, 1 + width - wide))
    else:
        raise Unfit(f"no regressor leads from a map of {height} x {width} to one of {high} x {wide}")
    rest = [Maxout()] if end == "maxout" else [nn.BatchNorm2d(outward), nn.ReLU()]
    return nn.Sequential(convolution, *rest)


class Larger(torch.autograd.Function):
    """The larger of two halves, exactly; torch's own maximum takes three times as long backward."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        """(N, 2·C, H, W) -> (N, C, H, W)."""
        first, second = x.chunk(2, 1)  # (N, C, H, W) each
        ctx.save_for_backward(first >= second)
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx, dy: Tensor) -> Tensor:
        """To the half that was taken; to the first where both are equal."""
        first = dy * ctx.saved_tensors[0]  # (N, C, H, W)
        return torch.cat([first, dy - first], 1)  # (N, 2·C, H, W)


class Maxout(nn.Module):
    """Maxout of two pieces: (N, 2·C, H, W) -> (N, C, H, W).  Goodfellow et al., ICML 2013, arXiv:1302.4389."""

    def forward(self, x: Tensor) -> Tensor:
        """The larger of the two halves of the channels."""
        return Larger.apply(x)
