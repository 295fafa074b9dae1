"""Feature mimicking by locality-sensitive hashing.  Wang, Ge & Wu, TPAMI 2021, arXiv:2011.01424.

The student's last feature should fall on the same side of random planes as the teacher's: its direction counts more
than its length.

    h = W f + b        L_lsh = mean BCE(sigmoid(h_S), [h_T > 0])        L_l2 = mean (f_S - f_T)²
    L = CE(y, z_S) + β {L_l2 | L_lsh | L_l2 + L_lsh | L_l2 + L_lsh over the images that the teacher gets right}

The variants are called l2, lsh, lshl2 and lshl2_s.

W ~ N(0, std²), by default the spread of the teacher's classifier weights; b = -median of W f_T over the training
set. Where widths differ, a linear layer before the student's classifier brings its features to the teacher's width;
it stays. β, 32·D hashes and `lshl2_s` are those of the authors' code for CIFAR-100.

N images in a batch · D the teacher's width · M images to train on · J hashes

Status: adapted
Departures: the median is taken over the training images without augmentation, in order (the authors: augmented,
shuffled). With no image that the teacher gets right the term is 0 (the authors' code: NaN).  A hash within rounding
of 0 is not above 0.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from methods.contract import Method, Unfit
from methods.registry import register

ROUNDING = 1e-6  # of a hash, relative to the lengths of its two vectors
CHUNK = 64  # hash functions whose values over the training set are held at once


@register("lsh")
class LSH(Method):
    def __init__(
        self,
        student,
        teacher,
        *,
        variant: Literal["l2", "lsh", "lshl2", "lshl2_s"] = "lshl2_s",
        hashes: int | None = None,  # 32·D
        std: float | None = None,  # of the teacher's classifier weights
        bias: Literal["median", "mean", "zero"] = "median",
        beta: float = 6.0,
    ):
        super().__init__()
        width = teacher.embedding
        self.variant, self.std, self.how, self.beta = variant, std, bias, beta
        self.register_buffer("weight", torch.randn(hashes or 32 * width, width).mul_(std or 1.0))  # (J, D)
        self.register_buffer("bias", torch.zeros(len(self.weight)))  # (J,)

    def prepare(self, student, teacher, sweep):
        if not isinstance(getattr(teacher, "head", None), nn.Linear):
            raise Unfit("the teacher has no linear classifier to take the spread of its weights from")
        if self.std is None:
            self.weight.mul_(teacher.head.weight.std())
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
        """The chosen terms of each image, (N,)."""
        l2 = (f_s - f_t).square().mean(1)  # (N,)
        if self.variant == "l2":
            return l2
        h_t = F.linear(f_t, self.weight) + self.bias  # (N, J)
        lengths = f_t.norm(dim=1)[:, None] * self.weight.norm(dim=1)  # (N, J)
        above = (h_t > ROUNDING * lengths).to(f_s.dtype)  # (N, J)
        h_s = F.linear(f_s, self.weight, self.bias)  # (N, J)
        hash_ = F.binary_cross_entropy_with_logits(h_s, above, reduction="none").mean(1)  # (N,)
        return hash_ if self.variant == "lsh" else l2 + hash_


def middle(features, weight, how):
    """Lower median or mean of each hash over the training set, (J,).

    features: of the training images, in batches (N, D).  A chunk of hashes at a time bounds the memory: beside the
    features there are never more than CHUNK values for each image.
    """
    if how == "mean":
        return weight @ (sum(f.sum(0) for f in features) / sum(map(len, features)))
    chunks = (torch.cat([part @ f.T for f in features], dim=1) for part in weight.split(CHUNK))  # (CHUNK, M) each
    return torch.cat([values.median(1).values for values in chunks])
