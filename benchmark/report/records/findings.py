"""Read the results of `theory` from results/features: a pair's numbers (JSON) and the arrays beside them (NPZ)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.files import UnreadableFile, read_arrays, read_json
from benchmark.report.formatting import MISSING, count_of, slug
from benchmark.report.tables.table import Table

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """The results of `theory` for one pair."""

    path: Path
    value: dict[str, Any]  # the JSON file
    arrays: dict[str, np.ndarray]  # the NPZ file

    @property
    def name(self) -> str:
        """The prefix of the names of its tables and figures."""
        return f"theory-{slug(self.path.stem)}"

    @property
    def title(self) -> str:
        """For example: cifar100 · resnet56-resnet20 · 240 epochs · seed 0 · judged on test."""
        pair, protocol = self.value["pair"], self.value["protocol"]
        parts = [self.value["dataset"], f"{pair['teacher']}-{pair['student']}"]
        parts += [count_of(protocol["recipe"]["epochs"], "epoch"), f"seed {protocol['seed']}"]
        return " · ".join([*parts, f"judged on {protocol['judge']}"])

    @property
    def labels(self) -> dict[str, str]:
        """Run id -> its label in the tables."""
        return {run["id"]: run["label"] for run in self.value["runs"]}

    def records(self, id: str) -> str:
        """The name of a run's record, or the run's id where it has none."""
        return next(run["record"] or id for run in self.value["runs"] if run["id"] == id)

    def facts(self, id: str = "") -> dict[str, Any]:
        """The first columns of a line of CSV: data set, pair, seed and, with a run id, run and record."""
        start = {"dataset": self.value["dataset"], **self.value["pair"], "seed": self.value["protocol"]["seed"]}
        return start | ({"run": self.labels[id], "record": self.records(id)} if id else {})


def read_finding(path: Path) -> Finding:
    """Read a finding from its JSON file and the NPZ file beside it.

    Raises UnreadableFile for another schema or a damaged file, FileNotFoundError where one is missing.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise UnreadableFile(f"it is not of schema {SCHEMA}")
    return Finding(path, value, read_arrays(path.with_suffix(".npz")))


def finding_table(finding: Finding, name: str, title: str, caption: str, heads: tuple[str, ...], **rest: Any) -> Table:
    """A table whose files are named after the pair and `name`; rest: further fields of Table."""
    lines, tidy = tuple(rest.pop("lines")), pd.DataFrame(rest.pop("tidy"))
    return Table(f"{finding.name}-{name}", f"{title} · {finding.title}", caption, heads, lines, tidy, **rest)


def format_number(value: float | None, digits: int = 3) -> str:
    """A measured number with `digits` significant digits; MISSING for None."""
    return MISSING if value is None else f"{value:.{digits}g}"
