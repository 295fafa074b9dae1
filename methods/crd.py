"""Contrastive representation distillation.  Tian, Krishnan & Isola, ICLR 2020, arXiv:1910.10699.

An image's embedding in the student should be near its own embedding in the teacher and far from those of other images,
and the other way round.  Embeddings of earlier steps wait in two memories.

    u = unit(W_S e_S + b_S), v = unit(W_T e_T + b_T), 128 numbers each      L = CE(y, z_S) + β (ℓ(u, M_T) + ℓ(v, M_S))
    ℓ(u, M) = -mean [ log a_0 / (a_0 + κ + ε) + Σ_k log κ / (a_k + κ + ε) ],  a_k = exp(u · M_k / T) / Z, κ = K / n
    after a step, for its images: M_S = unit(m M_S + (1 - m) u), M_T = unit(m M_T + (1 - m) v)

a_0 is that of the image itself, a_1 … a_K of images of other classes, drawn anew for each image in each epoch without
replacement.  Z = n · mean exp(u · M_k / T) over the first batch, constant from then on; no gradient passes through
memories and Z.  β = 0.8, K = 16384, T = 0.07 and m = 0.5 are those of the authors' code.  Both layers are trained.
What papers call CRD+KD is `crd+kd` with kd.alpha = 1.

N images in a batch · n training images · D = 128

Status: exact
Departures: none in the numbers from the authors' code; the paper's temperature is 0.1.  A linear output of 0 stays 0
here, and is not a number there.  If there are fewer than K images of other classes, all of them are taken, and K is
their number.  Which images are drawn follows from seed, epoch and image by a hash, not from a generator's sequence:
the training set is shuffled anew for each epoch, and each image has a start and a stride of its own in that order.
"""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Interval
from torch import nn

from methods.contract import Method
from methods.registry import register

EPS = 1e-7  # ε, as in the code
MASK = (1 << 32) - 1  # of the bits of a hash


@register("crd")
class CRD(Method):
    derived = ("labels", "key", "salt", "order", "strides", "next_s", "next_t", "next_z")
    tuned = ("beta",)

    def __init__(
        self,
        student,
        teacher,
        *,
        beta: Annotated[float, Interval(ge=0, le=1e6)] = 0.8,
        k: Annotated[int, Interval(ge=1, le=10_000_000)] = 16_384,
        temperature: Annotated[float, Interval(ge=0.05, le=1000)] = 0.07,  # below, exp of it is no float32
        momentum: Annotated[float, Interval(ge=0, lt=1)] = 0.5,
        width: Annotated[int, Interval(ge=1, le=100_000)] = 128,
    ):
        super().__init__()
        self.beta, self.k, self.temperature, self.momentum, self.width = beta, k, temperature, momentum, width
        self.embed_student = nn.Linear(student.embedding, width)
        self.embed_teacher = nn.Linear(teacher.embedding, width)
        self.register_buffer("key", torch.randint(1 << 31, ()), persistent=False)  # follows from the run's seed
        self.register_buffer("salt", torch.zeros((), dtype=torch.int64), persistent=False)  # of an epoch's draws
        self.register_buffer("z", torch.zeros(2))  # Z with M_T and with M_S; 0 until the first batch

    def prepare(self, student, teacher, sweep):
        self.remember(torch.cat([batch.y for _, batch in sweep()]))

    def remember(self, labels):
        """Set up the memories of a training set with these labels (n,)."""
        bound = (3 / self.width) ** 0.5
        n = len(labels)
        everyone = torch.arange(n, device=labels.device)
        largest = n if labels.is_meta else int(labels.bincount().max())  # images of the most frequent class
        self.most = min(n, self.k + largest)  # images of a walk; K of them are of other classes, if so many are
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("order", everyone, persistent=False)  # (n,)  shuffled by begin_epoch
        strides = [stride for stride in range(n) if math.gcd(stride, n) == 1]  # a walk with one meets every image once
        self.register_buffer("strides", torch.tensor(strides, device=labels.device), persistent=False)
        for name in ("s", "t"):
            memory = torch.rand(n, self.width) * 2 * bound - bound  # (n, D)
            self.register_buffer(f"memory_{name}", memory)
            self.register_buffer(f"next_{name}", torch.zeros_like(memory), persistent=False)  # from loss to observe
        self.register_buffer("next_z", torch.zeros(2), persistent=False)

    def begin_epoch(self, clock):
        self.salt.copy_(scramble((self.key + clock.epoch) & MASK))
        everyone = torch.arange(len(self.order), device=self.order.device)
        self.order.copy_(scramble(everyone ^ self.salt).argsort())

    def loss(self, s, t, batch):
        u = F.normalize(self.embed_student(s.embedding), dim=1)  # (N, D)
        v = F.normalize(self.embed_teacher(t.embedding), dim=1)  # (N, D)
        places = torch.cat([batch.index[:, None], self.negatives(batch)], 1)  # (N, K + 1)
        used = places != batch.index[:, None]  # (N, K + 1)
        used[:, 0] = True
        sides = ((u, self.memory_t), (v, self.memory_s))
        raw = [((e / self.temperature) @ memory.T).gather(1, places).exp() for e, memory in sides]  # (N, K + 1) each
        with torch.no_grad():
            first = torch.stack([(a * used).sum() for a in raw]) * len(self.labels) / used.sum()  # (2,)
            z = torch.where(self.z > 0, self.z, first)  # (2,)
            self.next_z.copy_(z)
            self.next_s.index_copy_(0, batch.index, u)
            self.next_t.index_copy_(0, batch.index, v)
        share = (used.sum(1, keepdim=True) - 1) / len(self.labels)  # (N, 1)  κ
        value = contrast(raw[0] / z[0], share, used) + contrast(raw[1] / z[1], share, used)
        return {"ce": F.cross_entropy(s.logits, batch.y), "crd": self.beta * value}

    def negatives(self, batch):
        """The K training images that each image is compared with, (N, K); itself in place of those that there are not.

        Lookups are flat gathers: on a CPU they take a quarter of the time of an index.
        """
        n, own = len(self.labels), scramble(batch.index ^ self.salt)  # (N,)
        start, stride = scramble(own ^ 1) % n, self.strides[scramble(own ^ 2) % len(self.strides)]  # (N,) each
        k = min(self.k, n - 1)
        steps = torch.arange(self.most, device=own.device)  # (C,)
        places = (start[:, None] + stride[:, None] * steps) % n  # (N, C)
        walk = self.order.gather(0, places.flatten())  # (N * C,)  each image's are all different
        other = self.labels.gather(0, walk).view_as(places) != batch.y[:, None]  # (N, C)
        rank = other.cumsum(1)  # (N, C)  from 1
        column = torch.where(other & (rank <= k), rank - 1, k)  # (N, C)  the last one takes what is not wanted
        found = batch.index[:, None].repeat(1, k + 1)  # (N, K + 1)  the image itself where there are too few others
        return found.scatter_(1, column, walk.view_as(places))[:, :k]

    def observe(self, s, t, batch):
        self.z.copy_(self.next_z)
        for memory, following in ((self.memory_s, self.next_s), (self.memory_t, self.next_t)):
            mixed = self.momentum * memory[batch.index] + (1 - self.momentum) * following[batch.index]  # (N, D)
            memory.index_copy_(0, batch.index, F.normalize(mixed, dim=1))


def scramble(x):
    """A hash of integers below 2³², of the same shape; different numbers have different hashes."""
    for _ in range(2):
        x = ((x >> 16) ^ x) * 0x45D9F3B & MASK
    return (x >> 16) ^ x


def contrast(a, share, used):
    """The loss ℓ of scores a (N, K + 1), the image's own first, with κ = share (N, 1); others count where `used`."""
    below = (a + share + EPS).log()  # (N, K + 1)
    others = torch.where(used, share.log() - below, 0)[:, 1:].sum(1)  # (N,)
    return -(a[:, 0].log() - below[:, 0] + others).mean()
