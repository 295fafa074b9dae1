"""The table of what LP's loss costs, beside the regressors of FitNets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmark.report.formatting import MISSING, format_count
from benchmark.report.records.findings import Finding, finding_table, format_number
from benchmark.report.tables.table import Table, TableCell, TableLine

PRINTED = 64  # the batch of the grid's cases that are printed; the CSV has all


def cost(found: Finding) -> Table:
    """LP beside FitNets' regressors."""
    clock, cases = found.value["clock"], found.value["cost"]
    timed = {(case["name"], case["batch"]): case["ms"] for case in clock["losses"]}
    lines, tidy = [], []
    for case in cases:
        ms = timed.get((case["name"], case["batch"]), {})
        for piece, counts in case["counts"].items():
            shown = case["batch"] == PRINTED or not case["name"].startswith("width")
            lines += [TableLine(piece, cost_cells(counts, ms.get(piece)), describe_case(case))] if shown else []
            tidy.append(found.facts() | {"case": describe_case(case), "loss": piece} | counts | {"ms": ms.get(piece)})
    caption = (
        f"{fewer_sentence(cases)} Multiplications: of one forward pass of the loss, counted. Products: its matrix "
        "products and convolutions alone, with the backward pass, by torch’s counter. Regressors: as `hint` builds "
        f"them, and one fully connected layer without bias. Cross-entropy is not counted. ms: {clock['about']}."
    )
    heads = ("parameters", "multiplications", "products, with backward", "ms")
    return finding_table(found, "cost", "Cost of the loss, LP and regressors", caption, heads, lines=lines, tidy=tidy)


def describe_case(case: dict[str, Any]) -> str:
    """A case in words."""
    maps = " to ".join("×".join(map(str, shape)) for shape in case["maps"])
    widths = f"; embeddings {case['widths'][0]} to {case['widths'][1]}" if case["widths"] else ""
    return f"{case['name']}: maps {maps}{widths}; batch {case['batch']}"


def cost_cells(counts: dict[str, Any], ms: float | None) -> tuple[TableCell, ...]:
    """A loss's line."""
    if "unfit" in counts:
        return (TableCell(MISSING, counts["unfit"]), *[TableCell(MISSING)] * 3)
    counted = (TableCell(format_count(counts[word])) for word in ("parameters", "multiplications", "products"))
    return (*counted, TableCell(format_number(ms)))


def fewer_sentence(cases: Iterable[dict[str, Any]]) -> str:
    """In how many cases LP multiplies less than the regressor by convolution."""
    parts = []
    for place in ("lp on embeddings", "lp on maps"):
        own = [case["counts"] for case in cases if place in case["counts"]]
        rivals = [(counts[place], counts["regressor, convolution"]) for counts in own]
        known = [(a["multiplications"], b["multiplications"]) for a, b in rivals if "unfit" not in b]
        parts.append(f"{place.removeprefix('lp ')} in {sum(a < b for a, b in known)} of {len(known)} cases")
    return f"LP has no parameters. It multiplies less than the regressor by convolution {', '.join(parts)}."
