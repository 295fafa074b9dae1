"""Which costs are still to be measured, and which runs are timed together."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from pydantic import ValidationError

from benchmark.acceleration import machine
from benchmark.experiment.run import Run
from benchmark.store import Store
from benchmark.training import provenance
from methods import registry

RUNS_TOGETHER = 14  # where steps are recorded: two stages each, plain student and teacher take 30 of torch's 32 streams


def missing_costs(runs: Sequence[Run], store: Store, device: str) -> list[Run]:
    """One run for each kind of step that the store has no cost of, that of the lowest seed.

    Runs that have failed are left out: they would fail again, and on CUDA one may cost the process its device.
    """

    def price(run: Run) -> tuple:
        here = machine.machine(device, run.recipe.precision)
        return (*run.cost_key, provenance.device_name(here.device), here.precision, registry.digest(run.method))

    left_out = {id for id, record in store.latest().items() if record.status in ("unfit", "failed")}
    known = set()
    for record in store.records():
        if record.kind == "cost":
            with contextlib.suppress(ValidationError):  # the report complains about it
                by = (record.provenance.get(word) for word in ("device", "precision", "source"))
                known.add((*Run.model_validate(record.run).cost_key, *by))
    found: dict[tuple, Run] = {}
    for run in sorted((run for run in runs if run.recipe and run.id not in left_out), key=lambda run: run.seed):
        found.setdefault(price(run), run)
    return [run for key, run in found.items() if key not in known]


def group_by_pair(runs: Sequence[Run], most: int | None = None) -> list[list[Run]]:
    """Runs that are timed in turn; those without a teacher stand with the first pair of their student.

    most: how many at a time; None: all of a pair.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.teacher is None):
        host = next((key for key in groups if run.teacher is None and key[1] == run.timing_group), None)
        groups.setdefault(host or (run.teacher and run.teacher.id, run.timing_group), []).append(run)
    size = most or max(1, len(runs))
    return [group[i : i + size] for group in groups.values() for i in range(0, len(group), size)]
