"""Losses, layers and sizes of maps that several methods share.

N images in a batch · K classes · T temperature · C, H, W of a feature map
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.contract import Shape, Unfit


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
    channels = teacher[0]
    out_channels = 2 * channels if end == "maxout" else channels
    activation = [Maxout()] if end == "maxout" else [nn.BatchNorm2d(out_channels), nn.ReLU()]
    return nn.Sequential(resizing_convolution(student, teacher, out_channels), *activation)


def resizing_convolution(student: Map, teacher: Map, out_channels: int) -> nn.Module:
    """A convolution with bias from a map of the student's shape to one of the teacher's size; see `regressor`."""
    (in_channels, height, width), (_, target_height, target_width) = student, teacher
    if (height, width) == (2 * target_height, 2 * target_width):
        return nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
    if (2 * height, 2 * width) == (target_height, target_width):
        return nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
    if height >= target_height and width >= target_width:
        return nn.Conv2d(in_channels, out_channels, (1 + height - target_height, 1 + width - target_width))
    raise Unfit(f"no regressor leads from a map of {height} x {width} to one of {target_height} x {target_width}")


class BatchNorm(nn.BatchNorm2d):
    """Batch norm of a map that may be one value per channel: of one image, one place.

    Such a batch has no variance; it is normalised with the running statistics, as in eval mode.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        if x.numel() > x.shape[1]:
            return super().forward(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


def check_stages(student: Shape | None, teacher: Shape | None) -> None:
    """Raises Unfit if two networks, where both are given, do not have the same number of stages."""
    if student and teacher and len(student.maps) != len(teacher.maps):
        counts = f"{len(student.maps) - 1} stages, the teacher {len(teacher.maps) - 1}"
        raise Unfit(f"the student has {counts}: their maps cannot be paired")


def check_preactivations(student: Shape, teacher: Shape) -> None:
    """Raises Unfit unless both networks show maps before the last ReLU of each stage, and as many of them."""
    for who, shape in (("student", student), ("teacher", teacher)):
        if not shape.preactivations:
            raise Unfit(f"the {who} shows no maps before its ReLUs: it is not built from this project's layers")
    check_stages(student, teacher)


def to_smaller(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps (N, C, H, W), each average-pooled to the smaller height and the smaller width of the two."""
    size = min(a.shape[2], b.shape[2]), min(a.shape[3], b.shape[3])
    return pool(a, size), pool(b, size)


def pool(f: Tensor, size: tuple[int, int]) -> Tensor:
    """A map average-pooled to a height and width, (N, C, height, width); values repeat if these are larger."""
    if f.shape[2:] == size:
        return f
    if f.shape[2] % size[0] or f.shape[3] % size[1]:
        return F.adaptive_avg_pool2d(f, size)
    return F.avg_pool2d(f, (f.shape[2] // size[0], f.shape[3] // size[1]))  # as adaptive; on CUDA deterministic


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
