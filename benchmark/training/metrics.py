"""Metrics of a trained network, computed from its logits on the evaluation images.

M evaluation images · K classes · B bins
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.acceleration.machine import Machine
from benchmark.data.split import Split
from methods.contract import Outputs

Computed = TypeVar("Computed")
BINS = 15  # of the calibration error, as in Guo et al., arXiv:1706.04599


def predict_logits(net: nn.Module, split: Split, machine: Machine, batch: int) -> tuple[Tensor, int]:
    """The network's logits for every image of a split, in order, in eval mode: (M, K) float32 on the CPU.

    batch: images to evaluate at once, halved for as long as memory runs out; the size that fitted is returned as well.
    Raises OutOfMemoryError if one image is too many.
    """
    training = net.training
    net.eval()
    try:
        forward = partial(machine.forward, net)
        return largest_batch(lambda size: logits_in_order(forward, split, size), len(split), batch, machine)
    finally:
        net.train(training)


@torch.no_grad()
def logits_in_order(forward: Callable[[Tensor], Outputs], split: Split, batch: int) -> Tensor:
    """The logits of every image of a split, in order, in batches of this size: (M, K) float32 on the CPU."""
    return torch.cat([forward(each.x).logits for each in split.in_order(batch)]).cpu()


def largest_batch(compute: Callable[[int], Computed], count: int, batch: int, machine: Machine) -> tuple[Computed, int]:
    """What `compute` returns for the batch, halved for as long as memory runs out, and the size that fitted.

    count: images that there are; a larger batch is no smaller than that.  Raises OutOfMemoryError if a batch of one
    is too large.
    """
    while True:
        try:
            return compute(batch), batch
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        batch = min(batch, count) // 2  # after the exception is gone: its trace holds the tensors of the failed attempt
        machine.free_memory()


def top1(z: Tensor, y: Tensor) -> float:
    """Top-1 accuracy, from 0 to 1, of logits z (M, K) against labels y (M,)."""
    return (z.argmax(1) == y).double().mean().item()


def all_metrics(z: Tensor, y: Tensor, teacher: Tensor | None = None) -> dict[str, float | None]:
    """All metrics of logits z (M, K) against labels y (M,) and, if given, against the teacher's logits (M, K).

    From 0 to 1: top1 and top5 (accuracies), ece (expected calibration error), agreement (share of images with the same
    top class as the teacher).  In nats: nll (negative log-likelihood), kl (mean KL(teacher ‖ student), temperature 1).
    Without a teacher agreement and kl are None.
    """
    log_p = F.log_softmax(z.double(), dim=1)  # (M, K)
    top = z.topk(min(5, z.shape[1]), dim=1).indices  # (M, 5)
    found: dict[str, float | None] = {
        "top1": top1(z, y),
        "top5": (top == y[:, None]).any(1).double().mean().item(),
        "nll": F.nll_loss(log_p, y).item(),
        "ece": calibration_error(log_p.exp(), y),
        "agreement": None,
        "kl": None,
    }
    if teacher is not None:
        log_t = F.log_softmax(teacher.double(), dim=1)  # (M, K)
        found["agreement"] = (z.argmax(1) == teacher.argmax(1)).double().mean().item()
        found["kl"] = F.kl_div(log_p, log_t, reduction="batchmean", log_target=True).item()
    return found


def calibration_error(p: Tensor, y: Tensor) -> float:
    """Expected calibration error of probabilities p (M, K) against labels y (M,).

    The mean of |accuracy - confidence| over BINS bins of equal width, each weighted by its share of the images;
    confidence is the probability of the top class.
    """
    confidence, top = p.max(1)  # (M,), (M,)
    correct = (top == y).double()  # (M,)
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1  # (M,)
    gap = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins, confidence - correct)  # (B,)
    return (gap.abs().sum() / len(y)).item()
