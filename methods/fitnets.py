"""FitNets: hints, then distillation.  Romero et al., ICLR 2015, arXiv:1412.6550.

First the student's layers up to the guided one, with a regressor on top, learn to predict the teacher's hint layer.
Then the whole student learns from labels and softened classes; the weight of the latter falls.

    stage "hint"     L = mean ½ (r(v_S) - v_T)²                              eq. 3
    stage "distill"  L = CE(y, z_S) + λ H(softmax(z_T / τ), softmax(z_S / τ))   eq. 4, λ from 4 to 1, τ = 3, no τ²

Only the student's lower layers and the regressor change in the hint stage, whose epochs come in addition to the
recipe's and are counted separately.  The regressor ends like the hint layer: in maxout for the paper's maxout networks.

Status: adapted
Departures: the suite's recipe in both stages (the paper: RMSProp, early stopping); the hint loss is averaged over
the map, not summed; by default the regressor is convolution, batch norm and ReLU, for networks of ReLU units; the
number of hint epochs, by default a fifth of the recipe's, is our choice, because the paper stops by validation.  λ
falls linearly over the epochs of the second stage.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Interval

from methods import blocks
from methods.contract import Method, Stage
from methods.registry import register

LAST = 1.0  # λ at the end, §3.1


@register("fitnets")
class FitNets(Method):
    derived = ("weight",)

    def __init__(
        self,
        student,
        teacher,
        *,
        guided: int = 2,
        hint: int = 2,
        hint_epochs: Annotated[int, Interval(ge=0, le=100_000)] | None = None,
        tau: Annotated[float, Interval(ge=0.01, le=1000)] = 3.0,  # §3.1
        lam: Annotated[float, Interval(ge=0, le=1e6)] = 4.0,  # §3.1
        regressor: Literal["conv", "maxout"] = "conv",
    ):
        super().__init__()
        student.check_map("guided", guided)
        teacher.check_map("hint", hint)
        self.guided, self.hint, self.hint_epochs, self.tau, self.lam = guided, hint, hint_epochs, tau, lam
        self.register_buffer("weight", torch.tensor(float(lam)), persistent=False)  # λ; follows from the clock
        self.regressor = blocks.regressor(student.maps[guided], teacher.maps[hint], regressor)

    def stages(self, epochs):
        first = self.hint_epochs if self.hint_epochs is not None else max(1, epochs // 5)
        return [Stage("hint", first, self.hint_loss), Stage("distill", epochs, self.loss)]

    def begin_epoch(self, clock):
        gone = clock.epoch / max(clock.epochs - 1, 1)
        self.weight.fill_(self.lam + (LAST - self.lam) * gone)

    def hint_loss(self, s, t, batch):
        """The hint term only."""
        return {"hint": F.mse_loss(self.regressor(s.maps[self.guided]), t.maps[self.hint]) / 2}

    def loss(self, s, t, batch):
        soft = F.cross_entropy(s.logits / self.tau, F.softmax(t.logits / self.tau, dim=1))
        return {"ce": F.cross_entropy(s.logits, batch.y), "soft": self.weight * soft}
