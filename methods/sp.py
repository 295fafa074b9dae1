"""Similarity-preserving distillation.  Tung & Mori, ICCV 2019, arXiv:1907.09682.

Images that the teacher finds alike should look alike to the student.

    L = CE(y, z_S) + γ / N² ‖ G_T - G_S ‖²_F,  G = rows of Q Qᵀ at unit length, Q = a map as (N, D)

γ and the last map of the convolutions are those of the CRD benchmark (arXiv:1910.10699, section 7a of its scripts).

N images in a batch · D = C·H·W of the map

Status: exact
Departures: none from the code that its author verified; the paper's own text could not be read.
"""

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval

from methods.contract import Method
from methods.registry import register


@register("sp")
class SP(Method):
    def __init__(
        self, student=None, teacher=None, *, gamma: Annotated[float, Interval(ge=0, le=1e6)] = 3000.0, at: int = -1
    ):
        super().__init__()
        for network in filter(None, (student, teacher)):
            network.check_map("at", at)
        self.gamma, self.at = gamma, at

    def loss(self, s, t, batch):
        gap = likeness(s.maps[self.at]) - likeness(t.maps[self.at])  # (N, N)
        return {"ce": F.cross_entropy(s.logits, batch.y), "sp": self.gamma * gap.square().mean()}


def likeness(q):
    """How alike the images of a batch are: Gram matrix of a map, rows of unit length in L2, (N, N)."""
    q = q.flatten(1)  # (N, D)
    return F.normalize(q @ q.T, dim=1)  # (N, N)
