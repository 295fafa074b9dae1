"""VGG with batch normalisation and one linear layer.  Simonyan & Zisserman, ICLR 2015, arXiv:1409.1556.

Five blocks of 3 x 3 convolutions; the first is the stem.  Maps follow each block's last ReLU, before its pool.

N images · C, H, W of a feature map
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.net import ConvNorm, Net, he_normal, small_head

WIDTHS = (64, 128, 256, 512, 512)


class LastPool(nn.Module):
    """2 x 2 max-pool between the last two blocks, omitted if the map is 4 x 4 (32 x 32 images) or smaller."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H/2, W/2), or `x` itself."""
        return F.max_pool2d(x, 2) if x.shape[2] > 4 else x


def convolutions(in_channels: int, width: int, count: int) -> list[nn.Module]:
    """`count` convolutions with bias, normalisation and ReLU."""
    return [ConvNorm(in_channels if i == 0 else width, width, 3, bias=True, act=True) for i in range(count)]


def vgg(counts: Sequence[int], classes: int) -> Net:
    """`counts`: convolutions in each of the five blocks."""
    stem = nn.Sequential(*convolutions(3, WIDTHS[0], counts[0]))
    pools = [nn.MaxPool2d(2), nn.MaxPool2d(2), nn.MaxPool2d(2), LastPool()]
    stages = [
        nn.Sequential(pool, *convolutions(in_channels, width, count))
        for pool, in_channels, width, count in zip(pools, WIDTHS[:-1], WIDTHS[1:], counts[1:], strict=True)
    ]
    return small_head(he_normal(Net(stem, stages, nn.Linear(WIDTHS[-1], classes))))
