"""What a trained network is worth: metrics of its logits on the judged images.

M judged images · K classes · B bins
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.acceleration.machine import Machine
from benchmark.data.split import Split

BINS = 15  # of the calibration error, as Guo et al. (arXiv:1706.04599) use


@torch.no_grad()
def predict_logits(net: nn.Module, split: Split, machine: Machine) -> Tensor:
    """The network's logits for every image of a split, in order, in eval mode: (M, K) float32 on the CPU."""
    training = net.training
    net.eval()
    found = torch.cat([machine.forward(net, batch.x).logits for batch in split.in_order(machine.eval_batch)])  # (M, K)
    net.train(training)
    return found.cpu()


def top1(z: Tensor, y: Tensor) -> float:
    """The share of images whose top class is right; z (M, K), y (M,)."""
    return (z.argmax(1) == y).double().mean().item()


def all_metrics(z: Tensor, y: Tensor, teacher: Tensor | None = None) -> dict[str, float | None]:
    """All metrics of logits z (M, K) against labels y (M,) and, where there is one, the teacher's logits (M, K).

    Shares from 0 to 1: top1, top5, ece (expected calibration error), agreement (the same top class as the teacher).
    In nats: nll (negative log-likelihood), kl (mean KL(teacher ‖ student) at temperature 1).
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
    """The gap between confidence and accuracy, averaged over BINS bins of confidence by their share of images."""
    confidence, top = p.max(1)  # (M,), (M,)
    right = (top == y).double()
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1  # (M,)
    gap = torch.zeros(BINS, dtype=torch.float64).index_add_(0, place, confidence - right)  # (B,)
    return (gap.abs().sum() / len(y)).item()
