"""Load weights that other suites published into the networks defined here.

Other suites use other names for the tensors but the same order, so tensors are matched by order and shape; names, and a
prefix such as DataParallel's `module.`, are ignored.
"""

from __future__ import annotations

import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import BadInput
from benchmark.files import file_problem
from benchmark.models import build

MAX_BYTES = 4_000_000_000  # of a file


def load(path: str | Path, name: str, classes: int) -> nn.Module:
    """The network `name` with the weights in the file: `{"model": state_dict, …}` or a plain state_dict.

    The file is read with `weights_only=True`, so no code in it runs.  The network is on the CPU, in train mode.
    Raises BadInput if the file is missing, is not a checkpoint, holds other objects, does not match the network, or has
    values that are not finite.
    """
    path = Path(path)
    published = _state(path)
    with torch.random.fork_rng(devices=[]):  # initial weights are overwritten: keep the caller's random state
        net = build(name, classes)
    own = net.state_dict()
    _compare(path, published, own, f"{name} with {classes} classes")
    with torch.no_grad():
        for target, (source_name, source) in zip(own.values(), published.items(), strict=True):
            target.copy_(source)
            if not target.isfinite().all():
                raise BadInput(f"{path} has values in {source_name} that are not finite: use another checkpoint")
    return net


def _read(path: Path) -> Any:
    if problem := file_problem(path, MAX_BYTES):
        raise BadInput(f"no checkpoint at {path}: {problem}; give the path of a file such as resnet56.pth")
    if content_bytes(path) > path.stat().st_size:
        raise BadInput(f"{path} announces more bytes than it has, which no file of torch.save does: download it again")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise BadInput(f"{path} is not a checkpoint that torch can read: download it again") from error
        raise BadInput(
            f"{path} holds a pickled {found[1]}, which could run code when opened: if you trust it, open it "
            'once and save only {"model": its state_dict}'
        ) from error


def content_bytes(path: Path) -> int:
    """Bytes that a checkpoint's members have once they are read; torch does not compress them.  0 in the old format."""
    try:
        with zipfile.ZipFile(path) as file:
            return sum(member.file_size for member in file.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, struct.error):
        return 0


def _state(path: Path) -> dict[str, Tensor]:
    content = _read(path)
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not state or not all(map(has_values, state.values())):
        raise BadInput(f'{path} holds no weights: it must be a state_dict or {{"model": state_dict}}')
    return state


def has_values(x: Any) -> bool:
    """Whether `x` is a tensor whose values can be copied into a network's: dense, not quantised, with memory."""
    return isinstance(x, Tensor) and x.layout == torch.strided and not (x.is_quantized or x.is_meta)


def _compare(path: Path, published: dict[str, Tensor], own: dict[str, Tensor], network: str) -> None:
    if len(published) != len(own):
        raise BadInput(
            f"{path} has {len(published)} tensors but {network} has {len(own)}: name the network it was saved from"
        )
    pairs = zip(own.items(), published.items(), strict=True)
    for position, ((name, target), (source_name, source)) in enumerate(pairs, start=1):
        if source.shape != target.shape or source.is_floating_point() != target.is_floating_point():
            raise BadInput(
                f"tensor {position} of {path} ({source_name}) is {_kind(source)} but {network} has {_kind(target)} "
                f"there ({name}): check the network's name and the number of classes"
            )


def _kind(x: Tensor) -> str:
    return f"{tuple(x.shape)} {str(x.dtype).removeprefix('torch.')}"
