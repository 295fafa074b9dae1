"""A teacher as students meet it: read from its kept file, frozen, and judged by what that file holds.

M judged images · K classes
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.acceleration.machine import FrozenNet, Machine
from benchmark.data.split import Split
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.store import Store
from benchmark.training import metrics, weights
from methods.contract import Outputs


@dataclass(frozen=True, slots=True)
class Teacher:
    """A frozen network with what it answers on the judged images."""

    run: Run
    net: FrozenNet
    logits: Tensor  # (M, K)
    provenance: dict[str, Any]  # id, accuracy from the kept file, the file's hash

    def forward(self, x: Tensor) -> Outputs:
        """Outputs for (N, 3, H, W), in eval mode and without gradients."""
        return self.net(x)


def load(run: Run, store: Store, machine: Machine, classes: int, judged: Split) -> Teacher:
    """The teacher that `run` left in the store; never the weights that happen to be in memory.

    Raises BadInput when the store does not hold it.
    """
    path = store.weights(run.id)
    if path is None:
        raise BadInput(f"the weights of teacher {run.student} ({run.id}) are not in {store.root}: train or import them")
    found = weights.load_network(path, run.student, classes)
    probe = next(judged.in_order(64)).x
    frozen = machine.freeze(found, probe)
    z = all_logits(frozen, judged)
    provenance = {
        "id": run.id,
        "top1": metrics.top1(z, judged.y.cpu()),
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    return Teacher(run, frozen, z, provenance)


def all_logits(net: nn.Module, split: Split) -> Tensor:
    """A frozen network's logits for every image of a split, in order: (M, K) float32 on the CPU."""
    return torch.cat([net(batch.x).logits for batch in split.in_order()]).cpu()
