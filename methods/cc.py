"""Correlation congruence.  Peng, Jin, Liu, Li, Wu, Liu, Zhou & Zhang, ICCV 2019, arXiv:1904.01802.

The images of a batch should correlate in the student as they do in the teacher, both seen through a trained linear
layer to 128 numbers.

    f = W e + b, for each network its own
    form="neighbours"   L = CE(y, z_S) + β / (N - 1) Σ_i d_i · d_(i+1),  d = |f_S - f_T|,  i + 1 follows i in the batch
    form="kernel"       L = CE(y, z_S) + β / N² ‖ K_S - K_T ‖_F,  K_ij = exp(-2γ) Σ_p (2γ)^p / p! (f_i · f_j)^p, |f| = 1

The first is the form behind the CRD benchmark's column (arXiv:1910.10699), with β = 0.02.  The second, a Gaussian
kernel's Taylor expansion between all pairs, p up to 2 and γ = 0.4, is the paper's as torchdistill reads it; its β is
not known.

N images in a batch · D width · E = 128

Status: exact
Departures: "neighbours" equals that benchmark's code, but for a batch of one image: its loss is 0 here, not a number
there.  That form depends on the order of the batch, and training both layers lets them shrink.  "kernel" was written
from its equation; the paper itself was not read.
"""

import math
from typing import Annotated, Literal

import torch.nn.functional as F
from annotated_types import Interval
from torch import nn

from methods.contract import Method
from methods.registry import register


@register("cc")
class CC(Method):
    def __init__(
        self,
        student,
        teacher,
        *,
        beta: Annotated[float, Interval(ge=0, le=1e9)] = 0.02,
        width: Annotated[int, Interval(ge=1, le=100_000)] = 128,
        form: Literal["neighbours", "kernel"] = "neighbours",
        gamma: Annotated[float, Interval(ge=0.001, le=100)] = 0.4,
        order: Annotated[int, Interval(ge=1, le=20)] = 2,
    ):
        super().__init__()
        self.beta, self.form, self.gamma, self.order = beta, form, gamma, order
        self.embed_student = nn.Linear(student.embedding, width)
        self.embed_teacher = nn.Linear(teacher.embedding, width)

    def loss(self, s, t, batch):
        f_s, f_t = self.embed_student(s.embedding), self.embed_teacher(t.embedding)  # (N, E), (N, E)
        gap = neighbour_gap(f_s, f_t) if self.form == "neighbours" else self.kernel_gap(f_s, f_t)
        return {"ce": F.cross_entropy(s.logits, batch.y), "cc": self.beta * gap}

    def kernel_gap(self, f_s, f_t):
        """Distance of the kernels between all pairs of images, over N², a scalar."""
        return (self.kernel(f_s) - self.kernel(f_t)).norm() / len(f_s) ** 2

    def kernel(self, f):
        """The expanded Gaussian kernel between images: (N, E) -> (N, N)."""
        f = F.normalize(f, dim=1)  # (N, E)
        cosine, g = f @ f.T, 2 * self.gamma  # (N, N)
        return math.exp(-g) * sum(g**p / math.factorial(p) * cosine**p for p in range(self.order + 1))  # (N, N)


def neighbour_gap(f_s, f_t):
    """How alike the differences of two images are that follow each other in the batch, mean over these, a scalar."""
    d = (f_s - f_t).abs()  # (N, E)
    return (d[:-1] * d[1:]).sum() / max(len(d) - 1, 1)
