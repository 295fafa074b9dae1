"""The list of checks of training on a GPU; the tests on a device go through the same list."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from benchmark.doctor import gpu_faults, gpu_kernels, gpu_limits, gpu_processes, gpu_training
from benchmark.doctor.finding import Check, Finding
from benchmark.doctor.workload import Workload
from methods import registry

LIMIT_SECONDS = 270  # after which no further check begins
PRECISIONS = ("fp32", "bf16")


def training_checks(work: Workload) -> list[tuple[str, Check]]:
    """Every check of training on a device, by name: the list that the tests on a device go through too.

    Faults come first and the many replays last: on a slow device the time is over before all of those are done.
    """
    by_precision: tuple[tuple[str, Callable[[Workload, str], Finding]], ...] = (
        ("beside a CPU", gpu_training.beside_cpu),
        ("cohort", gpu_training.company),
    )
    both = [(f"{name} {each}", partial(check, work, each)) for name, check in by_precision for each in PRECISIONS]
    replays = [
        (f"{method} {precision}", partial(gpu_training.replay, work, method, precision))
        for method in registry.names()
        for precision in PRECISIONS
    ]
    first, then = ([(name, partial(check, work)) for name, check in part.items()] for part in (faults(), limits()))
    return [(name, partial(with_free_memory, work, check)) for name, check in [*first, *both, *then, *replays]]


def faults() -> dict[str, Callable[[Workload], Finding]]:
    """Which kernels are used, and what goes wrong: by name, in order."""
    return {
        "Triton kernels": gpu_kernels.triton,
        "cuDNN fusion": gpu_kernels.cudnn,
        "masked devices": gpu_processes.masked,
        "device-side assert": gpu_processes.device_assert,
        "memory runs out": in_own_process("memory runs out", gpu_faults.memory_runs_out),
        "failed recording": in_own_process("failed recording", gpu_faults.failed_recording),
        "many recorders": gpu_faults.many_recorders,
        "delayed streams": gpu_training.delays,
    }


def limits() -> dict[str, Callable[[Workload], Finding]]:
    """What else is trained, and how much a device takes: by name, in order."""
    return {
        "bf16 autotuned": gpu_training.autotuned,
        "RMSProp": gpu_training.rmsprop,
        "students at once": in_own_process("students at once", gpu_limits.lanes),
        "teacher": gpu_limits.teacher,
        "evaluation": gpu_limits.evaluation,
    }


def in_own_process(name: str, check: Callable[[Workload], Finding]) -> Callable[[Workload], Finding]:
    """A check in which a recording may fail, in another process: torch before 2.13 records nothing more after that."""
    return partial(gpu_processes.in_own_process, name, check)


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
