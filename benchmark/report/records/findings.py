"""What `theory` left in results/features: a pair's numbers, and the arrays beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.report.formatting import MISSING, count_of, slug
from benchmark.report.tables.table import Table

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """One pair as measured."""

    path: Path
    value: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def name(self) -> str:
        """What the names of its tables and pictures begin with."""
        return f"theory-{slug(self.path.stem)}"

    @property
    def title(self) -> str:
        """cifar100 · resnet56-resnet20 · 240 epochs · seed 0 · judged on test."""
        pair, protocol = self.value["pair"], self.value["protocol"]
        parts = [self.value["dataset"], f"{pair['teacher']}-{pair['student']}"]
        parts += [count_of(protocol["recipe"]["epochs"], "epoch"), f"seed {protocol['seed']}"]
        return " · ".join([*parts, f"judged on {protocol['judge']}"])

    @property
    def labels(self) -> dict[str, str]:
        """Run id -> its name in the tables."""
        return {run["id"]: run["label"] for run in self.value["runs"]}

    def records(self, id: str) -> str:
        """The name of the record behind a run, or its id where it has none."""
        return next(run["record"] or id for run in self.value["runs"] if run["id"] == id)

    def facts(self, id: str = "") -> dict[str, Any]:
        """What a line of CSV starts with."""
        start = {"dataset": self.value["dataset"], **self.value["pair"], "seed": self.value["protocol"]["seed"]}
        return start | ({"run": self.labels[id], "record": self.records(id)} if id else {})


def read_finding(path: Path) -> Finding:
    """A finding from its JSON file and the arrays beside it.  Raises ValueError, OSError and others when damaged."""
    value = json.loads(path.read_text())
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise ValueError(f"not of schema {SCHEMA}")
    with path.with_suffix(".npz").open("rb") as file, np.load(file, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    return Finding(path, value, arrays)


def finding_table(found: Finding, word: str, title: str, caption: str, heads: tuple[str, ...], **rest: Any) -> Table:
    """A table whose files are named after the pair and `word`."""
    lines, tidy = tuple(rest.pop("lines")), pd.DataFrame(rest.pop("tidy"))
    return Table(f"{found.name}-{word}", f"{title} · {found.title}", caption, heads, lines, tidy, **rest)


def format_number(value: float | None, digits: int = 3) -> str:
    """A measured number in a few digits; NOTHING for none."""
    return MISSING if value is None else f"{value:.{digits}g}"
