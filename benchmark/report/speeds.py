"""How fast each machine was beside what is asked of it: results/speed as `speed --suite targets` left it."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from benchmark.report.tables import Line, Shown, Table
from benchmark.report.wording import slug
from benchmark.store import Store

UNMEASURED = "not measured"
CAPTION = (
    "Batch 64, CIFAR-100’s shape. Ratios: this suite’s images per second over those of a plain loop (DataLoader "
    "workers, PIL crops, float32, eager, meters read at every step), both measured in turn in one run, best repeat "
    "of each; a cohort of L students counts each image L times. Shares: what a method adds to the plain student’s "
    "step and the teacher’s forward, medians. Targets for another kind of machine are not measured here."
)


def speed_tables(store: Store) -> tuple[list[Table], list[str]]:
    """A table for each machine, in order of file name; and complaints about files that are something else."""
    tables, complaints = [], []
    for path in sorted((store.root / "speed").glob("[!.]*.json")):
        try:
            tables.append(table_of(json.loads(path.read_text())))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            why = " ".join(f"{type(fault).__name__}: {fault}".split())
            complaints.append(f"{path}: not what `speed --suite targets` writes, left out ({why})")
    return tables, complaints


def table_of(value: dict[str, Any]) -> Table:
    """One machine's targets and what was measured."""
    made = value["made"]
    rows = [(row["work"], row["kind"], row["aim"], *words(row["found"])) for row in value["rows"]]
    told = f"{value['machine']}, torch {made['torch']}, commit {str(made['commit'])[:10]}, {value['repeats']} repeats."
    return Table(
        name=f"speed-{slug(value['machine'])}",
        title=f"Speed · {value['machine']}",
        caption=f"{told} {CAPTION}",
        heads=("machine", "target", "measured", ""),
        lines=tuple(Line(work, tuple(map(Shown, rest))) for work, *rest in rows),
        head="work",
        tidy=pd.DataFrame(rows, columns=["work", "machine", "target", "measured", "verdict"]),
    )


def words(found: dict[str, Any] | None) -> tuple[str, str]:
    """What was measured, and whether that is enough."""
    if found is None:
        return UNMEASURED, ""
    shares = found.get("shares")
    numbers = shares or {name: value for name, value in found.items() if name != "met"}
    shown = [
        f"{name} {100 * value:.1f} %" if shares else f"{name.replace('_', ' ')} {value:.2f}"
        for name, value in sorted(numbers.items())
    ]
    return ", ".join(shown), "met" if found["met"] else "missed"
