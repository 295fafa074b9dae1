"""Named random generators: the same name gives the same draws, whatever was drawn before.

generator("epoch", seed, epoch)              an independent generator
with scope("init", seed, "resnet20"): ...    for code that draws from torch's global generators
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch

NamePart = str | int


def seed_of(*name: NamePart) -> int:
    """A 63-bit seed that depends on every part of the name and on their order."""
    return int.from_bytes(hashlib.sha256(json.dumps(name).encode()).digest()[:8], "big") >> 1


def generator(*name: NamePart) -> torch.Generator:
    """A generator seeded by `name`.  It draws on the CPU, so that tests on a CPU and runs on a GPU draw the same."""
    return torch.Generator().manual_seed(seed_of(*name))


@contextmanager
def scope(*name: NamePart) -> Iterator[None]:
    """Context in which torch's global generators are seeded by `name`; their states are restored at its end."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_of(*name))
        yield
