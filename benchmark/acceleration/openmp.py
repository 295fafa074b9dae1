"""How OpenMP's threads wait for each other: chosen before torch is imported, since its runtime reads it only once."""

from __future__ import annotations

import os

SPINS = "GOMP_SPINCOUNT"  # rounds that a waiting thread of GNU OpenMP spins before it sleeps
POLICY = "OMP_WAIT_POLICY"  # active or passive
VARIABLES = (SPINS, POLICY, "OMP_NUM_THREADS")
DEFAULT_SPINS = "3000"


def configure_waiting() -> None:
    """Let waiting threads sleep soon, unless the user has chosen otherwise.  Call it before torch is imported.

    On a machine that runs anything else, threads that spin for long keep each other from the cores; see the
    measurements at the head of benchmark/acceleration/machine.py.
    """
    if not any(os.environ.get(name) for name in (SPINS, POLICY)):
        os.environ[SPINS] = DEFAULT_SPINS
