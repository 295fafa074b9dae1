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


def number(*words: Word) -> int:
    """63 bits that depend on every word and on their order."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:8], "big") >> 1


def generator(*words: Word) -> torch.Generator:
    """A generator on the CPU named by `words`: the draws of a CPU test are those of a GPU run."""
    return torch.Generator().manual_seed(number(*words))


@contextmanager
def scope(*words: Word) -> Iterator[None]:
    """Inside, torch's global streams start at `words`; outside, it is as if nothing had been drawn."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(number(*words))
        yield
