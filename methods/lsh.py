"""Feature mimicking by locality-sensitive hashing.  Wang, Ge & Wu, TPAMI 2021, arXiv:2011.01424.

The student's last feature should lie on the same side of random hyperplanes as the teacher's, so that its direction
matters more than its length.

    h = W f + b        L_lsh = mean BCE(sigmoid(h_S), [h_T > 0])        L_l2 = mean (f_S - f_T)²
    L = CE(y, z_S) + β {L_l2 | L_lsh | L_l2 + L_lsh | L_l2 + L_lsh over images that the teacher classifies correctly}

The variants are called l2, lsh, lshl2 and lshl2_s.

W ~ N(0, std²), std by default the standard deviation of the teacher's classifier weights; b = -median of W f_T over the
training set.  Where widths differ, a linear layer before the student's classifier maps its features to the teacher's
width; it remains in the student.  β, 32·D hashes and `lshl2_s` are those of the authors' code for CIFAR-100.

N images in a batch · D the teacher's width · M images to train on · J hashes

Status: adapted
Departures: the median is computed over the training images without augmentation, in order (the authors: augmented,
shuffled).  If the teacher classifies no image correctly, the term is 0 (the authors' code: NaN).  A hash that differs
from 0 by rounding only does not count as above 0.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import nn

from methods.contract import Method, Unfit
from methods.registry import register

ROUNDING = 1e-6  # of a hash, relative to the lengths of its two vectors
CHUNK = 64  # hash functions whose values over the training set are in memory at once


@register("lsh")
class LSH(Method):
    derived = ("norms",)

    def __init__(
        self,
        student,
        teacher,
        *,
        variant: Literal["l2", "lsh", "lshl2", "lshl2_s"] = "lshl2_s",
        hashes: Annotated[int, Interval(ge=1, le=1_000_000)] | None = None,  # 32·D
        std: Annotated[float, Interval(ge=1e-6, le=1e6)] | None = None,  # of the teacher's classifier weights
        bias: Literal["median", "mean", "zero"] = "median",
        beta: Annotated[float, Interval(ge=0, le=1e6)] = 6.0,
    ):
        super().__init__()
        width = teacher.embedding
        self.variant, self.std, self.how, self.beta = variant, std, bias, beta
        weight = torch.randn(hashes or 32 * width, width).mul_(std or 1.0)  # (J, D)
        self.register_buffer("weight", weight, persistent=False)  # not saved: it follows from the seed
        self.register_buffer("norms", weight.norm(dim=1), persistent=False)  # (J,)  of the weight's rows
        self.register_buffer("bias", torch.zeros(len(weight)))  # (J,)

    def prepare(self, student, teacher, sweep):
        if not isinstance(getattr(teacher, "head", None), nn.Linear):
            raise Unfit("the teacher has no linear classifier whose weights have a standard deviation")
        if self.std is None:
            self.weight.mul_(teacher.head.weight.std())
            self.norms.copy_(self.weight.norm(dim=1))
        raw, width, classes = student.head.in_features, self.weight.shape[1], student.head.out_features
        if raw != width:
            student.embed, student.head = nn.Linear(raw, width), nn.Linear(width, classes)
        if self.how != "zero":
            features = [t.embedding for t, _ in sweep()]  # of each batch (N, D)
            self.bias.copy_(-middle(features, self.weight, self.how))

    def loss(self, s, t, batch):
        each = self.terms(s.embedding, t.embedding)  # (N,)
        if self.variant == "lshl2_s":
            right = (t.logits.argmax(1) == batch.y).to(each.dtype)  # (N,)
            value = (each * right).sum() / right.sum().clamp_min(1)
        else:
            value = each.mean()
        return {"ce": F.cross_entropy(s.logits, batch.y), "lsh": self.beta * value}

    def terms(self, f_s, f_t):
        """The variant's terms for each image, (N,)."""
        l2 = (f_s - f_t).square().mean(1)  # (N,)
        if self.variant == "l2":
            return l2
        h_t = F.linear(f_t, self.weight) + self.bias  # (N, J)
        lengths = f_t.norm(dim=1)[:, None] * self.norms  # (N, J)
        above = (h_t > ROUNDING * lengths).to(f_s.dtype)  # (N, J)
        h_s = F.linear(f_s, self.weight, self.bias)  # (N, J)
        hash_ = F.binary_cross_entropy_with_logits(h_s, above, reduction="none").mean(1)  # (N,)
        return hash_ if self.variant == "lsh" else l2 + hash_


def middle(features, weight, how):
    """Lower median or mean of each hash over the training set, (J,).

    features: of the training images, in batches (N, D).  Hashes are computed in chunks to bound the memory: in addition
    to the features there are never more than CHUNK values for each image.
    """
    if how == "mean":
        return weight @ (sum(f.sum(0) for f in features) / sum(map(len, features)))
    chunks = (torch.cat([part @ f.T for f in features], dim=1) for part in weight.split(CHUNK))  # (CHUNK, M) each
    return torch.cat([values.median(1).values for values in chunks])
