"""Teachers: loaded from their stored half-precision weights, frozen, and evaluated as loaded.

M evaluation images · K classes
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from benchmark.acceleration.machine import FrozenNet, Machine
from benchmark.data.split import Split
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.models import preactivation
from benchmark.store import Store
from benchmark.training import metrics, weights
from methods.contract import Outputs

BATCH = 500  # images, fewer where memory runs out


@dataclass(frozen=True, slots=True)
class Teacher:
    """A frozen network and its logits on the evaluation images."""

    run: Run
    net: FrozenNet
    logits: Tensor  # (M, K)
    provenance: dict[str, Any]  # id, accuracy of the stored weights, hash of their file, how they are computed with

    def forward(self, x: Tensor) -> Outputs:
        """Outputs for (N, 3, H, W), in eval mode and without gradients."""
        return self.net(x)

    def network(self) -> nn.Module:
        """A copy of the network as it was trained, for a method to read: what is done to it concerns nobody else."""
        return copy.deepcopy(self.net.net)


def load(
    run: Run, store: Store, machine: Machine, classes: int, eval_split: Split, preactivations: bool = False
) -> Teacher:
    """The teacher of a run, trained or imported, always loaded from its stored weights.

    preactivations: whether it shows its maps before the last ReLU of each stage; nothing else depends on it.
    Raises BadInput if the store does not hold its weights.
    """
    path = store.weights(run.id)
    if path is None:
        raise BadInput(f"the weights of teacher {run.student} ({run.id}) are not in {store.root}: train or import them")
    net = weights.load_network(path, run.student, classes)
    net = preactivation.show(net) if preactivations else net
    sample = next(eval_split.in_order(64)).x
    frozen = machine.freeze(net, sample)
    z = all_logits(frozen, eval_split, machine)
    provenance = {
        "id": run.id,
        "top1": metrics.top1(z, eval_split.y.cpu()),
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "folded": frozen.folded,
        "fused": frozen.fused,
    }
    return Teacher(run, frozen, z, provenance)


def all_logits(net: nn.Module, split: Split, machine: Machine) -> Tensor:
    """A frozen network's logits for every image of a split, in order: (M, K) float32 on the CPU."""
    logits, _ = metrics.largest_batch(partial(metrics.logits_in_order, net, split), len(split), BATCH, machine)
    return logits
