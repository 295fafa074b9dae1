"""FitNets and their maxout teacher.  Romero et al., ICLR 2015, arXiv:1412.6550, table 7; the maxout unit and the
teacher: Goodfellow et al., ICML 2013, arXiv:1302.4389.

No batch norm.  Every unit has two pieces; published counts (about 250K, 862K, 1.6M, 2.5M; 9M) exclude biases.  Map 2 is
the output of the layer that the paper pairs, after its pool: a FitNet's guided layer (6, 6, 8 and 11, the end of block
2) and the teacher's hint layer 2.  Maps 0 and 1 are the first layer and block 1 of a FitNet, and the teacher's first
layer before and after its pool.

Departures: weights ~ N(0, s² / fan-in) and biases 0 (the authors: U(±0.005) with RMSProp, which in narrow layers makes
activations nearly 0).  s = 1 preserves the mean square of activations, because the maximum of two independent values of
one symmetric distribution has the mean square of each.  The teacher has s = 1/2: its dropout and its overlapping pools
increase activations, and with s = 1 SGD at rate 0.01 diverged within a few steps.  No bound on kernel norms; one
learning rate for all layers; two pieces in the last hidden layer too, which gives the published counts (the authors'
files have five).

N images · C, H, W of a feature map · d channels of the input · k kernel · p padding · s scale of the initial weights
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.net import Net, small_head
from methods.blocks import MaxoutFunction

UNITS = 500  # of the hidden layer that the classifier reads
TEACHER_SCALE = 0.5  # s of the teacher
Blocks = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
FITNETS: dict[int, Blocks] = {  # channels of each layer, block by block
    1: ((16, 16, 16), (32, 32, 32), (48, 48, 64)),
    2: ((16, 32, 32), (48, 64, 80), (96, 96, 128)),
    3: ((32, 48, 64, 64), (80, 80, 80, 80), (128, 128, 128)),
    4: ((32, 32, 32, 48, 48), (80, 80, 80, 80, 80, 80), (128, 128, 128, 128, 128, 128)),
}


class Maxout(nn.Module):
    """Maximum of two k x k convolutions with biases: (N, d, H, W) -> (N, C, H + 2·p - k + 1, W + 2·p - k + 1).

    Goodfellow et al., §3.  If the kernel is as large as the map, it is a fully connected layer.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, padding: int = 0, *, scale: float = 1.0):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 2 * out_channels, kernel, padding=padding)
        nn.init.normal_(self.conv.weight, std=scale * (in_channels * kernel * kernel) ** -0.5)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The maximum of the two pieces."""
        return MaxoutFunction.apply(self.conv(x))


class MaxPool(nn.Module):
    """Max-pool to `size` x `size` from any size: (N, C, H, W) -> (N, C, size, size)."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """The maximum of each window; `x` itself if it has this size."""
        fits = x.shape[2:] == (self.size, self.size)
        return x if fits else F.adaptive_max_pool2d(x, self.size)


def layers(in_channels: int, widths: tuple[int, ...]) -> list[nn.Module]:
    """A 3 x 3 maxout layer for each width; H and W stay the same."""
    return [Maxout(d, width, 3, padding=1) for d, width in zip((in_channels, *widths), widths, strict=False)]


def fitnet(number: int, classes: int) -> Net:
    """FitNet 1 to 4, narrow and deep.  For images of 32 pixels the maps have 32, 16, 8 and 8 pixels.

    The paper's last pool is 8 x 8; here it covers the whole map, so that images of any size can be used.
    """
    one, two, three = FITNETS[number]
    stem = Maxout(3, one[0], 3, padding=1)
    stages = [
        nn.Sequential(*layers(one[0], one[1:]), nn.MaxPool2d(2)),
        nn.Sequential(*layers(one[-1], two), nn.MaxPool2d(2)),
        nn.Sequential(*layers(two[-1], three)),
    ]
    neck = nn.Sequential(MaxPool(1), Maxout(three[-1], UNITS, 1))
    return small_head(Net(stem, stages, nn.Linear(UNITS, classes), neck))


def teacher(classes: int) -> Net:
    """The teacher: three wide layers.  For images of 32 pixels the maps have 33, 16, 7 and 5 pixels (pools round up).

    Dropout in training, as in the authors' files: 0.2 of the image and 0.5 of the input of later layers (the last one
    is before `embed`).  For images of other sizes a max-pool reduces the last map to 5 x 5.
    """
    stem = nn.Sequential(nn.Dropout(0.2), Maxout(3, 96, 8, 4, scale=TEACHER_SCALE))
    stages = [
        nn.MaxPool2d(4, 2, ceil_mode=True),
        nn.Sequential(nn.Dropout(0.5), Maxout(96, 192, 8, 3, scale=TEACHER_SCALE), nn.MaxPool2d(4, 2, ceil_mode=True)),
        nn.Sequential(nn.Dropout(0.5), Maxout(192, 192, 5, 3, scale=TEACHER_SCALE), nn.MaxPool2d(2, ceil_mode=True)),
    ]
    neck = nn.Sequential(MaxPool(5), nn.Dropout(0.5), Maxout(192, UNITS, 5, scale=TEACHER_SCALE), nn.Dropout(0.5))
    return small_head(Net(stem, stages, nn.Linear(UNITS, classes), neck))
