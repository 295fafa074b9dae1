"""Metrics of a trained network, computed from its logits on the evaluation images.

M evaluation images · K classes · B bins
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.acceleration.machine import Machine
from benchmark.data.split import Split

BINS = 15  # of the calibration error, as in Guo et al., arXiv:1706.04599


def predict_logits(net: nn.Module, split: Split, machine: Machine, batch: int) -> tuple[Tensor, int]:
    """The network's logits for every image of a split, in order, in eval mode: (M, K) float32 on the CPU.

    batch: images to evaluate at once, halved for as long as memory runs out; the size that fitted is returned as well.
    Raises OutOfMemoryError if one image is too many.
    """
    training = net.training
    net.eval()
    try:
        while (found := logits_if_they_fit(net, split, machine, batch)) is None:
            batch = min(batch, len(split)) // 2
            machine.free_memory()
    finally:
        net.train(training)
    return found, batch


@torch.no_grad()
def logits_if_they_fit(net: nn.Module, split: Split, machine: Machine, batch: int) -> Tensor | None:
    """Logits as `predict_logits` returns them, None if memory ran out.  Raises OutOfMemoryError if `batch` is 1."""
    try:
        return torch.cat([machine.forward(net, each.x).logits for each in split.in_order(batch)]).cpu()  # (M, K)
    except torch.OutOfMemoryError:
        if batch == 1:
            raise
    return None


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
