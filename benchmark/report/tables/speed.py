"""How fast each machine was beside what is asked of it: results/speed as `speed --suite targets` left it."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from benchmark.report.formatting import slug
from benchmark.report.tables.table import Table, TableCell, TableLine
from benchmark.store import Store

UNMEASURED = "not measured"
CAPTION = (
    "Batch 64, CIFAR-100’s shape. Ratios: this suite’s images per second over those of a plain loop (DataLoader "
    "workers, PIL crops, float32, eager, meters read at every step), both measured in turn in one run, best repeat "
    "of each; a cohort of L students counts each image L times. Shares: what a method adds to the plain student’s "
    "step and the teacher’s forward, medians; below 0 it is noise. Targets for another kind of "
    "machine are not measured here."
)


def speed_tables(store: Store) -> tuple[list[Table], list[str]]:
    """Tables for each machine, in order of file name; and complaints about files that are something else."""
    tables, complaints = [], []
    for path in sorted((store.root / "speed").glob("[!.]*.json")):
        try:
            value = json.loads(path.read_text())
            tables += [table_of(value), *([bound_table(value)] if "bound" in value else [])]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
            why = " ".join(f"{type(fault).__name__}: {fault}".split())
            complaints.append(f"{path}: not what `speed --suite targets` writes, left out ({why})")
    return tables, complaints


def table_of(value: dict[str, Any]) -> Table:
    """One machine's targets and what was measured."""
    provenance = value["made"]
    rows = [(row["work"], row["kind"], row["aim"], *format_found(row["found"])) for row in value["rows"]]
    versions = f"torch {provenance['torch']}, commit {str(provenance['commit'])[:10]}"
    return Table(
        name=f"speed-{slug(value['machine'])}",
        title=f"Speed · {value['machine']}",
        caption=f"{value['machine']}, {versions}, {value['repeats']} repeats. {CAPTION}",
        heads=("machine", "target", "measured", ""),
        lines=tuple(TableLine(work, tuple(map(TableCell, rest))) for work, *rest in rows),
        head="work",
        tidy=pd.DataFrame(rows, columns=["work", "machine", "target", "measured", "verdict"]),
    )


def bound_table(value: dict[str, Any]) -> Table:
    """Where the time of a step goes on one machine, and what the machine could do at best."""
    bound, step = value["bound"], value["bound"]["milliseconds"]["step"]
    rows = [("the step as it is trained", step)]
    parts = {f"alone: {part}": taken for part, taken in bound["milliseconds"].items() if part != "step"}
    operators = {f"operator: {name}": share * step for name, share in bound["operators"].items()}
    for shares in (parts, operators):
        rows += sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    counted, rate = bound["counted"], bound["per_second"]
    rows += [
        (f"floor: {counted['macs'] / 1e9:.1f} G multiply-accumulates", bound["floor_ms"]["macs"]),
        (f"floor: {counted['bytes'] / 1e6:.0f} MB read and written", bound["floor_ms"]["bytes"]),
    ]
    caption = (
        f"{value['machine']}; {bound['work']}, batch {bound['batch']}. Parts: each carried out alone, its best round; "
        "where steps are replayed from a graph they take longer alone. Operators: their share of a profiled step, of "
        "the step’s time. Floors: the multiply-accumulates of convolutions and linear layers (backward twice forward) "
        f"at the {rate['macs'] / 1e9:,.0f} G/s of a large matrix product in the same precision; the bytes that "
        f"torch’s operators read and write, as if no cache kept them, at the {rate['bytes'] / 1e9:,.0f} GB/s of a copy."
    )
    return Table(
        name=f"speed-{slug(value['machine'])}-bound",
        title=f"Where a step goes · {value['machine']}",
        caption=caption,
        heads=("ms", "of the step"),
        lines=tuple(
            TableLine(what, (TableCell(f"{ms:.2f}"), TableCell(f"{100 * ms / step:.0f} %"))) for what, ms in rows
        ),
        head="what",
        tidy=pd.DataFrame(rows, columns=["what", "ms"]),
    )


def format_found(found: dict[str, Any] | None) -> tuple[str, str]:
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
