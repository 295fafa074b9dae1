"""Factor transfer.  Kim, Park & Kwak, "Paraphrasing Complex Network", NeurIPS 2018, arXiv:1802.04977.

First a paraphraser learns to compress the teacher's last map into factors from which it can be restored.  Then it is
frozen, and a translator of the student's last map learns to give the same factors while the student learns.

    stage "paraphrase"  L = mean (decode(encode(F_T)) - F_T)²
    stage "distill"     L = CE(y, z_S) + β mean |q(translate(F_S)) - q(encode(F_T))|
    form="attention"    q(f) = v / ‖v‖₂,  v = the mean of f² over channels       form="factor"    q(f) = f / ‖f‖₂

Encoder and decoder: three 3 x 3 convolutions each, the latter's transposed, with leaky ReLUs; the translator's are
followed by batch norm too.  Factors have k times the teacher's channels; of two sizes the larger one is average-pooled.
β = 200, k = 0.5 and form="attention" are those of the CRD benchmark (arXiv:1910.10699); its first stage lasts an eighth
of the recipe's epochs, in addition to them, at a constant rate of 0.01: a fifth of the recipe's, for networks trained
at 0.05.

N images in a batch · C, H, W of a map

Status: exact
Departures: none in the numbers from the code of the CRD benchmark.  That code differs from the authors', which has
form="factor" and β = 500, no batch norm in the translator, and a mean absolute error in the first stage.  The
benchmark takes the recipe's rate in the first stage for VGG, MobileNetV2 and ShuffleNet students: `rate` = 1 there.
Its first stage does not run the student; here it runs and does not learn.
"""

from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import nn

from methods.blocks import BatchNorm, to_smaller
from methods.contract import Method, Stage
from methods.registry import register

SLOPE = 0.1  # of the leaky ReLUs


@register("ft")
class FT(Method):
    def __init__(
        self,
        student,
        teacher,
        *,
        beta: Annotated[float, Interval(ge=0, le=1e6)] = 200.0,
        k: Annotated[float, Interval(ge=0.01, le=10)] = 0.5,
        form: Literal["attention", "factor"] = "attention",
        paraphrase_epochs: Annotated[int, Interval(ge=0, le=100_000)] | None = None,  # an eighth of the recipe's
        rate: Annotated[float, Interval(ge=0.0001, le=1000)] = 0.2,  # of the first stage, in units of the recipe's
    ):
        super().__init__()
        self.beta, self.form, self.paraphrase_epochs, self.rate = beta, form, paraphrase_epochs, rate
        c_s, c_t = student.maps[-1][0], teacher.maps[-1][0]
        width = max(1, int(c_t * k))
        self.encoder = convolutions(nn.Conv2d, c_t, c_t, width, width)
        self.decoder = convolutions(nn.ConvTranspose2d, width, width, c_t, c_t)
        self.translator = convolutions(nn.Conv2d, c_s, c_s, width, width, norm=True)

    def stages(self, epochs):
        first = self.paraphrase_epochs if self.paraphrase_epochs is not None else max(1, epochs // 8)
        return [Stage("paraphrase", first, self.paraphrase_loss, self.rate), Stage("distill", epochs, self.loss)]

    def paraphrase_loss(self, s, t, batch):
        """The error of the restored map only."""
        return {"paraphrase": F.mse_loss(self.decoder(self.encoder(t.maps[-1])), t.maps[-1])}

    def loss(self, s, t, batch):
        with torch.no_grad():
            factor_t = self.encoder(t.maps[-1])  # (N, k·C_T, H, W)
        factor_s = self.translator(s.maps[-1])  # (N, k·C_T, H, W)
        return {"ce": F.cross_entropy(s.logits, batch.y), "ft": self.beta * self.gap(factor_s, factor_t)}

    def gap(self, factor_s, factor_t):
        """Mean absolute difference of two factors, each at unit length, a scalar."""
        unit = attention if self.form == "attention" else unit_factor
        return F.l1_loss(*map(unit, to_smaller(factor_s, factor_t)))


def convolutions(kind, *widths, norm=False):
    """3 x 3 convolutions of a kind from each width to the next, each with a leaky ReLU, and batch norm before it."""
    layers = []
    for a, b in pairwise(widths):
        layers += [kind(a, b, 3, padding=1), *([BatchNorm(b)] if norm else []), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


def attention(f):
    """The places where a factor is active, at unit length: (N, C, H, W) -> (N, H·W)."""
    return F.normalize(f.square().mean(1).flatten(1), dim=1)  # (N, H·W)


def unit_factor(f):
    """A factor at unit length: (N, C, H, W) -> (N, C·H·W)."""
    return F.normalize(f.flatten(1), dim=1)  # (N, C·H·W)
