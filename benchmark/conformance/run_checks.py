"""Every check on every method, and what is to be said of it."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmark.conformance.checks import CHECKS
from benchmark.conformance.trial import PAIRS, Trial
from methods.contract import Unfit


def check_methods(names: Iterable[str]) -> int:
    """Run every check on every method, print a line each; returns how many failed."""
    failed = 0
    for name, pair in itertools.product(names, PAIRS):
        started = time.perf_counter()
        faults, unfit = check_method(name, pair)
        failed += len(faults)
        verdict = f"unfit: {unfit}" if unfit else f"{len(faults)} failed" if faults else "conforms"
        print(f"{name} on {'-'.join(pair)}: {verdict} ({time.perf_counter() - started:.1f} s)")
        for fault in faults:
            print(f"  {fault}")
    return failed


def check_method(name: str, pair: tuple[str, str]) -> tuple[list[str], str]:
    """The sentences of the checks that a method fails on a pair; and, if it does not serve the pair, why."""
    faults = []
    with tempfile.TemporaryDirectory(prefix="kd-check-") as root:
        for check in CHECKS:
            try:
                check(Trial(name, *pair, Path(root)))
            except Unfit as reason:
                return [], str(reason)
            except Exception as fault:  # noqa: BLE001  whatever a method does wrong is a finding
                kind = "" if isinstance(fault, AssertionError) else f"{type(fault).__name__}: "
                faults.append(f"{check.__name__.replace('_', ' ')}: {kind}{fault}")
    return faults, ""
