"""Files of trained weights: safetensors in half precision."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from benchmark.errors import BadInput
from benchmark.models import build


def to_bytes(net: nn.Module) -> bytes:
    """A network's state as a safetensors file: float16, except for a tensor whose values exceed its range."""
    return save({name: to_half(value.detach().cpu().contiguous()) for name, value in net.state_dict().items()})


def to_half(value: Tensor) -> Tensor:
    """The tensor in float16, or in float32 where float16 would not be finite; integers are unchanged."""
    if not value.is_floating_point():
        return value
    half = value.half()
    return half if torch.isfinite(half).all() else value.float()


def load_network(path: Path, network: str, classes: int) -> nn.Module:
    """The network of a stored file, in float32 and in eval mode, with the layer that a method put at `embed`, if any.

    Raises BadInput if the file is missing or damaged, or holds another network.
    """
    try:
        state = {name: v.float() if v.is_floating_point() else v for name, v in load_file(path).items()}
        net = build(network, classes)
        if "embed.weight" in state:
            width, input_width = state["embed.weight"].shape
            net.embed = nn.Linear(input_width, width, bias="embed.bias" in state)
            net.head = nn.Linear(width, classes)
        net.load_state_dict(state)
        if odd := [name for name, value in state.items() if not value.isfinite().all()]:
            raise ValueError(f"{odd[0]} has values that are not finite numbers")
    except (SafetensorError, OSError, RuntimeError, ValueError) as fault:
        reason = " ".join(str(fault).split())[:200] or type(fault).__name__
        raise BadInput(
            f"{path} does not hold the weights of {network} with {classes} classes ({reason}); "
            "delete the file, and train or import the network again"
        ) from fault
    return net.eval()
