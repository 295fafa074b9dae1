"""Neuron selectivity transfer.  Huang & Wang, "Like What You Like", arXiv:1707.01219.

In each image, the student's channels should be active at the same places as the teacher's: the maximum mean
discrepancy between the two sets of channels, with the kernel k(a, b) = (a · b)².

    L = CE(y, z_S) + β Σ_stages [ mean k(φ_T, φ_T) + mean k(φ_S, φ_S) - 2 mean k(φ_S, φ_T) ]

φ: the channels of an image's map, each at unit length.  The means run over images and pairs of channels.  β = 50 is
that of the CRD benchmark (arXiv:1910.10699).

N images in a batch · C_S, C_T channels · H, W of a map

Status: exact
Departures: none from the code of the CRD benchmark; of two sizes the larger map is average-pooled, as there.  The
paper itself was not read; as remembered, it halves the weight and offers linear and Gaussian kernels as well.
"""

from typing import Annotated

import torch.nn.functional as F
from annotated_types import Interval

from methods.blocks import check_stages, to_smaller
from methods.contract import Method
from methods.registry import register

EPS = 1e-12  # the least length of a channel


@register("nst")
class NST(Method):
    def __init__(self, student=None, teacher=None, *, beta: Annotated[float, Interval(ge=0, le=1e6)] = 50.0):
        super().__init__()
        check_stages(student, teacher)
        self.beta = beta

    def loss(self, s, t, batch):
        pairs = zip(s.maps[1:], t.maps[1:], strict=True)
        gap = sum(discrepancy(*(f.flatten(2) for f in to_smaller(f_s, f_t))) for f_s, f_t in pairs)
        return {"ce": F.cross_entropy(s.logits, batch.y), "nst": self.beta * gap}


def discrepancy(a, b):
    """Squared maximum mean discrepancy of the channels a (N, C_S, H·W) and b (N, C_T, H·W) at unit length, a scalar.

    The dot products are divided by the lengths, not the channels before: there are fewer products than values.
    """
    aa, ab, bb = dot_products(a, a), dot_products(a, b), dot_products(b, b)
    of_a, of_b = lengths(aa), lengths(bb)
    return mean_kernel(bb, of_b, of_b) + mean_kernel(aa, of_a, of_a) - 2 * mean_kernel(ab, of_a, of_b)


def dot_products(a, b):
    """Of each image, every channel of a with every one of b: (N, C, H·W), (N, D, H·W) -> (N, C, D)."""
    return a @ b.transpose(1, 2)


def lengths(products):
    """The length of each channel, at least EPS, from its dot products (N, C, C): (N, C)."""
    return products.diagonal(dim1=1, dim2=2).clamp_min(EPS**2).sqrt()


def mean_kernel(products, of_a, of_b):
    """The mean of (a_c · b_d)² over images and pairs of channels c, d at unit length, a scalar.

    products (N, C, D): those of the channels as they are; of_a (N, C), of_b (N, D): their lengths.
    """
    return (products / of_a[:, :, None] / of_b[:, None]).square().mean()
