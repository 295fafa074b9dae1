"""FitNets: hints, then distillation.  Romero et al., ICLR 2015, arXiv:1412.6550.

First the student up to its guided layer, and a regressor, learn the teacher's hint; then the whole student learns
from labels and softened classes, the latter weighing less and less.

    stage "hint"     L = mean ½ (r(v_S) - v_T)²                              eq. 3
    stage "distill"  L = CE(y, z_S) + λ H(softmax(z_T / τ), softmax(z_S / τ))   eq. 4, λ from 4 to 1, τ = 3, no τ²

Only the student's lower part and the regressor change in the hint stage.  Its epochs are extra, and are counted as
such.  The regressor ends like the hint layer: in maxout for the paper's networks of maxout units.

Status: adapted
Departures: the suite's recipe in both stages (the paper: RMSProp, early stopping); the hint is averaged over the
map, not summed; by default the regressor is convolution, batch norm and ReLU, for networks of ReLU units; hint
epochs, by default a fifth of the recipe's, are ours, because the paper stops by validation.  λ falls linearly over
the epochs of the second stage.
"""

from typing import Literal

import torch.nn.functional as F

from methods import blocks
from methods.contract import Method, Stage
from methods.registry import register

LAST = 1.0  # λ at the end, §3.1


@register("fitnets")
class FitNets(Method):
    def __init__(
        self,
        student,
        teacher,
        *,
        guided: int = 2,
        hint: int = 2,
        hint_epochs: int | None = None,
        tau: float = 3.0,  # §3.1
        lam: float = 4.0,  # §3.1
        regressor: Literal["conv", "maxout"] = "conv",
    ):
        super().__init__()
        self.guided, self.hint, self.hint_epochs, self.tau, self.lam = guided, hint, hint_epochs, tau, lam
        self.weight = lam
        self.regressor = blocks.regressor(student.maps[guided], teacher.maps[hint], regressor)

    def stages(self, epochs):
        first = self.hint_epochs if self.hint_epochs is not None else max(1, epochs // 5)
        return [Stage("hint", first, self.hint_loss), Stage("distill", epochs, self.loss)]

    def begin_epoch(self, clock):
        gone = clock.epoch / max(clock.epochs - 1, 1)
        self.weight = self.lam + (LAST - self.lam) * gone

    def hint_loss(self, s, t, batch):
        """The distance to the hint alone."""
        return {"hint": F.mse_loss(self.regressor(s.maps[self.guided]), t.maps[self.hint]) / 2}

    def loss(self, s, t, batch):
        soft = F.cross_entropy(s.logits / self.tau, F.softmax(t.logits / self.tau, dim=1))
        return {"ce": F.cross_entropy(s.logits, batch.y), "soft": self.weight * soft}
