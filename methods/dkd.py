"""Decoupled knowledge distillation.  Zhao, Cui, Song, Qiu & Liang, CVPR 2022, arXiv:2203.08679.

Distillation in two parts with weights of their own: whether it is the target class, and which of the others it
resembles.

    L = CE(y, z_S) + w (α TCKD + β NCKD),  w = min((epoch + 1) / warm, 1), epochs counted from 0
    TCKD = T² KL(b_T ‖ b_S),  b = (p_y, 1 - p_y),  p = softmax(z / T)      NCKD = T² KL(q_T ‖ q_S),  q = p over c ≠ y

α = 1, T = 4 and 20 epochs of warm-up are those of the authors' code.  Its β depends on the pair: 2 for
resnet56-resnet20 and resnet110-resnet32; 6 for wrn_40_2-wrn_16_2, wrn_40_2-wrn_40_1, vgg13-vgg8 and vgg13-MobileNetV2;
8 for resnet32x4-resnet8x4, resnet32x4-ShuffleV1, resnet32x4-ShuffleV2, wrn_40_2-ShuffleV1 and ResNet50-MobileNetV2.
8 is the default here; none was found for resnet110-resnet20 and ResNet50-vgg8.

N images in a batch · K classes

Status: exact
Departures: none in the numbers.  Everything is computed from logarithms of probabilities, so that value and gradient
stay finite for any logits; the code's are not beyond a margin of about 88 · T.  The authors print the best epoch.
"""

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval

from methods.contract import Method
from methods.registry import register

Weight = Annotated[float, Interval(ge=0, le=1e6)]


@register("dkd")
class DKD(Method):
    derived = ("weight",)

    def __init__(
        self,
        student=None,
        teacher=None,
        *,
        alpha: Weight = 1.0,
        beta: Weight = 8.0,
        temperature: Annotated[float, Interval(ge=0.01, le=1000)] = 4.0,
        warm: Annotated[int, Interval(ge=0, le=100_000)] = 20,
    ):
        super().__init__()
        self.alpha, self.beta, self.temperature, self.warm = alpha, beta, temperature, warm
        self.register_buffer("weight", torch.ones(()), persistent=False)  # w; follows from the clock

    def begin_epoch(self, clock):
        self.weight.fill_(min((clock.epoch + 1) / max(self.warm, 1), 1))

    def loss(self, s, t, batch):
        target, others = self.parts(s.logits, t.logits, batch.y)
        return {
            "ce": F.cross_entropy(s.logits, batch.y),
            "tckd": self.weight * self.alpha * target,
            "nckd": self.weight * self.beta * others,
        }

    def parts(self, z_s, z_t, y):
        """TCKD and NCKD of logits (N, K) for the labels y (N,), two scalars."""
        (b_s, q_s), (b_t, q_t) = (log_parts(z / self.temperature, y) for z in (z_s, z_t))
        scale = self.temperature**2
        return scale * divergence(b_s, b_t), scale * divergence(q_s, q_t)


def log_parts(z, y):
    """Logarithms of (p_y, 1 - p_y), (N, 2), and of q, (N, K), which is 0 in the place of the target."""
    target = torch.arange(z.shape[1], device=y.device) == y[:, None]  # (N, K)
    others = z.masked_fill(target, float("-inf"))  # (N, K)
    ends = torch.stack([z.gather(1, y[:, None])[:, 0], others.logsumexp(1)], 1)  # (N, 2)
    return F.log_softmax(ends, dim=1), F.log_softmax(others, dim=1).masked_fill(target, 0)  # (N, 2), (N, K)


def divergence(log_s, log_t):
    """KL(teacher ‖ student), the mean over images; places where both logarithms are 0 add nothing."""
    return (log_t.exp() * (log_t - log_s)).sum(1).mean()
