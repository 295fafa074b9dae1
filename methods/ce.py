"""The plain student: cross-entropy with the labels, no teacher.  The row every other one is compared with.

    L = CE(y, z_S)

Status: exact
Departures: none.
"""

import torch.nn.functional as F

from methods.contract import Method
from methods.registry import register


@register("ce")
class CE(Method):
    needs_teacher = False

    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}
