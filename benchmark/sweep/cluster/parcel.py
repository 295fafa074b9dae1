"""Results as values: the files that a cohort made, and how they become files of the folder of results."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load

from benchmark.experiment.run import Run
from benchmark.experiment.suite import first_error
from benchmark.files import write_atomic
from benchmark.store import Record, Store
from benchmark.sweep.executors import Fault


@dataclass(frozen=True, slots=True)
class Parcel:
    """What comes back: the files of a folder of results, and why there are not more of them."""

    files: Mapping[str, bytes]  # "records/<id>-<attempt>.json" -> content, and so on
    fault: Fault | None = None
    stopped: bool = False  # whether a limit of the sweep ended the cohort, which is no fault of its runs


def failed(kind: str, message: str) -> Parcel:
    """An empty parcel with the reason."""
    return Parcel({}, Fault({"type": kind, "message": message}))


def result_files(results: Path) -> dict[str, Path]:
    """The files that a cohort made: records, weights, predictions and logits, by their place in the folder."""
    folders = ("weights", "predictions", "logits", "records")
    paths = (path for folder in folders for path in (results / folder).glob("[!.]*"))
    return {f"{path.parent.name}/{path.name}": path for path in sorted(paths)}


def weights_name(id: str) -> str:
    """Name of a run's weights in a parcel."""
    return f"weights/{id}.safetensors"


def keep(run: Run, parcel: Parcel, store: Store, commit: Mapping[str, Any]) -> Record | None:
    """Write a run's result from a parcel to the store: weights, predictions, logits, then the record.

    commit: of the code, which the worker was sent without its history.  Returns None if the parcel has no record of
    the run.  Raises ValueError that says what it has instead of a valid result; then nothing is written.
    """
    record = read_record(run, parcel)
    if record is None:
        return None
    if record.status == "done":
        places = {f"predictions/{run.id}.npz": store.predictions(run.id), f"logits/{run.id}.npz": store.logits(run.id)}
        check_files(parcel, weights_name(run.id), list(places))
        store.keep_weights(run.id, parcel.files[weights_name(run.id)])
        for name, place in places.items():
            write_atomic(place, parcel.files[name])
    return store.add(record.model_copy(update={"provenance": record.provenance | commit}))


def read_record(run: Run, parcel: Parcel) -> Record | None:
    """The record of a run in a parcel; None if there is none.  Raises ValueError if it is not one, or another run's."""
    found = [data for name, data in parcel.files.items() if name.startswith(f"records/{run.id}-")]
    if not found:
        return None
    try:
        record = Record.model_validate(json.loads(found[-1]))
    except ValueError as fault:
        raise ValueError(f"a record that cannot be read ({first_error(fault)})") from fault
    if (record.id, record.run) != (run.id, run.model_dump(mode="json")):
        raise ValueError(f"the record of another run ({record.id})")
    return record


def check_files(parcel: Parcel, weights: str, arrays: list[str]) -> None:
    """Raises ValueError unless weights, predictions and logits are there and can be read."""
    missing = [name for name in (weights, *arrays) if name not in parcel.files]
    if missing:
        raise ValueError(f"a record without {missing[0]}")
    try:
        load(parcel.files[weights])
        for name in arrays:
            with np.load(io.BytesIO(parcel.files[name])) as file:
                _ = [file[key] for key in file.files]
    except (SafetensorError, zipfile.BadZipFile, ValueError, OSError, EOFError) as fault:
        raise ValueError(f"weights, predictions or logits that cannot be read ({type(fault).__name__})") from fault
