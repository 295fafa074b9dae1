"""Blocks of runs: which runs of two rows belong together, and the standard error of a mean over teachers and seeds.

Runs of one seed start from the same weights and see the same batches.  Where a pair has several teachers, runs of one
seed and teacher share the teacher too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

from benchmark.report.statistics.summary import Summary, summarise, t_quantile

Value = TypeVar("Value")


class Block(NamedTuple):
    """The seeds of a run and of its teacher, in a pair with several teachers."""

    teacher: int
    seed: int


Key = int | Block  # int: the seed of a run without a teacher, or with the only one of its pair


def seed_of(key: Key) -> int:
    """The run's own seed."""
    return key.seed if isinstance(key, Block) else key


def teacher_of(key: Key) -> int | None:
    """The seed of the run's teacher; None without one, or with the only one of the pair."""
    return key.teacher if isinstance(key, Block) else None


def key_text(key: Key) -> str:
    """A block in words: seed 0; seed 0, teacher seed 1."""
    return f"seed {key.seed}, teacher seed {key.teacher}" if isinstance(key, Block) else f"seed {key}"


def order_of(key: Key) -> tuple[int, int]:
    """What blocks are sorted by: the teacher's seed, runs without one first, then the run's own."""
    return (key.teacher, key.seed) if isinstance(key, Block) else (-1, key)


def ordered(keys: Iterable[Key]) -> list[Key]:
    """The blocks by the teacher's seed, then by the run's own."""
    return sorted(keys, key=order_of)


def matched(a: Mapping[Key, Value], b: Mapping[Key, Value]) -> dict[Key, tuple[Value, Value]]:
    """Block -> what two rows have in it, in order of block, for the blocks of both.

    A run without a teacher belongs to its seed's block of every teacher: each run with a teacher is matched with it.
    """
    found = {}
    for key in ordered({*a, *b}):
        own = a[key] if key in a else a.get(seed_of(key))
        other = b[key] if key in b else b.get(seed_of(key))
        if own is not None and other is not None:
            found[key] = (own, other)
    return found


def seed_means(values: Mapping[Key, float]) -> dict[int, float]:
    """Seed -> the value, or its mean over teachers."""
    groups: dict[int, list[float]] = {}
    for key, value in values.items():
        groups.setdefault(seed_of(key), []).append(value)
    return {seed: own[0] if len(own) == 1 else math.fsum(own) / len(own) for seed, own in groups.items()}


def crossed_summary(values: Mapping[Key, float]) -> tuple[Summary, float, int]:
    """(Summary of values of several blocks, standard error of their mean, its degrees of freedom); interval by it."""
    plain = summarise(values.values())
    error, degrees = crossed_error({key: value - plain.mean for key, value in values.items()})
    half_width = t_quantile(degrees) * error
    return replace(plain, low=plain.mean - half_width, high=plain.mean + half_width), error, degrees


def crossed_error(deviations: Mapping[Key, float]) -> tuple[float, int] | None:
    """The standard error of a mean over teachers and seeds, with its degrees of freedom; None for a single run.

    deviations: of each value from the mean.  Values of one teacher depend on each other, and so do those of one seed;
    the variances of the mean between teachers, between seeds, and their sum without that between runs, which is in
    both, are estimated, and the largest counts.  The degrees of freedom are those of the fewer teachers or seeds; with
    one teacher, or one seed, those of the other, and the error is for that one only.

    A. C. Cameron, J. B. Gelbach and D. L. Miller, Robust inference with multiway clustering, J. Bus. Econ. Statist. 29
    (2011).
    """
    by_seed, by_teacher, by_run = ([name(key) for key in deviations] for name in (seed_of, teacher_of, order_of))
    counts = [len({*groups}) for groups in (by_seed, by_teacher) if len({*groups}) > 1]
    if not counts:
        return None
    parts = [clustered(deviations.values(), groups) for groups in (by_seed, by_teacher, by_run)]
    variance = max(parts[0], parts[1], parts[0] + parts[1] - parts[2])
    return math.sqrt(variance), min(counts) - 1


def clustered(deviations: Iterable[float], groups: Iterable[object]) -> float:
    """The variance of the mean of values that depend on each other within groups; 0 for a single group."""
    sums: dict[object, list[float]] = {}
    for value, group in zip(deviations, groups, strict=True):
        sums.setdefault(group, []).append(value)
    count, total = len(sums), sum(map(len, sums.values()))
    squares = math.fsum(math.fsum(own) ** 2 for own in sums.values())
    return squares / total**2 * count / (count - 1) if count > 1 else 0.0
