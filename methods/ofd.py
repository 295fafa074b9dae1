"""Overhaul of feature distillation.  Heo, Kim, Yun, Park, Kwak & Choi, ICCV 2019, arXiv:1904.01866.

Before the ReLU of every stage, the student should have the teacher's values where these are positive, and need only be
below a margin where they are not.

    L = CE(y, z_S) + β Σ_i 2^(i - n) / N Σ d(r_i(F_S), F_T),  i = 1 … n
    d(x, f) = (x - max(f, μ))² if x > max(f, μ) or f > 0, else 0

r: a 1 x 1 convolution and batch norm to the teacher's channels, trained.  μ of a channel: the expected value of the
teacher's batch norm, with weight s and bias m, where it is negative: m - |s| φ(m / s) / Φ(-m / |s|), and -3 |s| where
it is so for less than a thousandth.  The teacher's map is average-pooled to the student's size.  β = 0.001 is that of
the authors' code and of mdistiller's.

N images in a batch · n stages · C, H, W of a map

Status: exact
Departures: none in the numbers from the authors' code.  They pair maps of equal size, and train with a recipe and pairs
of their own; weights for other pairs were not published.  A teacher needs a batch norm before the last ReLU of each
stage, as wide as the map.
"""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import nn

from methods.blocks import BatchNorm, check_preactivations, pool
from methods.contract import Method, Unfit
from methods.registry import register

RARE = 0.001  # share of negative values below which their mean is not computed


@register("ofd")
class OFD(Method):
    reads_preactivations = True

    def __init__(self, student, teacher, *, beta: Annotated[float, Interval(ge=0, le=1e6)] = 0.001):
        super().__init__()
        check_preactivations(student, teacher)
        self.beta = beta
        pairs = zip(student.preactivations, teacher.preactivations, strict=True)
        self.connectors = nn.ModuleList(connector(a[0], b[0]) for a, b in pairs)
        for i, (channels, _, _) in enumerate(teacher.preactivations):
            self.register_buffer(f"margin_{i}", torch.zeros(channels), persistent=False)  # μ, of the teacher
        self.derived = tuple(f"margin_{i}" for i in range(len(teacher.preactivations)))

    def prepare(self, student, teacher, sweep):
        norms = getattr(teacher, "last_norms", [])
        if [len(norm.weight) for norm in norms] != [len(getattr(self, name)) for name in self.derived]:
            raise Unfit("the teacher has no batch norm before the last ReLU of each stage that is as wide as its map")
        for name, norm in zip(self.derived, norms, strict=True):
            getattr(self, name).copy_(margin(norm.weight.detach(), norm.bias.detach()))

    def loss(self, s, t, batch):
        each = [
            gap(lead(f_s), pool(f_t, f_s.shape[2:]), getattr(self, name))
            for f_s, f_t, lead, name in zip(
                s.preactivations, t.preactivations, self.connectors, self.derived, strict=True
            )
        ]
        total = sum(value / 2**i for i, value in enumerate(reversed(each))) / len(batch.y)
        return {"ce": F.cross_entropy(s.logits, batch.y), "ofd": self.beta * total}


def connector(student, teacher):
    """1 x 1 convolution, initialised as the authors', and batch norm, from the student's channels to the teacher's."""
    convolution = nn.Conv2d(student, teacher, 1, bias=False)
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / teacher))
    return nn.Sequential(convolution, BatchNorm(teacher))


def margin(weight, bias):
    """The margin of each channel of a batch norm, (C,), from its weight and bias (C,)."""
    s = weight.abs().clamp_min(torch.finfo(weight.dtype).tiny)  # (C,)
    ratio = bias / s  # (C,)
    share = torch.erfc(ratio / math.sqrt(2)) / 2  # (C,)  of values below 0
    density = torch.exp(-ratio.square() / 2) / math.sqrt(2 * math.pi)  # (C,)
    return torch.where(share > RARE, bias - s * density / share.clamp_min(RARE), -3 * s)


def gap(x, f, low):
    """The distance d, summed over the student's map x and the teacher's f (N, C, H, W); low: the margins (C,)."""
    target = torch.maximum(f, low[:, None, None])  # (N, C, H, W)
    counts = (x > target) | (f > 0)  # (N, C, H, W)
    return ((x - target).square() * counts).sum()
