"""Flow of solution procedure.  Yim, Joo, Bae & Kim, "A Gift from Knowledge Distillation", CVPR 2017.

First the student's layers learn how the teacher's features lead from one stage to the next: inner products of the
channels of neighbouring maps.  Then the whole student learns from the labels alone.

    stage "flow"     L = Σ mean (G_S - G_T)² over neighbouring maps X, Y,  G_nm = mean over places of X_m Y_n
    stage "distill"  L = CE(y, z_S)

Maps: the stem and every stage; the larger one of two neighbours is average-pooled.  The first stage trains at the
recipe's rate, constant, for an eighth of the recipe's epochs, which come in addition: 30 beside 240, as in the CRD
benchmark (arXiv:1910.10699).  That benchmark's weight, 50, has no effect there; here there is none.

N images in a batch · C_X, C_Y channels · H, W of a map

Status: exact
Departures: none from the code of the CRD benchmark, as far as it was read; the paper itself was not.
"""

from itertools import pairwise
from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval

from methods.blocks import check_stages, to_smaller
from methods.contract import Method, Stage, Unfit
from methods.registry import register


@register("fsp")
class FSP(Method):
    def __init__(
        self, student, teacher, *, flow_epochs: Annotated[int, Interval(ge=0, le=100_000)] | None = None
    ):  # an eighth of the recipe's
        super().__init__()
        check_stages(student, teacher)
        for place, (a, b) in enumerate(zip(student.maps, teacher.maps, strict=True)):
            if a[0] != b[0]:
                raise Unfit(f"map {place} has {a[0]} channels in the student, {b[0]} in the teacher: they must agree")
        self.flow_epochs = flow_epochs

    def stages(self, epochs):
        first = self.flow_epochs if self.flow_epochs is not None else max(1, epochs // 8)
        return [Stage("flow", first, self.flow_loss, rate=1.0), Stage("distill", epochs, self.loss)]

    def flow_loss(self, s, t, batch):
        """The flow term only."""
        return {"fsp": sum(F.mse_loss(g_s, g_t) for g_s, g_t in zip(flows(s.maps), flows(t.maps), strict=True))}

    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}


def flows(maps):
    """The matrices of neighbouring maps, each (N, C_Y, C_X)."""
    return [flow(*to_smaller(x, y)) for x, y in pairwise(maps)]


def flow(x, y):
    """Inner products of the channels of two maps of one size, mean over places: (N, C_Y, C_X)."""
    return y.flatten(2) @ x.flatten(2).transpose(1, 2) / x[0, 0].numel()  # (N, C_Y, C_X)
