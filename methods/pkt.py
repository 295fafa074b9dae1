"""Probabilistic knowledge transfer.  Passalis & Tefas, ECCV 2018, arXiv:1803.10837.

In a batch, each image should choose its neighbours with the same probabilities in both networks' embeddings.

    L = CE(y, z_S) + β mean_ij p_T,ij (log p_T,ij - log p_S,ij), p_ij = k_ij / Σ_j k_ij, k_ij = (cos(e_i, e_j) + 1) / 2

Image i itself is among the j.  β = 30000 is that of the CRD benchmark (arXiv:1910.10699): nearly uniform rows differ by
a divergence of about 1e-4.

N images in a batch · D width

Status: exact
Departures: none in the numbers from the code of the CRD benchmark, which agrees with the authors'.  Where an embedding
is zero, its gradient is 0 here and not a number there.
"""

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval

from methods.contract import Method
from methods.registry import register

EPS = 1e-7  # added to lengths and to probabilities, as in the code


@register("pkt")
class PKT(Method):
    def __init__(self, student=None, teacher=None, *, beta: Annotated[float, Interval(ge=0, le=1e9)] = 30000.0):
        super().__init__()
        self.beta = beta

    def loss(self, s, t, batch):
        p_s, p_t = neighbours(s.embedding), neighbours(t.embedding)  # (N, N), (N, N)
        gap = (p_t * ((p_t + EPS).log() - (p_s + EPS).log())).mean()
        return {"ce": F.cross_entropy(s.logits, batch.y), "pkt": self.beta * gap}


def neighbours(e):
    """The probability with which each image chooses each as its neighbour: (N, D) -> (N, N)."""
    length = e.norm(dim=1, keepdim=True)  # (N, 1)
    unit = e * (length > 0) / (length + EPS)  # (N, D)  without a gradient where it is zero
    k = (unit @ unit.T + 1) / 2  # (N, N)
    return k / k.sum(1, keepdim=True)  # (N, N)
