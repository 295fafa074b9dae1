"""Wide residual networks.  Zagoruyko & Komodakis, BMVC 2016, arXiv:1605.07146.

Pre-activation blocks (He et al., ECCV 2016, arXiv:1603.05027).  Maps are the raw residual sums, before the next
normalisation and ReLU: they are signed.

N images · C, H, W of a feature map · s stride · d channels of the input · w width
"""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.models.net import ConvNorm, Net, Norm, he_normal


class Block(nn.Module):
    """Norm, ReLU, 3 x 3 convolution, twice, and a shortcut: (N, d, H, W) -> (N, w, H/s, W/s).

    Where the width changes, the shortcut is a bare 1 x 1 convolution of the first ReLU's output.
    """

    def __init__(self, in_channels: int, width: int, stride: int):
        super().__init__()
        self.norm1 = Norm(in_channels, act=True)
        self.conv1 = ConvNorm(in_channels, width, 3, stride, act=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = None if in_channels == width else nn.Conv2d(in_channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The residual sum."""
        a = self.norm1(x)  # (N, d, H, W)
        y = self.conv2(self.conv1(a))  # (N, w, H/s, W/s)
        return y.add_(x if self.shortcut is None else self.shortcut(a))


def stage(in_channels: int, width: int, count: int, stride: int) -> nn.Sequential:
    """`count` blocks, of which the first has the stride."""
    return nn.Sequential(Block(in_channels, width, stride), *[Block(width, width, 1) for _ in range(count - 1)])


def wrn(depth: int, factor: int, classes: int) -> Net:
    """WRN-depth-factor: depth 6n + 4, n blocks in each of three stages of widths 16, 32, 64 times the factor."""
    widths = [16, 16 * factor, 32 * factor, 64 * factor]
    count = (depth - 4) // 6
    stages = [
        stage(in_channels, width, count, stride)
        for in_channels, width, stride in zip(widths[:-1], widths[1:], (1, 2, 2), strict=True)
    ]
    stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    neck = Norm(widths[-1], act=True)
    last_relus = ("stages.1.0.norm1", "stages.2.0.norm1", "neck")  # a stage ends in the first layer of what follows
    net = he_normal(Net(stem, stages, nn.Linear(widths[-1], classes), neck, last_relus))
    nn.init.zeros_(net.head.bias)
    return net
