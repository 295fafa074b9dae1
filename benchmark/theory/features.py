"""Features of trained networks on the evaluation images, computed in float32 whatever their training precision was.

M evaluation images · n of them selected · D width · K classes
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

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
from benchmark.training.metrics import largest_batch
from methods.sp import likeness

DRAWN_CLASSES = 10  # at most, in the similarity matrices and t-SNE maps
BATCH = 500  # images, fewer where memory runs out
MATRIX_IMAGES, MAP_IMAGES = 8, 20  # of each class in a similarity matrix, in a t-SNE map


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """The evaluation images and the selections of them that the report draws, each sorted by class."""

    store: Store
    machine: Machine
    eval_split: Split
    classes: int
    matrix_split: Split  # the images of a similarity matrix
    map_index: Tensor  # (n,)  indices of the images of a t-SNE map


@dataclass(frozen=True, slots=True)
class NetworkFeatures:
    """Outputs of one network, as arrays."""

    embedding: np.ndarray  # (M, D)  float64
    logits: np.ndarray  # (M, K)  float64
    likeness: np.ndarray  # (n, n)  similarity matrix of the last map, float64


def evaluation_set(store: Store, machine: Machine, eval_split: Split, data: Dataset) -> EvaluationSet:
    """The evaluation set of a data set; the selections are the same each time."""
    classes, y = len(data.classes), eval_split.y.cpu()
    index = choose_images(y, classes, MATRIX_IMAGES).to(machine.device)
    matrix_split = Split(eval_split.x[index], eval_split.y[index], data.statistics, machine.device)
    return EvaluationSet(store, machine, eval_split, classes, matrix_split, choose_images(y, classes, MAP_IMAGES))


def choose_images(y: Tensor, classes: int, each: int) -> Tensor:
    """Indices of the first `each` images of DRAWN_CLASSES classes, evenly spaced over the labels, in order of label."""
    labels = torch.arange(classes)[:: max(1, classes // DRAWN_CLASSES)][:DRAWN_CLASSES]
    return torch.cat([(y == label).nonzero().flatten()[:each] for label in labels])


@torch.no_grad()
def extract(run: Run, evaluation: EvaluationSet) -> NetworkFeatures:
    """Features of a run's stored weights.  Raises BadInput if they are missing or damaged."""
    path = evaluation.store.weights(run.id)
    if path is None:
        raise BadInput(f"the weights of {run.student} ({run.id}) are not in {evaluation.store.root}: train it again")
    net = weights.load_network(path, run.student, evaluation.classes)
    frozen = evaluation.machine.freeze(net, next(evaluation.eval_split.in_order(64)).x)
    images = evaluation.eval_split
    (embedding, logits), _ = largest_batch(partial(outputs, frozen, images), len(images), BATCH, evaluation.machine)
    return NetworkFeatures(embedding, logits, similarity(frozen, evaluation))


def outputs(net: nn.Module, split: Split, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (M, D) and logits (M, K) of all images of a split, computed in batches of this size."""
    parts = [(o.embedding, o.logits) for o in (net(each.x) for each in split.in_order(batch))]
    embedding, logits = (to_array(torch.cat(part)) for part in zip(*parts, strict=True))
    return embedding, logits


def untrained_similarity(run: Run, evaluation: EvaluationSet) -> np.ndarray:
    """Similarity matrix (n, n) of a student at its initial weights, from which every method starts.

    Batch norm uses the statistics of these images, as in the first training step: it has no running statistics yet.
    """
    with seeds.scope("init", run.seed, run.student):
        net = evaluation.machine.to_device(models.build(run.student, evaluation.classes))
        return similarity(net.train(), evaluation)


@torch.no_grad()
def similarity(net: nn.Module, evaluation: EvaluationSet) -> np.ndarray:
    """SP's similarity matrix of a network's last map, (n, n)."""
    (batch,) = evaluation.matrix_split.in_order(len(evaluation.matrix_split))
    return to_array(likeness(net(batch.x).maps[-1].float()))


def to_array(value: Tensor) -> np.ndarray:
    """A tensor as a NumPy array in double precision."""
    return value.double().cpu().numpy()
