"""FitNets and their teacher, networks of maxout units.  Romero et al., ICLR 2015, arXiv:1412.6550, table 7; the unit
and the teacher: Goodfellow et al., ICML 2013, arXiv:1302.4389.

No batch norm.  Every unit has two pieces; published counts (about 250K, 862K, 1.6M, 2.5M; 9M) are of weights alone.
Map 2 is the layer that the paper pairs, after its pool: a FitNet's guided layer (6, 6, 8 and 11, where block 2 ends)
and the teacher's hint layer 2.  The maps before it split block 1 of a FitNet after its first layer, and the teacher's
first layer before its pool.

Departures: weights ~ N(0, s² / fan-in) and biases 0 (the authors: U(±0.005), which in thin layers all but erases the
image, with RMSProp).  s = 1 keeps the size of what units read, because the larger of two equal draws has the mean
square of each.  The teacher has s = 1/2: its dropout and its overlapping pools enlarge what they pass, and at s = 1
SGD at rate 0.01 diverged within a few steps.  No bound on the norms of kernels, one learning rate for all layers.
Five pieces in the last hidden layer of the authors' files, but two give the counts that they publish.

N images · C, H, W of a feature map · d input's channels · k kernel · p padding · s scale of a draw
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.models.net import Net, small_head
from methods.blocks import Larger

UNITS = 500  # of the hidden layer that the classifier reads
CALM = 0.5  # s of the teacher
Blocks = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
FITNETS: dict[int, Blocks] = {  # channels of each layer, block by block
    1: ((16, 16, 16), (32, 32, 32), (48, 48, 64)),
    2: ((16, 32, 32), (48, 64, 80), (96, 96, 128)),
    3: ((32, 48, 64, 64), (80, 80, 80, 80), (128, 128, 128)),
    4: ((32, 32, 32, 48, 48), (80, 80, 80, 80, 80, 80), (128, 128, 128, 128, 128, 128)),
}


class Maxout(nn.Module):
    """The larger of two k x k convolutions with biases: (N, d, H, W) -> (N, C, H + 2·p - k + 1, W + 2·p - k + 1).

    Goodfellow et al., §3.  Over a map as large as its kernel it is a fully connected layer.
    """

    def __init__(self, inward: int, outward: int, kernel: int, padding: int = 0, *, scale: float = 1.0):
        super().__init__()
        self.conv = nn.Conv2d(inward, 2 * outward, kernel, padding=padding)
        nn.init.normal_(self.conv.weight, std=scale * (inward * kernel * kernel) ** -0.5)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The larger piece."""
        return Larger.apply(self.conv(x))


class MaxPool(nn.Module):
    """Max-pool whose result is `size` x `size`, whatever it is given: (N, C, H, W) -> (N, C, size, size)."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """The largest of each window; `x` itself where it fits."""
        fits = x.shape[2:] == (self.size, self.size)
        return x if fits else F.adaptive_max_pool2d(x, self.size)


def layers(inward: int, widths: tuple[int, ...]) -> list[nn.Module]:
    """A 3 x 3 maxout layer that keeps the size, for each width."""
    return [Maxout(d, width, 3, padding=1) for d, width in zip((inward, *widths), widths, strict=False)]


def fitnet(number: int, classes: int) -> Net:
    """FitNet 1 to 4: thin and deep.  Maps of 32, 16, 8 and 8 pixels for images of 32.

    The last pool is 8 x 8 there; here it spans the map, so that images of any size serve.
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
    """The teacher: three wide layers.  Maps of 33, 16, 7 and 5 pixels for images of 32, its pools rounding up.

    Dropout while it is trained, as the authors have it: of a fifth of the image and half of what later layers read
    (its place in `Net` puts the last before `embed`).  Other images than 32 x 32 are brought to 5 x 5 by max-pool.
    """
    stem = nn.Sequential(nn.Dropout(0.2), Maxout(3, 96, 8, 4, scale=CALM))
    stages = [
        nn.MaxPool2d(4, 2, ceil_mode=True),
        nn.Sequential(nn.Dropout(0.5), Maxout(96, 192, 8, 3, scale=CALM), nn.MaxPool2d(4, 2, ceil_mode=True)),
        nn.Sequential(nn.Dropout(0.5), Maxout(192, 192, 5, 3, scale=CALM), nn.MaxPool2d(2, ceil_mode=True)),
    ]
    neck = nn.Sequential(MaxPool(5), nn.Dropout(0.5), Maxout(192, UNITS, 5, scale=CALM), nn.Dropout(0.5))
    return small_head(Net(stem, stages, nn.Linear(UNITS, classes), neck))
