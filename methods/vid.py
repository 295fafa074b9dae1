"""Variational information distillation.  Ahn, Hu, Damianou, Lawrence & Dai, CVPR 2019, arXiv:1904.05835.

After every stage, the student should hold the information of the teacher's map: a Gaussian around a trained regressor
of its own map, with a trained variance for each channel, should make the teacher's map likely.

    L = CE(y, z_S) + β Σ_stages ½ mean ((m - F_T)² / v_c + log v_c), m = W₃ relu(W₂ relu(W₁ F_S)), v = softplus(r) + ε

W are 1 x 1 convolutions without bias, of widths C_T.  β = 1, ε = 1e-5 and v = 5 at the start are those of the CRD
benchmark (arXiv:1910.10699).

N images in a batch · C_S, C_T channels · H, W of a map

Status: exact
Departures: none in the numbers from the code of the CRD benchmark; of two sizes the larger map is average-pooled, as
there.  The softplus is a stable one, so that r above 88 is finite; there it is not.  r is a parameter and trained: in
another suite's copy, where the layers stand in a plain list, the variance stays 5.
"""

import math
from itertools import pairwise
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import nn

from methods.blocks import check_stages, to_smaller
from methods.contract import Method
from methods.registry import register

EPS, START = 1e-5, 5.0  # the least variance; the variance at the start


@register("vid")
class VID(Method):
    def __init__(self, student, teacher, *, beta: Annotated[float, Interval(ge=0, le=1e6)] = 1.0):
        super().__init__()
        check_stages(student, teacher)
        self.beta = beta
        widths = [(a[0], b[0]) for a, b in zip(student.maps[1:], teacher.maps[1:], strict=True)]
        self.regressors = nn.ModuleList(regressor(c_s, c_t) for c_s, c_t in widths)
        start = math.log(math.expm1(START - EPS))
        self.log_scales = nn.ParameterList(torch.full((c_t,), start) for _, c_t in widths)

    def loss(self, s, t, batch):
        stages = zip(s.maps[1:], t.maps[1:], self.regressors, self.log_scales, strict=True)
        total = sum(surprise(*to_smaller(f_s, f_t), mean, scale) for f_s, f_t, mean, scale in stages)
        return {"ce": F.cross_entropy(s.logits, batch.y), "vid": self.beta * total}


def regressor(student, teacher):
    """Three 1 x 1 convolutions, from the student's channels to the teacher's."""
    widths = [student, teacher, teacher, teacher]
    layers = [nn.Conv2d(a, b, 1, bias=False) for a, b in pairwise(widths)]
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def surprise(f_s, f_t, mean, log_scale):
    """Negative log-likelihood of the teacher's map, without its constant, mean over its values, a scalar.

    f_s (N, C_S, H, W), f_t (N, C_T, H, W); mean: the regressor; log_scale (C_T,).
    """
    variance = (F.softplus(log_scale) + EPS)[:, None, None]  # (C_T, 1, 1)
    return ((mean(f_s) - f_t).square() / variance + variance.log()).mean() / 2
