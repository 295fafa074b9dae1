"""The list of checks of training on a GPU; the tests on a device go through the same list."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmark.doctor import gpu_faults, gpu_limits, gpu_processes, gpu_training
from benchmark.doctor.finding import Check, Finding
from benchmark.doctor.workload import Workload
from methods import registry

LIMIT_SECONDS = 270  # after which no further check begins
PRECISIONS = ("fp32", "bf16")


def training_checks(work: Workload) -> list[tuple[str, Check]]:
    """Every check of training on a device, by name: the list that the tests on a device go through too."""
    replays = [
        (f"{method} {precision}", partial(gpu_training.replay, work, method, precision))
        for method in registry.names()
        for precision in PRECISIONS
    ]
    by_precision: tuple[tuple[str, Callable[[Workload, str], Finding]], ...] = (
        ("beside a CPU", gpu_training.beside_cpu),
        ("cohort", gpu_training.company),
    )
    both = [(f"{name} {each}", partial(check, work, each)) for name, check in by_precision for each in PRECISIONS]
    others = {
        "bf16 autotuned": gpu_training.autotuned,
        "delayed streams": gpu_training.delays,
        "many recorders": gpu_faults.many_recorders,
        "students at once": gpu_limits.lanes,
        "teacher": gpu_limits.teacher,
        "evaluation": gpu_limits.evaluation,
        "masked devices": gpu_processes.masked,
        "device-side assert": gpu_processes.device_assert,
        "memory runs out": gpu_faults.memory_runs_out,  # the last ones: older torches record nothing after them
        "failed recording": gpu_faults.failed_recording,
    }
    checks = [*replays, *both, *((name, partial(check, work)) for name, check in others.items())]
    return [(name, partial(with_free_memory, work, check)) for name, check in checks]


def with_free_memory(work: Workload, check: Check) -> Finding:
    """A check, made after the memory and the streams of earlier ones have been given back."""
    work.machine("fp32").free_memory()
    return check()


def within_time(
    checks: list[tuple[str, Check]], now: Callable[[], float] = time.monotonic
) -> Iterator[tuple[str, Check]]:
    """The checks, each announced on stderr; those that would begin too late are replaced by a finding that says so."""
    end = now() + LIMIT_SECONDS
    for number, (name, check) in enumerate(checks, 1):
        if now() < end:
            print(f"GPU {number}/{len(checks)}: {name}", file=sys.stderr, flush=True)
            yield name, check
        else:
            advice = "run the tests of a device, which have no limit: ./run_all.sh test -m gpu"
            yield name, partial(Finding, name, f"not checked: {LIMIT_SECONDS} s were over", False, advice)
