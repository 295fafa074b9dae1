"""Results as files that nobody edits.  Never imports torch.

results/records/<id>-<attempt>.json   one attempt at one run, or a cost; committed
        teachers/<id>.safetensors     weights of small teachers in half precision, <id>.json beside them; committed
        predictions/<id>.npz          `top1`, the top class of each judged image, and whether it is `right`; committed
        features/                     what `theory` measured, with small arrays for the report's pictures; committed
        speed/<machine>.json          how fast a machine was beside its targets; committed
        weights/ logits/ flight/      of every run, of every run, of runs under way; ignored by git
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.files import write_atomic

SCHEMA = 1
MAX_COMMITTED_BYTES = 20_000_000  # bytes of weights that may be committed
Status = Literal["done", "diverged", "failed", "unfit"]


class Record(BaseModel):
    """What became of one attempt.  Scores are fractions (0 to 1), times seconds, sizes counts of numbers."""

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
    clock: dict[str, Any] = {}  # seconds, epochs, images per second, lanes in company
    provenance: dict[str, Any] = Field({}, alias="made")  # by what: source, versions, device, data, teacher
    about: str = ""  # the method's own words: citation, equation, departures
    error: dict[str, str] | None = None  # type, message, trace

    @property
    def name(self) -> str:
        return f"{self.id}-{self.attempt}"


@cache
def early_hashes() -> dict[str, str]:
    """Hash of a method file's bytes -> hash of its code (methods/source_hash.py), for the files that made records."""
    return json.loads(Path(__file__).with_name("early_hashes.json").read_text())


class Store:
    """The folder of results.  Many processes may write to it at once without a lock."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.complaints: list[str] = []  # files that are no records, found by the last `records()`

    # ---- records
    def records(self) -> Iterator[Record]:
        """Every readable record, in order of file name; what cannot be read goes to `complaints` and stays."""
        self.complaints = []
        seen = set()
        for folder in ("records", "teachers"):
            for path in sorted((self.root / folder).glob("*.json")):
                record = self._read(path)
                if record and (record.kind, record.name) not in seen:
                    seen.add((record.kind, record.name))
                    yield record

    def latest(self) -> dict[str, Record]:
        """id -> the run's record that counts: the newest one done, else the newest."""
        found: dict[str, Record] = {}
        for record in self.records():
            known = found.get(record.id)
            if record.kind == "run" and (known is None or _rank(record) > _rank(known)):
                found[record.id] = record
        return found

    def add(self, record: Record) -> Record:
        """Write a record under the first free attempt; never overwrites, never half seen.  Returns it as written."""
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
            value = json.loads(path.read_text())
            if isinstance(value, dict) and value.get("schema", SCHEMA) != SCHEMA:
                raise ValueError(f"schema {value['schema']}, this program reads {SCHEMA}")
            record = Record.model_validate(value)
            if now := early_hashes().get(str(record.provenance.get("source"))):
                record.provenance["source"] = now
            return record
        except ValidationError as fault:
            first = fault.errors()[0]
            why = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
        except (ValueError, OSError) as fault:
            why = str(fault)
        self.complaints.append(f"{path}: not a record, skipped ({why})")
        return None

    # ---- what stands beside them
    def weights(self, id: str) -> Path | None:
        """The kept weights of a run, or None."""
        places = (self.root / "teachers" / f"{id}.safetensors", self.root / "weights" / f"{id}.safetensors")
        return next((path for path in places if path.is_file()), None)

    def keep_weights(self, id: str, data: bytes) -> Path:
        """Keep a run's weights (safetensors bytes); every run's, out of git's sight until it becomes a teacher."""
        return write_atomic(self._folder("weights") / f"{id}.safetensors", data)

    def keep_teacher(self, record: Record) -> Path | None:
        """Move a run's weights to where students look first, its record beside them; too large ones stay put."""
        path = self.weights(record.id)
        try:
            if path is None or path.parent.name == "teachers" or path.stat().st_size > MAX_COMMITTED_BYTES:
                return path
            write_atomic(self._folder("teachers") / f"{record.id}.json", dump(record).encode())
            return path.replace(self.root / "teachers" / path.name)
        except FileNotFoundError:  # another process has just moved it
            return self.weights(record.id)

    def predictions(self, id: str) -> Path:
        """Where the top class of each judged image is kept, and whether it is right."""
        return self._folder("predictions") / f"{id}.npz"

    def logits(self, id: str) -> Path:
        """Where the logits of the judged images are kept, in half precision."""
        return self._folder("logits") / f"{id}.npz"

    def checkpoint(self, id: str) -> Path:
        """Where a run under way is kept."""
        return self._folder("checkpoints") / f"{id}.pt"

    # ---- a sweep under way
    def keep_plan(self, runs: list[dict[str, Any]]) -> None:
        """Say which runs a sweep is at: the report shows those that have no record yet.  None at all: it is done."""
        path = self._folder("checkpoints") / "plan.json"
        if runs:
            write_atomic(path, json.dumps(runs).encode())
        else:
            path.unlink(missing_ok=True)

    def planned(self) -> list[dict[str, Any]]:
        """The runs that a sweep is at, or was when it was stopped."""
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
    """The text of a record: equal records, equal bytes."""
    return json.dumps(record.model_dump(by_alias=True), indent=1, sort_keys=True, allow_nan=False) + "\n"


def json_safe(value: Any) -> Any:
    """The same value as JSON can say it: what is not finite becomes None."""
    if isinstance(value, dict):
        return {str(k): json_safe(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
