"""Maps before the last ReLU of each stage, for methods that read them; other networks do not compute them.

Where a network shows them, the ReLU that ends a stage is computed apart from the layer before it.  A ReLU of a rounded
number is the rounded ReLU of the number, so that all other outputs stay the same, bit for bit, where the layer before
it computes as it would together with its ReLU: on a CPU in both precisions, and wherever plain layers compute.

N images · C, H, W of a feature map
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from methods.contract import Outputs


def find_last_relus(stages: Iterable[nn.Module]) -> tuple[str, ...]:
    """The names, in a `Net`, of the last layers of its stages that end in a ReLU."""
    ends = [(i, list(stage.named_children())[-1:]) for i, stage in enumerate(stages)]
    return tuple(f"stages.{i}.{name}" for i, last in ends for name, layer in last if getattr(layer, "act", False))


def show(net: nn.Module) -> nn.Module:
    """The same network, in place: from now on its outputs have `preactivations`.

    To be called before it is frozen or put on fused kernels.  A stage that ends in no ReLU shows its map.  A network
    that is not built from this project's parts stays as it is, and shows none.
    """
    names = getattr(net, "last_relus", None)
    if names is not None:
        net.preactivations = True
        for name in names:
            net.get_submodule(name).act = False
    return net


def capture(net: nn.Module, forward: Callable[[Tensor], Outputs], x: Tensor) -> Outputs:
    """The outputs of `forward`, a forward pass of `net`, with the maps before the last ReLU of each stage.

    Images x (N, 3, H, W).  The hooks are removed at the end, so that copies of the network have none.
    """
    before: list[Tensor] = []
    ends = map(net.get_submodule, net.last_relus)
    hooks = [end.register_forward_hook(partial(_rectify_hook, before)) for end in ends]
    try:
        outputs = forward(x)
    finally:
        for hook in hooks:
            hook.remove()
    return replace(outputs, preactivations=tuple(before) or outputs.maps[1:])


def _rectify_hook(before: list[Tensor], module: nn.Module, inputs: tuple, y: Tensor) -> Tensor:
    """Forward hook of a module whose ReLU is off: keeps its output (N, C, H, W), and returns the ReLU of it."""
    before.append(y)
    return F.relu(y)
