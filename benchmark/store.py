"""The store of results: records, weights and predictions as files.  Does not import torch.

results/records/<id>-<attempt>.json   one attempt at a run, or one measured cost; committed
        teachers/<id>.safetensors     weights of small teachers in half precision, <id>.json beside them; committed
        predictions/<id>.npz          `top1`, the predicted class of each judged image, and if it is `right`; committed
        features/                     measurements of `theory`, with small arrays for the report's figures; committed
        speed/<machine>.json          a machine's speed and its targets; committed
        weights/ logits/              of every run; ignored by git
        checkpoints/                  of runs in progress; ignored by git
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.files import file_problem, write_atomic

SCHEMA = 1
MAX_COMMITTED_BYTES = 20_000_000  # larger weights are not committed
Status = Literal["done", "diverged", "failed", "unfit"]


class Record(BaseModel):
    """The outcome of one attempt at a run.  Scores are fractions (0 to 1), times seconds, sizes counts of numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[1] = Field(SCHEMA, alias="schema")
    kind: Literal["run", "cost"] = "run"
    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    attempt: int = Field(1, ge=1)
    status: Status
    run: dict[str, Any]  # dataset, student, method, knobs, teacher, recipe, seed, judge
    score: dict[str, float | int | None] | None = None  # top1, top5, nll, ece, best_top1, best_epoch, agreement, kl
    curve: dict[str, Any] = {}  # per epoch: stage, lr, top1; loss: term -> per epoch
    size: dict[str, Any] = {}  # parameters, buffers, MACs
    clock: dict[str, Any] = {}  # seconds, epochs, images per second, lanes trained together
    provenance: dict[str, Any] = Field({}, alias="made")  # source, versions, device, data, teacher
    about: str = ""  # the method's docstrings: citation, equation, departures
    error: dict[str, str] | None = None  # type, message, trace

    @property
    def name(self) -> str:
        return f"{self.id}-{self.attempt}"


@cache
def equivalent_hashes() -> dict[str, str]:
    """Hash of a version of a method's code -> hash of a later one that gives the same results, bit for bit.

    Early records hold hashes of a file's bytes; later ones those of methods/source_hash.py.
    """
    return json.loads(Path(__file__).with_name("equivalent_hashes.json").read_text())


def latest_equivalent(source: str) -> str:
    """The hash of the latest version of the code that gives the same results as the version with this hash."""
    later = equivalent_hashes().get(source)
    return latest_equivalent(later) if later else source


class Store:
    """The folder of results.  Several processes may write to it at the same time without a lock."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.complaints: list[str] = []  # files that the last `records()` could not read

    # ---- records
    def records(self) -> Iterator[Record]:
        """Every readable record, in order of file name; other files are listed in `complaints` and left in place."""
        self.complaints = []
        seen = set()
        for folder in ("records", "teachers"):
            for path in sorted((self.root / folder).glob("*.json")):
                record = self._read(path)
                if record and (record.kind, record.name) not in seen:
                    seen.add((record.kind, record.name))
                    yield record

    def latest(self) -> dict[str, Record]:
        """id -> the run's valid record: the newest one that is done, else the newest."""
        found: dict[str, Record] = {}
        for record in self.records():
            known = found.get(record.id)
            if record.kind == "run" and (known is None or _rank(record) > _rank(known)):
                found[record.id] = record
        return found

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
            if problem := file_problem(path):  # to open a pipe would wait
                raise ValueError(problem)
            value = json.loads(path.read_text())
            if isinstance(value, dict) and value.get("schema", SCHEMA) != SCHEMA:
                raise ValueError(f"schema {value['schema']!r:.40}, this program reads {SCHEMA}")
            record = Record.model_validate(value)
            if "source" in record.provenance:
                record.provenance["source"] = latest_equivalent(str(record.provenance["source"]))
            return record
        except ValidationError as fault:
            first = fault.errors()[0]
            why = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        except RecursionError:
            why = "it is nested too deep"
        except (ValueError, OSError) as fault:
            why = str(fault)
        self.complaints.append(f"{path}: not a record, skipped ({' '.join(why.split())})")
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
        path = self._folder("checkpoints") / "plan.json"
        if runs:
            write_atomic(path, json.dumps(runs).encode())
        else:
            path.unlink(missing_ok=True)

    def planned(self) -> list[dict[str, Any]]:
        """The runs of the current sweep, or of one that was interrupted; empty if there is none."""
        try:
            return json.loads((self.root / "checkpoints" / "plan.json").read_text())
        except (OSError, ValueError):
            return []

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _rank(record: Record) -> tuple[bool, int]:
    return record.status == "done", record.attempt


def dump(record: Record) -> str:
    """The text of a record; equal records give equal text."""
    return json.dumps(record.model_dump(by_alias=True), indent=1, sort_keys=True, allow_nan=False) + "\n"


def json_safe(value: Any) -> Any:
    """The value with JSON types only; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(k): json_safe(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
