"""Activation boundaries.  Heo, Lee, Yun & Choi, AAAI 2019, arXiv:1811.03233.

First the student's neurons learn to be active for the images for which the teacher's are: before the ReLU, they should
be on the teacher's side of 0 by a margin.  Then the whole student learns from the labels alone.

    stage "boundaries"  L = 0.003 / N Σ_i 2^(i - n) Σ max(0, m - σ r_i(F_S))²,  σ = 1 where F_T > 0, else -1,  i = 1 … n
    stage "distill"     L = CE(y, z_S)

The inner sum runs over all values of the maps before the last ReLU of stage i; of networks whose stages end in no ReLU,
over the maps.  r: nothing where shapes agree, else a convolution to the teacher's shape and batch norm, both trained.
The first stage trains at the recipe's rate, constant, for an eighth of the recipe's epochs, which come in addition: 30
beside 240, as in the CRD benchmark (arXiv:1910.10699).  m = 1 and 0.003 are its values; its weight of 1 has no effect.

N images in a batch · n stages · C, H, W of a map

Status: exact
Departures: none in the numbers from the code of the CRD benchmark, which agrees with the authors'.  In the first stage
the batch norm after the last map of a wide residual network is trained with the rest; there it is left as it starts.
The authors follow with softened classes instead of labels.  The paper itself was not read.
"""

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval
from torch import nn

from methods.blocks import BatchNorm, check_preactivations, resizing_convolution
from methods.contract import Method, Stage
from methods.registry import register

SCALE = 0.003  # as in the code


@register("ab")
class AB(Method):
    reads_preactivations = True

    def __init__(
        self,
        student,
        teacher,
        *,
        margin: Annotated[float, Interval(ge=0, le=1e6)] = 1.0,
        boundary_epochs: Annotated[int, Interval(ge=0, le=100_000)] | None = None,  # an eighth of the recipe's
    ):
        super().__init__()
        check_preactivations(student, teacher)
        self.margin, self.boundary_epochs = margin, boundary_epochs
        pairs = zip(student.preactivations, teacher.preactivations, strict=True)
        self.connectors = nn.ModuleList(connector(a, b) for a, b in pairs)

    def stages(self, epochs):
        first = self.boundary_epochs if self.boundary_epochs is not None else max(1, epochs // 8)
        return [Stage("boundaries", first, self.boundary_loss, rate=1.0), Stage("distill", epochs, self.loss)]

    def boundary_loss(self, s, t, batch):
        """The boundary term only."""
        pairs = zip(s.preactivations, t.preactivations, self.connectors, strict=True)
        each = [self.violation(lead(f_s), f_t) / 2**i for i, (f_s, f_t, lead) in enumerate(reversed(list(pairs)))]
        return {"ab": SCALE / len(batch.y) * sum(each)}

    def violation(self, f_s, f_t):
        """Squared distances from the teacher's side of 0 with its margin, summed over two maps (N, C, H, W)."""
        side = (f_t > 0).to(f_s.dtype) * 2 - 1  # (N, C, H, W)
        return F.relu(self.margin - side * f_s).square().sum()

    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}


def connector(student, teacher):
    """A layer from a map of the student's shape (C, H, W) to one of the teacher's; the identity if they agree."""
    if student == teacher:
        return nn.Identity()
    return nn.Sequential(resizing_convolution(student, teacher, teacher[0]), BatchNorm(teacher[0]))
