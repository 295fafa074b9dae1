"""Relational knowledge distillation.  Park, Kim, Lu & Cho, CVPR 2019, arXiv:1904.05068.

The distances between the images of a batch, and the angles between triples of them, should be alike in both networks.

    L = CE(y, z_S) + λ_D mean_ij h(d_S,ij / μ_S - d_T,ij / μ_T) + λ_A mean_ijk h(u_S,ij · u_S,ik - u_T,ij · u_T,ik)

d_ij = ‖e_j - e_i‖ · μ the mean of d over i ≠ j, through which the gradient passes · u_ij = (e_j - e_i) / d_ij ·
h(x) = x² / 2 below 1, |x| - 1/2 above.  Both means count all N² and N³ entries, those that are 0 by definition too.
λ_D = 25 and λ_A = 50 are those of the CRD benchmark (arXiv:1910.10699).

N images in a batch · D width

Status: exact
Departures: none in the numbers from the code of the CRD benchmark, which agrees with the authors'.  Two embeddings
closer than 1e-6 count as one point: their angles are 0 and have no gradient, where the code's is of order 1e9.  The
loss of a batch of one image is 0, not a number there.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval

from methods.contract import Method
from methods.registry import register

EPS = 1e-12  # the least squared distance, as in the code

Weight = Annotated[float, Interval(ge=0, le=1e6)]


@register("rkd")
class RKD(Method):
    def __init__(self, student=None, teacher=None, *, distance: Weight = 25.0, angle: Weight = 50.0):
        super().__init__()
        self.distance, self.angle = distance, angle

    def loss(self, s, t, batch):
        distances, angles = zip(relations(s.embedding), relations(t.embedding), strict=True)
        return {
            "ce": F.cross_entropy(s.logits, batch.y),
            "distance": self.distance * F.smooth_l1_loss(*distances),
            "angle": self.angle * F.smooth_l1_loss(*angles),
        }


def relations(e):
    """Distances in units of their mean, (N, N), and cosines of the angles at the first image, (N, N, N)."""
    gap = e[None] - e[:, None]  # (N, N, D)  from the first image to the second
    square = gap.square().sum(2)  # (N, N)
    length = square.clamp_min(EPS).sqrt()  # (N, N)  without a gradient where it was less
    other = 1 - torch.eye(len(e), dtype=e.dtype, device=e.device)  # (N, N)
    distance = length * other  # (N, N)
    mean = distance.sum() / max(len(e) * (len(e) - 1), 1)
    unit = gap / length[:, :, None] * (square > EPS)[:, :, None]  # (N, N, D)
    return distance / mean.clamp_min(EPS), unit @ unit.transpose(1, 2)  # (N, N), (N, N, N)
