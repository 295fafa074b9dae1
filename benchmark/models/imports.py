"""Weights published by other suites -> ours.

Suites name their tensors each in its own way but list them in the same order, so they are read by order and shape;
names, and a prefix such as DataParallel's `module.`, do not matter.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import BadInput
from benchmark.models import build


def load(path: str | Path, name: str, classes: int) -> nn.Module:
    """The network `name` with the weights in the file: `{"model": state_dict, …}` or a plain state_dict.

    The file is read as data (`weights_only=True`): nothing in it is run.  The result is on the CPU, in train mode.
    Raises BadInput if the file is missing, is no checkpoint, holds other objects, or does not fit the network.
    """
    path = Path(path)
    theirs = _state(path)
    with torch.random.fork_rng(devices=[]):  # the draws are overwritten: let them cost the caller none of his own
        net = build(name, classes)
    ours = net.state_dict()
    _compare(path, theirs, ours, f"{name} with {classes} classes")
    with torch.no_grad():
        for mine, tensor in zip(ours.values(), theirs.values(), strict=True):
            mine.copy_(tensor)
    return net


def _read(path: Path) -> Any:
    if not path.is_file():
        raise BadInput(f"no checkpoint at {path}: give the path of a file such as resnet56.pth")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise BadInput(f"{path} is not a checkpoint that torch can read: download it again") from error
        raise BadInput(
            f"{path} holds a pickled {found[1]}, which could run code when opened: where you trust it, open it "
            'once and save {"model": its state_dict} alone'
        ) from error


def _state(path: Path) -> dict[str, Tensor]:
    content = _read(path)
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not state or not all(isinstance(each, Tensor) for each in state.values()):
        raise BadInput(f'{path} holds no weights: it must be a state_dict or {{"model": state_dict}}')
    return state


def _compare(path: Path, theirs: dict[str, Tensor], ours: dict[str, Tensor], network: str) -> None:
    if len(theirs) != len(ours):
        raise BadInput(
            f"{path} has {len(theirs)} tensors but {network} has {len(ours)}: name the network it was saved from"
        )
    pairs = zip(ours.items(), theirs.items(), strict=True)
    for place, ((name, mine), (other, tensor)) in enumerate(pairs, start=1):
        if tensor.shape != mine.shape or tensor.is_floating_point() != mine.is_floating_point():
            raise BadInput(
                f"tensor {place} of {path} ({other}) is {_kind(tensor)} but {network} has {_kind(mine)} there "
                f"({name}): check the network's name and the number of classes"
            )


def _kind(x: Tensor) -> str:
    return f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}"
