"""Trained weights as files: safetensors in half precision."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from benchmark.errors import BadInput
from benchmark.models import build


def to_bytes(net: nn.Module) -> bytes:
    """A network's state as safetensors: float16, except for a tensor that float16 cannot hold."""
    return save({name: halved(value.detach().cpu().contiguous()) for name, value in net.state_dict().items()})


def halved(value: Tensor) -> Tensor:
    """The value in float16 where that stays finite; integers as they are."""
    if not value.is_floating_point():
        return value
    half = value.half()
    return half if torch.isfinite(half).all() else value.float()


def load_network(path: Path, network: str, classes: int) -> nn.Module:
    """The network of a kept file, in float32, in eval mode, a layer that a method left at `embed` included.

    Raises BadInput when the file is damaged or holds another network.
    """
    try:
        state = {name: v.float() if v.is_floating_point() else v for name, v in load_file(path).items()}
        net = build(network, classes)
        if "embed.weight" in state:
            width, raw = state["embed.weight"].shape
            net.embed = nn.Linear(raw, width, bias="embed.bias" in state)
            net.head = nn.Linear(width, classes)
        net.load_state_dict(state)
    except (SafetensorError, OSError, RuntimeError) as fault:
        first = str(fault).splitlines()[0]
        raise BadInput(
            f"{path} does not hold a {network} of {classes} classes ({first}); remove it to train anew"
        ) from fault
    return net.eval()
