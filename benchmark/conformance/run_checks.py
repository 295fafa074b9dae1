"""Runs the conformance checks on methods and prints the results; the command `check`."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmark.conformance.checks import CHECKS
from benchmark.conformance.trial import PAIRS, Trial
from benchmark.errors import printable
from methods.contract import Unfit


def check_methods(names: Iterable[str]) -> int:
    """Run every check on every method and pair, print the results; returns the number of failed checks."""
    failed = 0
    for name, pair in itertools.product(names, PAIRS):
        started = time.perf_counter()
        faults, unfit = check_method(name, pair)
        failed += len(faults)
        verdict = f"{len(faults)} of {len(CHECKS)} checks failed" if faults else "conforms"
        if unfit:
            verdict = f"does not support this pair: {unfit}"
        print(printable(f"{name} on {'-'.join(pair)}: {verdict} ({time.perf_counter() - started:.1f} s)"))
        for fault in faults:
            print(printable(f"  {fault}"))
    return failed


def check_method(name: str, pair: tuple[str, str]) -> tuple[list[str], str]:
    """The messages of the checks that a method fails on a pair, and why it does not support the pair (else empty)."""
    faults = []
    with tempfile.TemporaryDirectory(prefix="kd-check-") as root:
        for check in CHECKS:
            try:
                check(Trial(name, *pair, Path(root)))
            except Unfit as reason:
                return [], str(reason)
            except Exception as fault:  # noqa: BLE001  any error of a method is a failed check
                kind = "" if isinstance(fault, AssertionError) else f"{type(fault).__name__}: "
                faults.append(f"{check.__name__.replace('_', ' ')}: {kind}{fault}")
    return faults, ""
