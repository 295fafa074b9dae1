"""MobileNetV2.  Sandler et al., CVPR 2018, arXiv:1801.04381.

Half the paper's width, for 32 x 32 images: the stem has stride 2, settings 1 and 4 of table 2 have stride 1, the
activation is ReLU, and blocks have a residual only if the stride is 1 and the widths are equal.  Maps: the stem, then
the linear outputs (no ReLU) of settings 1, 2, 4 and 6, counted from 0.

N images · C, H, W of a feature map · s stride · d channels of the input · w width · t expansion
"""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.models.net import ConvNorm, Net, he_normal, small_head

Setting = tuple[int, int, int, int]  # t, width before halving, blocks, stride: a row of table 2
STAGES: tuple[tuple[Setting, ...], ...] = (
    ((1, 16, 1, 1), (6, 24, 2, 1)),
    ((6, 32, 3, 2),),
    ((6, 64, 4, 2), (6, 96, 3, 1)),
    ((6, 160, 3, 2), (6, 320, 1, 1)),
)
LAST = 1280  # not halved


class Inverted(nn.Module):
    """Inverted residual: widen t times, depthwise convolution, linear projection: (N, d, H, W) -> (N, w, H/s, W/s)."""

    def __init__(self, in_channels: int, width: int, stride: int, expansion: int):
        super().__init__()
        hidden = expansion * in_channels
        self.widen = ConvNorm(in_channels, hidden, 1, act=True)
        self.depthwise = ConvNorm(hidden, hidden, 3, stride, groups=hidden, act=True)
        self.project = ConvNorm(hidden, width, 1)
        self.residual = stride == 1 and in_channels == width

    def forward(self, x: Tensor) -> Tensor:
        """The projection, plus the input if the block has a residual."""
        y = self.project(self.depthwise(self.widen(x)))  # (N, w, H/s, W/s)
        return y.add_(x) if self.residual else y


def mobilenet_v2(classes: int) -> Net:
    """Expansion 6, width 0.5: the 'MobileNetV2' of the distillation benchmarks."""
    in_channels = 16
    stem = ConvNorm(3, in_channels, 3, stride=2, act=True)
    stages = []
    for settings in STAGES:
        blocks = []
        for expansion, full, count, stride in settings:
            width = full // 2
            strides = [stride] + [1] * (count - 1)
            blocks += [Inverted(width if i else in_channels, width, s, expansion) for i, s in enumerate(strides)]
            in_channels = width
        stages.append(nn.Sequential(*blocks))
    neck = ConvNorm(in_channels, LAST, 1, act=True)
    return small_head(he_normal(Net(stem, stages, nn.Linear(LAST, classes), neck)))
