"""Attention transfer.  Zagoruyko & Komodakis, ICLR 2017, arXiv:1612.03928.

After every stage, the student should be active at the places where the teacher is.

    L = CE(y, z_S) + β Σ_stages mean (a(F_S) - a(F_T))²,  a(F) = v / ‖v‖₂,  v = the mean of F² over channels

The mean runs over images and places.  β = 1000 is that of the CRD benchmark (arXiv:1910.10699) and of the authors'
example for CIFAR-10.

N images in a batch · C, H, W of a map

Status: exact
Departures: none from the code of the CRD benchmark, which equals the authors' where maps have one size; of two sizes
the larger map is average-pooled, as there.  The paper itself was not read; as remembered, its formula has β / 2 and the
norm of the difference, where the code's mean over places gives a map of 32 x 32 a sixteenth of the weight of one of
8 x 8.
"""

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval

from methods.blocks import check_stages, to_smaller
from methods.contract import Method
from methods.registry import register


@register("at")
class AT(Method):
    def __init__(self, student=None, teacher=None, *, beta: Annotated[float, Interval(ge=0, le=1e6)] = 1000.0):
        super().__init__()
        check_stages(student, teacher)
        self.beta = beta

    def loss(self, s, t, batch):
        pairs = zip(s.maps[1:], t.maps[1:], strict=True)
        gap = sum(attention_gap(*to_smaller(f_s, f_t)) for f_s, f_t in pairs)
        return {"ce": F.cross_entropy(s.logits, batch.y), "at": self.beta * gap}


def attention_gap(f_s, f_t):
    """Mean squared difference of the attention of two maps of one size, a scalar."""
    return F.mse_loss(attention(f_s), attention(f_t))


def attention(f):
    """The places where a map is active, at unit length: (N, C, H, W) -> (N, H·W)."""
    return F.normalize(f.square().mean(1).flatten(1), dim=1)  # (N, H·W)
