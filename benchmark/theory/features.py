"""What trained networks show for the judged images, in float32 whatever they were trained in.

M judged images · n of them chosen · D width · K classes
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmark import models
from benchmark.acceleration.machine import Machine
from benchmark.data.datasets import Dataset
from benchmark.data.split import Split
from benchmark.errors import BadInput
from benchmark.experiment import seeds
from benchmark.experiment.run import Run
from benchmark.store import Store
from benchmark.training import weights
from methods.sp import likeness

CLASSES, ALIKE, SHOWN = 10, 8, 20  # classes to draw; images of each in a matrix of likeness, in a map of points


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Where networks look: the judged images, and the few of them that are drawn, sorted by class."""

    store: Store
    here: Machine
    eval_split: Split
    classes: int
    few: Split  # the images of a matrix of likeness
    shown: Tensor  # (n,)  places of the images in a map of points


@dataclass(frozen=True, slots=True)
class NetworkFeatures:
    """What one network shows, on the CPU."""

    embedding: np.ndarray  # (M, D)  float64
    logits: np.ndarray  # (M, K)  float64
    likeness: np.ndarray  # (n, n)  of the last map, float64


def evaluation_set(store: Store, here: Machine, judged: Split, data: Dataset) -> EvaluationSet:
    """The scene of a data set: the same images each time."""
    classes, y = len(data.classes), judged.y.cpu()
    few = choose_images(y, classes, ALIKE).to(here.device)
    alike = Split(judged.x[few], judged.y[few], data.statistics, here.device)
    return EvaluationSet(store, here, judged, classes, alike, choose_images(y, classes, SHOWN))


def choose_images(y: Tensor, classes: int, each: int) -> Tensor:
    """Places of the first `each` images of CLASSES classes, evenly spread over the labels and sorted by them."""
    labels = torch.arange(classes)[:: max(1, classes // CLASSES)][:CLASSES]
    return torch.cat([(y == label).nonzero().flatten()[:each] for label in labels])


@torch.no_grad()
def extract(run: Run, where: EvaluationSet) -> NetworkFeatures:
    """What the kept weights of a run show.  Raises BadInput when they are gone or damaged."""
    path = where.store.weights(run.id)
    if path is None:
        raise BadInput(f"the weights of {run.student} ({run.id}) are not in {where.store.root}: train it again")
    net = weights.load_network(path, run.student, where.classes)
    frozen = where.here.freeze(net, next(where.eval_split.in_order(64)).x)
    seen = [(o.embedding, o.logits) for o in (frozen(batch.x) for batch in where.eval_split.in_order())]
    embedding, logits = (array(torch.cat(parts)) for parts in zip(*seen, strict=True))  # (M, D), (M, K)
    return NetworkFeatures(embedding, logits, similarity(frozen, where))


def untrained_similarity(run: Run, where: EvaluationSet) -> np.ndarray:
    """Likeness of the images in a student's first weights, which all methods start from, (n, n).

    Normalised by the statistics of these images, as in a first step of training: there are no others yet.
    """
    with seeds.scope("init", run.seed, run.student):
        net = where.here.to_device(models.build(run.student, where.classes))
        return similarity(net.train(), where)


@torch.no_grad()
def similarity(net: nn.Module, where: EvaluationSet) -> np.ndarray:
    """SP's matrix of likeness of a network's last map, (n, n)."""
    (batch,) = where.few.in_order(len(where.few))
    return array(likeness(net(batch.x).maps[-1].float()))


def array(value: Tensor) -> np.ndarray:
    """A tensor in double precision in the processor's memory."""
    return value.double().cpu().numpy()
