"""What trained networks show for the judged images, in float32 whatever they were trained in.

M judged images · n of them chosen · D width · K classes
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmark import models, seeds, weights
from benchmark.accelerate import Machine
from benchmark.data import Split
from benchmark.datasets import Dataset
from benchmark.errors import BadInput
from benchmark.run import Run
from benchmark.store import Store
from methods.sp import likeness

CLASSES, ALIKE, SHOWN = 10, 8, 20  # classes to draw; images of each in a matrix of likeness, in a map of points


@dataclass(frozen=True, slots=True)
class Scene:
    """Where networks look: the judged images, and the few of them that are drawn, sorted by class."""

    store: Store
    here: Machine
    judged: Split
    classes: int
    few: Split  # the images of a matrix of likeness
    shown: Tensor  # (n,)  places of the images in a map of points


@dataclass(frozen=True, slots=True)
class Sight:
    """What one network shows, on the CPU."""

    embedding: np.ndarray  # (M, D)  float64
    logits: np.ndarray  # (M, K)  float64
    likeness: np.ndarray  # (n, n)  of the last map, float64


def scene(store: Store, here: Machine, judged: Split, data: Dataset) -> Scene:
    """The scene of a data set: the same images each time."""
    classes, y = len(data.classes), judged.y.cpu()
    few = chosen(y, classes, ALIKE).to(here.device)
    alike = Split(judged.x[few], judged.y[few], data.statistics, here.device)
    return Scene(store, here, judged, classes, alike, chosen(y, classes, SHOWN))


def chosen(y: Tensor, classes: int, each: int) -> Tensor:
    """Places of the first `each` images of CLASSES classes, evenly spread over the labels and sorted by them."""
    labels = torch.arange(classes)[:: max(1, classes // CLASSES)][:CLASSES]
    return torch.cat([(y == label).nonzero().flatten()[:each] for label in labels])


@torch.no_grad()
def look(run: Run, where: Scene) -> Sight:
    """What the kept weights of a run show.  Raises BadInput when they are gone or damaged."""
    path = where.store.weights(run.id)
    if path is None:
        raise BadInput(f"the weights of {run.student} ({run.id}) are not in {where.store.root}: train it again")
    net = weights.unpack(path, run.student, where.classes)
    frozen = where.here.freeze(net, next(where.judged.plain(64)).x)
    seen = [(o.embedding, o.logits) for o in (frozen(batch.x) for batch in where.judged.plain())]
    embedding, logits = (array(torch.cat(parts)) for parts in zip(*seen, strict=True))  # (M, D), (M, K)
    return Sight(embedding, logits, alike(frozen, where))


def untrained(run: Run, where: Scene) -> np.ndarray:
    """Likeness of the images in a student's first weights, which all methods start from, (n, n).

    Normalised by the statistics of these images, as in a first step of training: there are no others yet.
    """
    with seeds.scope("init", run.seed, run.student):
        net = where.here.place(models.build(run.student, where.classes))
        return alike(net.train(), where)


@torch.no_grad()
def alike(net: nn.Module, where: Scene) -> np.ndarray:
    """SP's matrix of likeness of a network's last map, (n, n)."""
    (batch,) = where.few.plain(len(where.few))
    return array(likeness(net(batch.x).maps[-1].float()))


def array(value: Tensor) -> np.ndarray:
    """A tensor in double precision in the processor's memory."""
    return value.double().cpu().numpy()
