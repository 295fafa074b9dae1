"""Kernel transfer through a Nyström approximation, class centres as landmarks.  Qian, Li & Hu, arXiv:2009.14416.

The kernel between images and class centres should be the same for student and teacher, each with centres of its
own.

    L = CE(y, z_S) + α Σ smoothL1(f_S C_Sᵀ - f_T C_Tᵀ) / ‖ f_T C_Tᵀ ‖_F    from epoch `warm` on; before, CE alone

C: mean features of each class over the previous epoch, the student's as it moved.  The sum runs over images and
centres, the norm over the whole batch, so α is tied to the batch size, 256 in the authors' code, and to the scale
of features.

N images in a batch · K classes · D_S, D_T widths

Status: exact
Departures: none from the authors' code (before the classifier; α = 0.04 and 5 epochs of warm-up are its values).
`at="classifier"` takes logits for features; the paper's hyper-parameters for it could not be read, these are the
same. A class that an epoch did not show keeps its last centre.
"""

from typing import Literal

import torch
import torch.nn.functional as F

from methods.contract import Method
from methods.registry import register


@register("kda")
class KDA(Method):
    def __init__(
        self,
        student,
        teacher,
        *,
        alpha: float = 0.04,
        warm: int = 5,
        at: Literal["embedding", "classifier"] = "embedding",
    ):
        super().__init__()
        self.alpha, self.warm, self.at, self.on = alpha, warm, at, True
        for name, shape in (("s", student), ("t", teacher)):
            width = shape.embedding if at == "embedding" else shape.logits
            self.register_buffer(f"centre_{name}", torch.zeros(shape.logits, width))  # (K, D)
            self.register_buffer(f"sum_{name}", torch.zeros(shape.logits, width))  # (K, D)
        self.register_buffer("count", torch.zeros(student.logits))  # (K,)

    def begin_epoch(self, clock):
        self.on = clock.epoch >= self.warm
        seen = (self.count > 0)[:, None]  # (K, 1)
        for name in ("s", "t"):
            centre, total = getattr(self, f"centre_{name}"), getattr(self, f"sum_{name}")
            centre.copy_(torch.where(seen, total / self.count[:, None].clamp_min(1), centre))
            total.zero_()
        self.count.zero_()

    def observe(self, s, t, batch):
        self.sum_s.index_add_(0, batch.y, self.features(s))
        self.sum_t.index_add_(0, batch.y, self.features(t))
        self.count.index_add_(0, batch.y, torch.ones_like(batch.y, dtype=self.count.dtype))

    def loss(self, s, t, batch):
        terms = {"ce": F.cross_entropy(s.logits, batch.y)}
        if self.on:
            k_s = self.features(s) @ self.centre_s.T  # (N, K)
            k_t = self.features(t) @ self.centre_t.T  # (N, K)
            gap = F.smooth_l1_loss(k_s, k_t, reduction="sum")
            terms["kda"] = self.alpha * gap / k_t.norm().clamp_min(torch.finfo(k_t.dtype).tiny)
        return terms

    def features(self, o):
        """What the kernel is taken of, (N, D)."""
        return o.embedding if self.at == "embedding" else o.logits
