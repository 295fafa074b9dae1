"""FitNet in one stage, as later suites use the name.  After Romero et al., ICLR 2015, arXiv:1412.6550.

The student's middle map, through a small regressor, should equal the teacher's.

    L = CE(y, z_S) + β · mean (r(v_S) - v_T)²,  r = convolution, batch norm, ReLU

The map after the second stage and β = 100 are those of the CRD benchmark (arXiv:1910.10699).

Status: exact
Departures: none from that benchmark's code; the paper trains in two stages and without this cross-entropy
(`fitnets`). On networks whose maps are signed (WRN) the target is signed and the regressor ends in a ReLU, as
there.
"""

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval

from methods.blocks import regressor
from methods.contract import Method
from methods.registry import register


@register("hint")
class Hint(Method):
    def __init__(
        self,
        student,
        teacher,
        *,
        guided: int = 2,
        hint: int = 2,
        beta: Annotated[float, Interval(ge=0, le=1e6)] = 100.0,
    ):
        super().__init__()
        student.check_map("guided", guided)
        teacher.check_map("hint", hint)
        self.guided, self.hint, self.beta = guided, hint, beta
        self.regressor = regressor(student.maps[guided], teacher.maps[hint])

    def loss(self, s, t, batch):
        gap = F.mse_loss(self.regressor(s.maps[self.guided]), t.maps[self.hint])
        return {"ce": F.cross_entropy(s.logits, batch.y), "hint": self.beta * gap}
