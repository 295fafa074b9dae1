"""Residual networks.  He, Zhang, Ren & Sun, CVPR 2016, arXiv:1512.03385.

Maps follow the last ReLU of the stem and of each stage.

N images · C, H, W of a feature map · s stride · d channels of the input · w width
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from benchmark.models.net import ConvNorm, Net, Norm, he_normal


class Basic(nn.Module):
    """Two 3 x 3 convolutions and a shortcut: (N, d, H, W) -> (N, w, H/s, W/s)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = ConvNorm(in_channels, width, 3, stride, act=True)
        self.conv2 = ConvNorm(width, width, 3)
        self.shortcut = shortcut(in_channels, width, stride)
        self.act = True  # whether it ends in a ReLU

    @property
    def last_norm(self) -> Norm:
        """The normalisation before the residual sum."""
        return self.conv2.norm

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the residual sum, or the sum itself unless `act`."""
        end = self.conv2.join if self.act else self.conv2.add
        return end(self.conv1(x), self.shortcut(x))  # (N, w, H/s, W/s)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and a shortcut: (N, d, H, W) -> (N, 4·w, H/s, W/s)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        out_channels = self.expansion * width
        self.conv1 = ConvNorm(in_channels, width, 1, act=True)
        self.conv2 = ConvNorm(width, width, 3, stride, act=True)
        self.conv3 = ConvNorm(width, out_channels, 1)
        self.shortcut = shortcut(in_channels, out_channels, stride)
        self.act = True  # whether it ends in a ReLU

    @property
    def last_norm(self) -> Norm:
        """The normalisation before the residual sum."""
        return self.conv3.norm

    def forward(self, x: Tensor) -> Tensor:
        """ReLU of the residual sum, or the sum itself unless `act`."""
        y = self.conv2(self.conv1(x))  # (N, w, H/s, W/s)
        end = self.conv3.join if self.act else self.conv3.add
        return end(y, self.shortcut(x))  # (N, 4·w, H/s, W/s)


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity if shapes are equal, else a 1 x 1 convolution and its normalisation."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, 1, stride)


def stage(block: type[Basic | Bottleneck], in_channels: int, width: int, count: int, stride: int) -> nn.Sequential:
    """`count` blocks, of which the first has the stride."""
    out_channels = block.expansion * width
    rest = [block(out_channels, width, 1) for _ in range(count - 1)]
    return nn.Sequential(block(in_channels, width, stride), *rest)


def resnet(
    block: type[Basic | Bottleneck], stem: int, widths: Sequence[int], counts: Sequence[int], classes: int
) -> Net:
    """A 3 x 3 stem at stride 1 without max-pool, then stages at strides 1, 2, 2, …"""
    in_channels = [stem] + [block.expansion * width for width in widths]
    strides = [1] + [2] * (len(widths) - 1)
    stages = [stage(block, *each) for each in zip(in_channels[:-1], widths, counts, strides, strict=True)]
    head = nn.Linear(in_channels[-1], classes)
    return he_normal(Net(ConvNorm(3, stem, 3, act=True), stages, head))


def cifar(depth: int, widths: Sequence[int], classes: int) -> Net:
    """The CIFAR networks of §4.2: depth 6n + 2, n basic blocks in each of three stages; `widths`: stem, stages."""
    return resnet(Basic, widths[0], widths[1:], [(depth - 2) // 6] * 3, classes)


def basic(counts: Sequence[int], classes: int, width: int = 64) -> Net:
    """ResNet18 and ResNet34 for small images: basic blocks of widths w, 2·w, 4·w, 8·w; w = 64.

    ResNet18 with w = 32 in stem and stages is `resnet18x0.5`: this project's interpretation of a name that KDA
    (arXiv:2009.14416) uses without defining it.
    """
    return resnet(Basic, width, [width * factor for factor in (1, 2, 4, 8)], counts, classes)


def bottleneck(counts: Sequence[int], classes: int) -> Net:
    """ResNet50 for small images: bottlenecks of widths 64, 128, 256, 512, with four times as many output channels."""
    return resnet(Bottleneck, 64, (64, 128, 256, 512), counts, classes)
