"""Kernel transfer through a Nyström approximation, class centres as landmarks.  Qian, Li & Hu, arXiv:2009.14416.

The kernel between images and landmarks should be the same for student and teacher, each with landmarks of its own.

    L = CE(y, z_S) + α Σ smoothL1(f_S C_Sᵀ - f_T C_Tᵀ) / ‖ f_T C_Tᵀ ‖_F    from epoch `warm` on; before, CE alone

C, landmarks="centres": the mean features of each class over the previous epoch, the student's as it moved.
C, landmarks="random":  the features, in the previous epoch, of M training images fixed by chance: plain Nyström.
The sum runs over images and landmarks, the norm over the whole batch, so α is tied to the batch size, 256 in the
authors' code, and to the scale of features.

N images in a batch · K classes · M landmarks, by default and with centres K · D_S, D_T widths

Status: exact
Departures: none from the authors' code (centres, before the classifier; α = 0.04 and 5 epochs of warm-up are its
values).  at="classifier" takes logits for features, landmarks="random" is the paper's baseline: for neither could
hyper-parameters be read, these are the same.  A class that an epoch did not show keeps its last centre.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Interval

from methods.contract import BadKnob, Method
from methods.registry import register

WARM = 5  # epochs before the term starts; in a shorter recipe, such as that of a first try, it never does


@register("kda")
class KDA(Method):
    def __init__(
        self,
        student,
        teacher,
        *,
        alpha: Annotated[float, Interval(ge=0, le=1e6)] = 0.04,
        warm: Annotated[int, Interval(ge=0, le=100_000)] = WARM,
        landmarks: Literal["centres", "random"] = "centres",
        m: Annotated[int, Interval(ge=1, le=1_000_000)] | None = None,  # random landmarks; else as many as classes
        at: Literal["embedding", "classifier"] = "embedding",
    ):
        super().__init__()
        if m is not None and landmarks == "centres":
            raise BadKnob("m", m, "centres are as many as classes; a number goes with landmarks=random")
        self.alpha, self.warm, self.landmarks, self.at, self.on = alpha, warm, landmarks, at, True
        count = m or student.logits  # M
        for name, shape in (("s", student), ("t", teacher)):
            width = shape.embedding if at == "embedding" else shape.logits
            self.register_buffer(f"centre_{name}", torch.zeros(count, width))  # (M, D)
            self.register_buffer(f"sum_{name}", torch.zeros(count, width))  # (M, D)
        self.register_buffer("count", torch.zeros(count))  # (M,)
        if landmarks == "random":
            self.register_buffer("image", torch.full((count + 1,), -1))  # (M + 1,)  the last is a bin
            self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def stages(self, epochs):
        if self.warm >= epochs and self.warm != WARM:
            raise BadKnob("warm", self.warm, f"the term never starts in {epochs} epochs; give 0 to {epochs - 1}")
        return super().stages(epochs)

    def begin_epoch(self, clock):
        self.on = clock.epoch >= self.warm
        shown = (self.count > 0)[:, None]  # (M, 1)
        for name in ("s", "t"):
            centre, total = getattr(self, f"centre_{name}"), getattr(self, f"sum_{name}")
            centre.copy_(torch.where(shown, total / self.count[:, None].clamp_min(1), centre))
            total.zero_()
        self.count.zero_()

    def observe(self, s, t, batch):
        place, weight = self.places(batch)  # (N,), (N,)
        self.sum_s.index_add_(0, place, weight[:, None] * self.features(s))
        self.sum_t.index_add_(0, place, weight[:, None] * self.features(t))
        self.count.index_add_(0, place, weight)

    def places(self, batch):
        """The landmark that each image is part of, and 1 if it is part of one, else 0: (N,), (N,)."""
        if self.landmarks == "centres":
            return batch.y, torch.ones_like(batch.y, dtype=self.count.dtype)
        order = self.seen + torch.arange(len(batch.index), device=batch.index.device)  # (N,)
        self.image[order.clamp_max(len(self.count))] = batch.index  # the first M images that training shows
        self.seen += len(order)
        match = batch.index[:, None] == self.image[:-1]  # (N, M)
        return match.int().argmax(1), match.any(1).to(self.count.dtype)

    def loss(self, s, t, batch):
        terms = {"ce": F.cross_entropy(s.logits, batch.y)}
        if self.on:
            k_s = self.features(s) @ self.centre_s.T  # (N, M)
            k_t = self.features(t) @ self.centre_t.T  # (N, M)
            gap = F.smooth_l1_loss(k_s, k_t, reduction="sum")
            terms["kda"] = self.alpha * gap / k_t.norm().clamp_min(torch.finfo(k_t.dtype).tiny)
        return terms

    def features(self, o):
        """What the kernel is taken of, (N, D)."""
        return o.embedding if self.at == "embedding" else o.logits
