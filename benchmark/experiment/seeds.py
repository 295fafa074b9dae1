"""Randomness by name: the same words give the same draws, whoever else has drawn before.

generator("epoch", seed, epoch)              a stream of its own
with scope("init", seed, "resnet20"): ...    for code that draws from torch's global stream
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch

Word = str | int


def seed_of(*name: Word) -> int:
    """63 bits that depend on every word and on their order."""
    return int.from_bytes(hashlib.sha256(json.dumps(name).encode()).digest()[:8], "big") >> 1


def generator(*name: Word) -> torch.Generator:
    """A generator on the CPU named by `words`: the draws of a CPU test are those of a GPU run."""
    return torch.Generator().manual_seed(seed_of(*name))


@contextmanager
def scope(*name: Word) -> Iterator[None]:
    """Inside, torch's global streams start at `words`; outside, it is as if nothing had been drawn."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_of(*name))
        yield
