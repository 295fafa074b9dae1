"""The store of results: records, weights and predictions as files.  Does not import torch.

results/records/<id>-<attempt>.json   one attempt at a run, or one measured cost; committed
        teachers/<id>.safetensors     weights of small teachers in half precision, <id>.json beside them; committed
        predictions/<id>.npz          `top1`, the predicted class of each judged image, and if it is `right`; committed
        features/                     measurements of `theory`, with small arrays for the report's figures; committed
        tuning/<method>-<hash>.json   a study of `tune`: its trials and their runs' ids; committed
        speed/<machine>.json          a machine's speed and its targets; committed
        weights/ logits/              of every run; ignored by git
        checkpoints/                  of runs in progress; ignored by git
"""

from __future__ import annotations

import gc
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.files import UnreadableFile, read_bytes, read_json, write_atomic, write_errors
from benchmark.record import Record, dump, json_safe, parse_record

MAX_COMMITTED_BYTES = 20_000_000  # larger weights are not committed
RUN_FILE = re.compile(r"([0-9a-f]{12})-([0-9]+)\.json")  # of an attempt at a run
PLAN = Path("checkpoints", "plan.json")  # of a sweep in progress
_collections: list[list[str]] = []  # of `collected_complaints`


class Store:
    """The folder of results.  Several processes may write to it at the same time without a lock."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.complaints: list[str] = []  # files that the last `records()` could not read

    # ---- records
    def records(self, kind: str = "") -> Iterator[Record]:
        """Every readable record, in order of file name; other files are listed in `complaints` and left in place.

        kind: only records of this kind, which is not "run"; the others are not read.
        """
        self.complaints = []
        seen = set()
        for folder in ("records", "teachers"):
            for name in json_files(self.root / folder, f"-{kind}.json" if kind else ".json"):
                record = self._read(self.root / folder / name)
                if record and (record.kind, record.name) not in seen:
                    seen.add((record.kind, record.name))
                    yield record

    def latest(self) -> dict[str, Record]:
        """id -> the run's record that counts: see `attempt_that_counts`."""
        found: dict[str, list[Record]] = {}
        with no_garbage_collection():
            for record in self.records():
                if record.kind == "run":
                    found.setdefault(record.id, []).append(record)
        return {id: attempt_that_counts(attempts) for id, attempts in found.items()}

    def attempts(self) -> dict[str, int]:
        """id -> the number of the latest attempt at the run that has a record, from the names of the files."""
        found: dict[str, int] = {}
        for match in filter(None, map(RUN_FILE.fullmatch, json_files(self.root / "records"))):
            found[match[1]] = max(int(match[2]), found.get(match[1], 0))
        return found

    def records_of(self, id: str) -> list[Record]:
        """The readable records of one run, costs included, in order of file name."""
        names = [name for name in json_files(self.root / "records") if name.startswith(f"{id}-")]
        return [record for name in names if (record := self._read(self.root / "records" / name))]

    def add(self, record: Record) -> Record:
        """Write a record atomically under the first free attempt number; returns it as written.  Never overwrites."""
        folder = self._folder("records")
        suffix = "" if record.kind == "run" else f"-{record.kind}"
        record = Record.model_validate(json_safe(record.model_dump(by_alias=True)))
        while True:
            try:
                write_atomic(folder / f"{record.name}{suffix}.json", dump(record).encode(), fresh=True)
                return record
            except FileExistsError:
                record = record.model_copy(update={"attempt": record.attempt + 1})

    def _read(self, path: Path) -> Record | None:
        try:
            return parse_record(read_bytes(path))
        except (OSError, ValueError, MemoryError) as fault:
            why = getattr(fault, "strerror", None) or str(fault) or "it does not fit into memory"
        self.complaints.append(f"{path}: not a record, skipped ({' '.join(why.split())})")
        for collected in _collections:
            collected.append(self.complaints[-1])
        return None

    # ---- files beside the records
    def weights(self, id: str) -> Path | None:
        """The file of a run's weights, or None."""
        places = (self.root / "teachers" / f"{id}.safetensors", self.root / "weights" / f"{id}.safetensors")
        return next((path for path in places if path.is_file()), None)

    def keep_weights(self, id: str, data: bytes) -> Path:
        """Write a run's weights (safetensors bytes) to weights/, which git ignores.  Returns the file."""
        return write_atomic(self._folder("weights") / f"{id}.safetensors", data)

    def keep_teacher(self, record: Record) -> Path | None:
        """Move a run's weights to teachers/ beside a copy of its record, unless they are too large to be committed."""
        path = self.weights(record.id)
        try:
            if path is None or path.parent.name == "teachers" or path.stat().st_size > MAX_COMMITTED_BYTES:
                return path
            write_atomic(self._folder("teachers") / f"{record.id}.json", dump(record).encode())
            return path.replace(self.root / "teachers" / path.name)
        except FileNotFoundError:  # another process has just moved it
            return self.weights(record.id)

    def predictions(self, id: str) -> Path:
        """The file of the predicted class of each judged image, and of whether it is right."""
        return self._folder("predictions") / f"{id}.npz"

    def logits(self, id: str) -> Path:
        """The file of the logits of the judged images, in half precision."""
        return self._folder("logits") / f"{id}.npz"

    def checkpoint(self, id: str) -> Path:
        """The file of the checkpoint of a run in progress."""
        return self._folder("checkpoints") / f"{id}.pt"

    # ---- a sweep in progress
    def keep_plan(self, runs: list[dict[str, Any]]) -> None:
        """Write the runs of the current sweep, so that the report shows those without a record; none: remove them."""
        path = self._folder("checkpoints") / PLAN.name
        if runs:
            write_atomic(path, json.dumps(runs).encode())
        else:
            path.unlink(missing_ok=True)

    def planned(self) -> list[dict[str, Any]]:
        """The runs of the current sweep, or of one that was interrupted; empty if there is none.

        Raises UnreadableFile for a file that is no list of runs.
        """
        try:
            runs = read_json(self.root / PLAN)
        except FileNotFoundError:
            return []
        if not isinstance(runs, list):
            raise UnreadableFile("it is not a list of runs")
        return runs

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder


@contextmanager
def collected_complaints() -> Iterator[list[str]]:
    """Context that yields a list to which every store adds its sentences on files that it could not read."""
    collected: list[str] = []
    _collections.append(collected)
    try:
        yield collected
    finally:
        _collections.pop()


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Context without cyclic garbage collection, which would look at many new objects again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def attempt_that_counts(attempts: Sequence[Record]) -> Record:
    """The first attempt that is done, of those made by the same code as the newest such attempt; else the newest.

    A repeated run does not replace a result, whatever its score; only a run repeated with other code does.
    """
    done = sorted((each for each in attempts if each.status == "done"), key=lambda each: each.attempt)
    if not done:
        return max(attempts, key=lambda each: each.attempt)
    return next(each for each in done if each.provenance.get("source") == done[-1].provenance.get("source"))


def json_files(folder: Path, ending: str = ".json") -> list[str]:
    """The names of a folder's JSON files, sorted; none if there is no folder.  Raises OSError if it cannot be read."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(ending))
    except (FileNotFoundError, NotADirectoryError):
        return []
