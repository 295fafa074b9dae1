"""Distillation from a stronger teacher.  Huang, You, Wang, Qian & Xu, NeurIPS 2022, arXiv:2205.10536.

Student and teacher should agree in the relations between classes, and between images, not in the probabilities
themselves: their correlation is to be 1 in each row and in each column.

    L = CE(y, z_S) + w (β τ² (1 - mean_rows ρ) + γ τ² (1 - mean_columns ρ)),  ρ: of P_S and P_T,  P = softmax(z / τ)

A row is an image, a column a class over the batch.  τ = 4, β = γ = 1 and w = 2 are those of the authors' configuration
for CIFAR-100.

N images in a batch · K classes

Status: exact
Departures: none from the authors' code; the paper itself was not read.  In a batch of one image the columns are
constant, and their term is γ τ² without a gradient, as there.
"""

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval

from methods.contract import Method
from methods.registry import register

EPS = 1e-8  # added to the product of two lengths, as in the code

Weight = Annotated[float, Interval(ge=0, le=1e6)]


@register("dist")
class DIST(Method):
    tuned = ("weight",)

    def __init__(
        self,
        student=None,
        teacher=None,
        *,
        weight: Weight = 2.0,
        beta: Weight = 1.0,
        gamma: Weight = 1.0,
        tau: Annotated[float, Interval(ge=0.01, le=1000)] = 4.0,
    ):
        super().__init__()
        self.weight, self.beta, self.gamma, self.tau = weight, beta, gamma, tau

    def loss(self, s, t, batch):
        p_s, p_t = (F.softmax(o.logits / self.tau, dim=1) for o in (s, t))  # (N, K), (N, K)
        scale = self.weight * self.tau**2
        return {
            "ce": F.cross_entropy(s.logits, batch.y),
            "inter": scale * self.beta * (1 - correlations(p_s, p_t).mean()),
            "intra": scale * self.gamma * (1 - correlations(p_s.T, p_t.T).mean()),
        }


def correlations(a, b):
    """Pearson's correlation of each row of `a` with that of `b`: (N, K), (N, K) -> (N,)."""
    a, b = centred(a), centred(b)  # (N, K), (N, K)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + EPS)  # (N,)


def centred(x):
    """Rows (N, K) without their means; a constant row is exactly 0, as its first value is taken away before."""
    x = x - x[:, :1]  # (N, K)
    return x - x.mean(1, keepdim=True)  # (N, K)
