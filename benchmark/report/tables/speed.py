"""The tables of speed targets per machine, from the files that `speed --suite targets` writes to results/speed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from benchmark.files import content_problem, read_json
from benchmark.report.formatting import slug
from benchmark.report.tables.table import Table, TableCell, TableLine
from benchmark.store import Store

NOT_MEASURED = "not measured"
EXPECTED = ("expected, not measured", "limited by")  # columns of tables that have estimates; older ones have none
CAPTION = (
    "Batch 64, CIFAR-100’s shape. Ratios: this suite’s images per second over those of a plain loop (DataLoader "
    "workers, PIL crops, float32, eager, meters read at every step), both measured in turn in one run, best repeat "
    "of each; a cohort of L students counts each image L times. Shares: what a method adds to the plain student’s "
    "step and the teacher’s forward, medians; below 0 it is noise. Targets for another kind of "
    "machine are not measured here."
)


def speed_tables(store: Store) -> tuple[list[Table], list[str]]:
    """The tables of each machine, in order of file name; and a sentence for each file that cannot be read."""
    tables, complaints = [], []
    for path in sorted((store.root / "speed").glob("[!.]*.json")):
        try:
            value = read_json(path)
            tables += [targets_table(value), *([bound_table(value)] if "bound" in value else [])]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as fault:
            why = content_problem(fault)
            complaints.append(f"{path}: not what `speed --suite targets` writes, left out ({why})")
    return tables, complaints


def targets_table(value: dict[str, Any]) -> Table:
    """The table of one machine's targets, measurements and, if the file has them, estimates."""
    provenance = value["made"]
    estimates = EXPECTED if any("expected" in row for row in value["rows"]) else ()
    rows = [(row["work"], row["kind"], row["aim"], *format_result(row["found"])) for row in value["rows"]]
    if estimates:
        expected = ((row.get("expected", ""), row.get("limit", "")) for row in value["rows"])
        rows = [(*row, *estimate) for row, estimate in zip(rows, expected, strict=True)]
    versions = f"torch {provenance['torch']}, commit {str(provenance['commit'])[:10]}"
    return Table(
        name=f"speed-{slug(value['machine'])}",
        title=f"Speed · {value['machine']}",
        caption=f"{value['machine']}, {versions}, {value['repeats']} repeats. {CAPTION}",
        heads=("machine", "target", "measured", "", *estimates),
        lines=tuple(TableLine(work, tuple(map(TableCell, rest))) for work, *rest in rows),
        head="work",
        tidy=pd.DataFrame(rows, columns=["work", "machine", "target", "measured", "verdict", *estimates]),
    )


def bound_table(value: dict[str, Any]) -> Table:
    """The table of where a step's time goes on one machine, with lower bounds by compute and by memory traffic."""
    bound, step = value["bound"], value["bound"]["milliseconds"]["step"]
    rows = [("the step as it is trained", step)]
    parts = {f"alone: {part}": ms for part, ms in bound["milliseconds"].items() if part != "step"}
    operators = {f"operator: {name}": share * step for name, share in bound["operators"].items()}
    for shares in (parts, operators):
        rows += sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    counts, rates = bound["counted"], bound["per_second"]
    rows += [
        (f"floor: {counts['macs'] / 1e9:.1f} G multiply-accumulates", bound["floor_ms"]["macs"]),
        (f"floor: {counts['bytes'] / 1e6:.0f} MB read and written", bound["floor_ms"]["bytes"]),
    ]
    caption = (
        f"{value['machine']}; {bound['work']}, batch {bound['batch']}. Parts: each carried out alone, its best round; "
        "where steps are replayed from a graph they take longer alone. Operators: their share of a profiled step, of "
        "the step’s time. Floors: the multiply-accumulates of convolutions and linear layers (backward twice forward) "
        f"at the {rates['macs'] / 1e9:,.0f} G/s of a large matrix product in the same precision; the bytes that "
        f"torch’s operators read and write, as if no cache kept them, at the {rates['bytes'] / 1e9:,.0f} GB/s of a "
        "copy."
    )
    return Table(
        name=f"speed-{slug(value['machine'])}-bound",
        title=f"Where a step goes · {value['machine']}",
        caption=caption,
        heads=("ms", "of the step"),
        lines=tuple(
            TableLine(part, (TableCell(f"{ms:.2f}"), TableCell(f"{100 * ms / step:.0f} %"))) for part, ms in rows
        ),
        head="what",
        tidy=pd.DataFrame(rows, columns=["what", "ms"]),
    )


def format_result(result: dict[str, Any] | None) -> tuple[str, str]:
    """The measured numbers as text, and whether the target was met."""
    if result is None:
        return NOT_MEASURED, ""
    shares = result.get("shares")
    numbers = shares or {name: value for name, value in result.items() if name != "met"}
    parts = [
        f"{name} {100 * value:.1f} %" if shares else f"{name.replace('_', ' ')} {value:.2f}"
        for name, value in sorted(numbers.items())
    ]
    return ", ".join(parts), "met" if result["met"] else "missed"
