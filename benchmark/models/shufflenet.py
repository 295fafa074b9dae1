"""ShuffleNet V1 (Zhang et al., CVPR 2018, arXiv:1707.01083) and V2 (Ma et al., ECCV 2018, arXiv:1807.11164).

For 32 x 32 images: a 1 x 1 stem to 24 channels and no max-pool.  Weights have PyTorch's default initialisation.

N images · C, H, W of a feature map · s stride · d channels of the input · w width · g groups
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.net import ConvNorm, Net, Norm

STEM = 24
GROUPS = 3  # of V1
COUNTS = (4, 8, 4)  # units in each stage


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Channel j of group i becomes channel j·g + i.  (N, C, H, W) -> the same, in the same memory format."""
    if x.stride(1) == 1:  # channels last: shuffle the last axis, because a reshape would change the format
        y = x.permute(0, 2, 3, 1).unflatten(3, (groups, -1))  # (N, H, W, g, C/g)
        return y.transpose(3, 4).flatten(3).permute(0, 3, 1, 2)  # (N, C, H, W)
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)  # (N, C, H, W)


def interleave(a: Tensor, b: Tensor) -> Tensor:
    """Channels a0 b0 a1 b1 …, in the memory format of `b`: one copy instead of a concatenation and a shuffle."""
    if b.stride(1) == 1:
        y = torch.stack((a.permute(0, 2, 3, 1), b.permute(0, 2, 3, 1)), 4)  # (N, H, W, C, 2)
        return y.flatten(3).permute(0, 3, 1, 2)  # (N, 2·C, H, W)
    return torch.stack((a, b), 2).flatten(1, 2)  # (N, 2·C, H, W)


class UnitV1(nn.Module):
    """Grouped 1 x 1, shuffle, depthwise 3 x 3, grouped 1 x 1: (N, d, H, W) -> (N, w, H/s, W/s).

    At stride 2 the average-pooled input is concatenated, at stride 1 the input is added.
    """

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        self.stride = stride
        out_channels = width - in_channels if stride == 2 else width
        hidden = out_channels // 4
        self.groups = 1 if in_channels == STEM else GROUPS
        self.squeeze = ConvNorm(in_channels, hidden, 1, groups=self.groups, act=True)
        self.depthwise = ConvNorm(hidden, hidden, 3, stride, groups=hidden, act=True)
        self.widen = ConvNorm(hidden, out_channels, 1, groups=GROUPS)
        self.act = True  # whether it ends in a ReLU

    @property
    def last_norm(self) -> Norm:
        """The normalisation before the concatenation or the sum."""
        return self.widen.norm

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the concatenation or of the sum, or that itself unless `act`."""
        y = self.squeeze(x)  # (N, w/4, H, W)
        if self.groups > 1:
            y = shuffle(y, self.groups)
        y = self.widen(self.depthwise(y))  # (N, w or w - d, H/s, W/s)
        y = y.add_(x) if self.stride == 1 else torch.cat((y, F.avg_pool2d(x, 3, 2, 1)), 1)  # (N, w, H/s, W/s)
        return y.relu_() if self.act else y


class UnitV2(nn.Module):
    """Half of the channels pass unchanged, half are convolved; both are interleaved: (N, w, H, W) -> the same."""

    def __init__(self, width: int):
        super().__init__()
        self.half = width // 2
        self.conv1 = ConvNorm(self.half, self.half, 1, act=True)
        self.conv2 = ConvNorm(self.half, self.half, 3, groups=self.half)
        self.conv3 = ConvNorm(self.half, self.half, 1, act=True)

    @property
    def act(self) -> bool:
        """Whether the convolved half ends in a ReLU."""
        return self.conv3.act

    @act.setter
    def act(self, act: bool) -> None:
        self.conv3.act = act

    @property
    def last_norm(self) -> Norm:
        """The normalisation of the convolved half; its channels are half of the unit's."""
        return self.conv3.norm

    def forward(self, x: Tensor) -> Tensor:
        """The unchanged half has the even channels of the result."""
        a, b = x[:, : self.half], x[:, self.half :]  # (N, w/2, H, W) each
        return interleave(a, self.conv3(self.conv2(self.conv1(b))))


class DownV2(nn.Module):
    """Two branches at stride 2, interleaved: (N, d, H, W) -> (N, w, H/2, W/2)."""

    def __init__(self, in_channels: int, width: int):
        super().__init__()
        half = width // 2
        self.left1 = ConvNorm(in_channels, in_channels, 3, 2, groups=in_channels)
        self.left2 = ConvNorm(in_channels, half, 1, act=True)
        self.right1 = ConvNorm(in_channels, half, 1, act=True)
        self.right2 = ConvNorm(half, half, 3, 2, groups=half)
        self.right3 = ConvNorm(half, half, 1, act=True)

    def forward(self, x: Tensor) -> Tensor:
        """The left branch has the even channels, the right branch the odd ones."""
        left = self.left2(self.left1(x))  # (N, w/2, H/2, W/2)
        right = self.right3(self.right2(self.right1(x)))  # (N, w/2, H/2, W/2)
        return interleave(left, right)


def v1(classes: int) -> Net:
    """ShuffleNet V1 with three groups: widths 240, 480, 960."""
    widths = (STEM, 240, 480, 960)
    stages = []
    for in_channels, width, count in zip(widths[:-1], widths[1:], COUNTS, strict=True):
        stages.append(
            nn.Sequential(UnitV1(in_channels, width, 2), *[UnitV1(width, width, 1) for _ in range(count - 1)])
        )
    return Net(ConvNorm(3, STEM, 1, act=True), stages, nn.Linear(widths[-1], classes))


def v2(classes: int) -> Net:
    """ShuffleNet V2 of size 1: widths 116, 232, 464, then a 1 x 1 convolution to 1024."""
    widths, last = (STEM, 116, 232, 464), 1024
    stages = []
    for in_channels, width, count in zip(widths[:-1], widths[1:], COUNTS, strict=True):
        stages.append(nn.Sequential(DownV2(in_channels, width), *[UnitV2(width) for _ in range(count - 1)]))
    neck = ConvNorm(widths[-1], last, 1, act=True)
    return Net(ConvNorm(3, STEM, 1, act=True), stages, nn.Linear(last, classes), neck)
