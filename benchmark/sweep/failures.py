"""Runs without a result: the records that say why, and the sentences that the user reads at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.experiment.run import Run
from benchmark.privacy import without_places
from benchmark.store import Record, Store
from benchmark.sweep.options import Options
from benchmark.training import provenance
from methods import registry


def record_unfit(runs: Sequence[Run], unfit: Mapping[str, str], store: Store, options: Options) -> None:
    """Add a record for each run whose method does not support its pair; unfit: id -> the reason."""
    latest = store.latest()
    for run in runs:
        if run.id in unfit and run.id not in latest:
            store.add(minimal_record(run, "unfit", {"type": "Unfit", "message": unfit[run.id]}, options))


def record_failed(runs: Sequence[Run], error: dict[str, str], store: Store, options: Options) -> None:
    """Add a record for each of the runs, which a process left without one."""
    for run in runs:
        store.add(minimal_record(run, "failed", error, options))


def minimal_record(run: Run, status: str, error: dict[str, str], options: Options) -> Record:
    """The record of a run of which only the error is known: type, message and possibly trace."""
    return Record(
        id=run.id,
        status=status,
        run=run.model_dump(mode="json"),
        provenance=provenance.commit()
        | provenance.versions()
        | options.record_fields
        | {"origin": options.origins.get(run.id, {}), "ended": provenance.now()},
        about=registry.docstring(run.method),
        error={name: without_places(text) for name, text in error.items()},
    )


def failures(runs: Sequence[Run], store: Store, recorded: bool = False) -> list[str]:
    """A sentence for each run without a result, except for pairs that a method cannot serve.

    recorded: leave out runs without a record, since the sweep was stopped before them.
    """
    latest, sentences = store.latest(), []
    for run in runs:
        record = latest.get(run.id)
        if record and record.status in ("failed", "diverged"):
            remedy = "; it is not repeated without --again" if record.status == "diverged" else ""
            sentences.append(f"{run.label} ({run.id}): {record.status}: {record.error['message']}{remedy}")
        elif record is None and not recorded:
            sentences.append(f"{run.label} ({run.id}): not run: its teacher has no weights")
    return sentences
