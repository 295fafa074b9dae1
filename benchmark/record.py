"""The record of one attempt at a run, as a validated value, and its text.  Does not import torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA = 1
Status = Literal["done", "diverged", "failed", "unfit"]


class Record(BaseModel):
    """The outcome of one attempt at a run.  Scores are fractions (0 to 1), times seconds, sizes counts of numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal[1] = Field(SCHEMA, alias="schema")
    kind: Literal["run", "cost", "deployment"] = "run"
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


# ---- text
def parse_record(text: bytes) -> Record:
    """The record that a file holds, with the hash of the latest equivalent code.  Raises ValueError with the reason."""
    try:
        record = Record.model_validate_json(text)
    except ValidationError as fault:
        raise ValueError(record_problem(fault.errors(include_url=False)[0])) from fault
    if "source" in record.provenance:
        record.provenance["source"] = latest_equivalent(str(record.provenance["source"]))
    return record


def record_problem(error: Mapping[str, Any]) -> str:
    """What is wrong with the text of a record; error: as pydantic describes the first one."""
    place, kind, value = ".".join(map(str, error["loc"])), error["type"], f"{error['input']!r:.60}"
    if kind == "json_invalid":
        reason = error["ctx"]["error"]
        return "it is nested too deep" if reason.startswith("recursion") else f"it is not JSON: {reason}"
    if place == "schema":
        return f"schema {value}, this program reads {SCHEMA}"
    if not place:
        return f"it is no object with fields but {value}"
    reasons = {"missing": "is missing", "extra_forbidden": "is no field of a record"}
    return f"{place} {reasons.get(kind) or f'has a value that no record has there: {value}'}"


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


# ---- versions of code
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
