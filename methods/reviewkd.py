"""Knowledge review.  Chen, Liu, Zhao & Jia, CVPR 2021, arXiv:2104.09044.

The student's deeper maps, fused step by step into its shallower ones, should give the teacher's maps at every level.

    levels: the stages and, deepest, the embedding as a map of one place; from the deepest up
    x = BN(conv1x1(F_S)) to `mid` channels; but in the deepest x = g₁ x + g₂ y with (g₁, g₂) = sigmoid(conv1x1([x, y])),
    y = the x of the level below, resized; then x, resized to the teacher's map, goes on, and o = BN(conv3x3(x))
    L = CE(y, z_S) + β w Σ_levels H(o, F_T),  w = min((epoch + 1) / warm, 1), epochs counted from 0
    H = [ mean (o - F)² + Σ_l c_l mean (pool_l(o) - pool_l(F))² ] / (1 + Σ c_l),  l in 4, 2, 1 below the height of F

c = 1/2, 1/4, 1/8 in the order of use · pool_l averages to l x l · mid: the student's embedding width, at most 512
F_T: the teacher's maps before the last ReLU of each stage; F_S: the student's after it.  20 epochs of warm-up are those
of mdistiller.  The authors' β: 5 for wrn_40_2-wrn_16_2, wrn_40_2-wrn_40_1, wrn_40_2-ShuffleV1, resnet32x4-resnet8x4 and
resnet32x4-ShuffleV1, the default here; 0.6 for resnet56-resnet20, 1 for resnet110-resnet32, 8 for resnet32x4-ShuffleV2.

N images in a batch · C, H, W of a map

Status: exact
Departures: none in the numbers from the authors' code.  Their recipe is another (batch 128, rate 0.1, Nesterov, warm-up
from 0), and they print the best epoch.  Batch norm of a single image's embedding, which fails there, takes its running
statistics.  For pairs with VGG or MobileNetV2 no weight is known of the authors.
"""

from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import nn

from methods.blocks import BatchNorm, check_preactivations, pool
from methods.contract import Method
from methods.registry import register

WIDEST = 512  # channels of the fused maps, at most


@register("reviewkd")
class ReviewKD(Method):
    reads_preactivations = True
    derived = ("weight",)

    def __init__(
        self,
        student,
        teacher,
        *,
        beta: Annotated[float, Interval(ge=0, le=1e6)] = 5.0,
        warm: Annotated[int, Interval(ge=0, le=100_000)] = 20,
    ):
        super().__init__()
        check_preactivations(student, teacher)
        self.beta, self.warm = beta, warm
        self.register_buffer("weight", torch.ones(()), persistent=False)  # w; follows from the clock
        widths = [*(c for c, _, _ in student.maps[1:]), student.embedding]
        targets = [*(c for c, _, _ in teacher.preactivations), teacher.embedding]
        middle = min(WIDEST, student.embedding)
        pairs = zip(reversed(widths), reversed(targets), strict=True)  # deepest first
        self.levels = nn.ModuleList(Fusion(a, middle, b, deepest=i == 0) for i, (a, b) in enumerate(pairs))

    def begin_epoch(self, clock):
        self.weight.fill_(min((clock.epoch + 1) / max(self.warm, 1), 1))

    def loss(self, s, t, batch):
        targets = as_levels(t.preactivations, t.embedding)
        fused = self.review(as_levels(s.maps[1:], s.embedding), [f.shape[2:] for f in targets])
        total = sum(distance(o, f) for o, f in zip(fused, targets, strict=True))
        return {"ce": F.cross_entropy(s.logits, batch.y), "review": self.beta * self.weight * total}

    def review(self, maps, sizes):
        """The fused map o of every level, deepest first, from the student's maps and the teacher's sizes (H, W)."""
        found, below = [], None
        for level, f, size in zip(self.levels, maps, sizes, strict=True):
            o, below = level(f, below, size)
            found.append(o)
        return found


class Fusion(nn.Module):
    """One level: fuses a map of the student with what the level below gives; deepest: there is none below."""

    def __init__(self, width: int, middle: int, target: int, deepest: bool):
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(width, middle, 1, bias=False), BatchNorm(middle))
        self.gate = None if deepest else nn.Conv2d(2 * middle, 2, 1)
        self.leave = nn.Sequential(nn.Conv2d(middle, target, 3, padding=1, bias=False), BatchNorm(target))
        for convolution in (self.enter[0], self.leave[0]):
            nn.init.kaiming_uniform_(convolution.weight, a=1)

    def forward(self, f, below, size):
        """The level's map o and the x that goes on, both of the teacher's size (H, W): (N, C, H, W) each."""
        x = self.enter(f)  # (N, C, H, W)
        if self.gate is not None:
            x = self.fuse(x, below)
        x = resize(x, size)
        return self.leave(x), x

    def fuse(self, x, below):
        """g₁ x + g₂ y; y is `below` (N, C, h, w) at the height and width of x (N, C, H, W), as a view.

        The 1 x 1 convolution of [x, y] is a sum: that of x, and that of `below`, each of whose values serves a block.
        """
        if x.shape[2] % below.shape[2] or x.shape[3] % below.shape[3]:
            below = resize(below, x.shape[2:])
        for_x, for_y = self.gate.weight.chunk(2, 1)  # (2, C, 1, 1) each
        split = partial(split_blocks, size=below.shape[2:])
        on_x = split(F.conv2d(x, for_x, self.gate.bias))  # (N, 2, h, H/h, w, W/w)
        x = split(x)  # (N, C, h, H/h, w, W/w)
        g = (on_x + split(F.conv2d(below, for_y))).sigmoid()
        y = Repeat.apply(below, x.shape[3], x.shape[5])
        return (x * g[:, :1] + y * g[:, 1:]).flatten(4, 5).flatten(2, 3)


def split_blocks(x, size):
    """A map (N, C, H, W) as h x w blocks of places, size = (h, w): (N, C, h, H/h, w, W/w), not copied."""
    return x.unflatten(3, (size[1], -1)).unflatten(2, (size[0], -1))


class Repeat(torch.autograd.Function):
    """Each value of a map (N, C, h, w) as a block of a x b equal values: (N, C, h, a, w, b), not copied.

    Backward sums each block by pooling; the sums of `expand` take ten times as long on a CPU.  The sums get the strides
    of the map: a map of one place can have several, and batch norm picks its kernel, so its rounding, by them.
    """

    @staticmethod
    def forward(ctx, x, a, b):
        ctx.block = (a, b)
        ctx.save_for_backward(x)
        return x[:, :, :, None, :, None].expand(-1, -1, -1, a, -1, b)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        sums = F.avg_pool2d(grad.flatten(4, 5).flatten(2, 3), ctx.block, divisor_override=1)  # (N, C, h, w)
        return torch.empty_like(x).copy_(sums), None, None


def as_levels(maps, embedding):
    """Maps early to late and an embedding (N, D) as maps of all levels, deepest first."""
    return [embedding[:, :, None, None], *reversed(tuple(maps))]


def resize(x, size):
    """A map with the nearest values at another height and width: (N, C, H, W) -> (N, C, *size)."""
    for dim, (old, new) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        if new % old:
            x = x.index_select(dim, torch.arange(new, device=x.device) * old // new)
        elif new != old:
            x = x.repeat_interleave(new // old, dim)
    return x


def distance(o, f):
    """The distance H of two maps (N, C, H, W) at several resolutions, a scalar."""
    total, weights, weight = F.mse_loss(o, f), 1.0, 1.0
    for side in (4, 2, 1):
        if side < f.shape[2]:
            weight /= 2
            total = total + weight * F.mse_loss(pool(o, (side, side)), pool(f, (side, side)))
            weights += weight
    return total / weights
