"""Knowledge distillation.  Hinton, Vinyals & Dean, NIPS workshop 2014, arXiv:1503.02531.

The student matches the teacher's classes, softened by a temperature, beside the labels.

    L = (1 - α) CE(y, z_S) + α T² KL(softmax(z_T / T) ‖ softmax(z_S / T))

T² keeps the soft gradient's size when T changes (§2).  α and T are those of the CRD benchmark (arXiv:1910.10699).

Status: exact
Departures: none.
"""

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval

from methods.blocks import soft_kl
from methods.contract import Method
from methods.registry import register


@register("kd")
class KD(Method):
    def __init__(
        self,
        student=None,
        teacher=None,
        *,
        temperature: Annotated[float, Interval(ge=0.01, le=1000)] = 4.0,
        alpha: Annotated[float, Interval(ge=0, le=1)] = 0.9,
    ):
        super().__init__()
        self.temperature, self.alpha = temperature, alpha

    def loss(self, s, t, batch):
        soft = self.temperature**2 * soft_kl(s.logits, t.logits, self.temperature)
        return {"ce": (1 - self.alpha) * F.cross_entropy(s.logits, batch.y), "kd": self.alpha * soft}
