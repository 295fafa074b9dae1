"""The table of the cost of LP's loss beside FitNets' regressors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmark.report.formatting import MISSING, format_count
from benchmark.report.records.findings import Finding, finding_table, format_number
from benchmark.report.tables.table import Table, TableCell, TableLine, device_text

PRINTED_BATCH = 64  # batch size of the grid's cases that are printed; the CSV has all cases


def loss_cost_table(finding: Finding) -> Table:
    """The table: parameters, multiplications and time of each loss in each case."""
    clock, cases = finding.value["clock"], finding.value["cost"]
    timed = {(case["name"], case["batch"]): case["ms"] for case in clock["losses"]}
    lines, tidy = [], []
    for case in cases:
        ms = timed.get((case["name"], case["batch"]), {})
        for loss, counts in case["counts"].items():
            printed = case["batch"] == PRINTED_BATCH or not case["name"].startswith("width")
            lines += [TableLine(loss, cost_cells(counts, ms.get(loss)), describe_case(case))] if printed else []
            tidy.append(finding.facts() | {"case": describe_case(case), "loss": loss} | counts | {"ms": ms.get(loss)})
    caption = (
        f"{fewer_sentence(cases)} Multiplications: of one forward pass of the loss, counted. Products: its matrix "
        "products and convolutions alone, with the backward pass, by torch’s counter. Regressors: as `hint` builds "
        f"them, and one fully connected layer without bias. Cross-entropy is not counted. ms: "
        f"{device_text(clock['about'])}."
    )
    heads = ("parameters", "multiplications", "products, with backward", "ms")
    return finding_table(finding, "cost", "Cost of the loss, LP and regressors", caption, heads, lines=lines, tidy=tidy)


def describe_case(case: dict[str, Any]) -> str:
    """A case in words: name, map shapes, embedding widths, batch size."""
    maps = " to ".join("×".join(map(str, shape)) for shape in case["maps"])
    widths = f"; embeddings {case['widths'][0]} to {case['widths'][1]}" if case["widths"] else ""
    return f"{case['name']}: maps {maps}{widths}; batch {case['batch']}"


def cost_cells(counts: dict[str, Any], ms: float | None) -> tuple[TableCell, ...]:
    """The cells of a loss's line; ms: measured milliseconds, None where not measured."""
    if "unfit" in counts:
        return (TableCell(MISSING, counts["unfit"]), *[TableCell(MISSING)] * 3)
    counted = (TableCell(format_count(counts[name])) for name in ("parameters", "multiplications", "products"))
    return (*counted, TableCell(format_number(ms)))


def fewer_sentence(cases: Iterable[dict[str, Any]]) -> str:
    """The sentence on how often LP needs fewer multiplications than the convolutional regressor."""
    parts = []
    for loss in ("lp on embeddings", "lp on maps"):
        counts = [case["counts"] for case in cases if loss in case["counts"]]
        compared = [(each[loss], each["regressor, convolution"]) for each in counts]
        known = [(a["multiplications"], b["multiplications"]) for a, b in compared if "unfit" not in b]
        parts.append(f"{loss.removeprefix('lp ')} in {sum(a < b for a, b in known)} of {len(known)} cases")
    return f"LP has no parameters. It multiplies less than the regressor by convolution {', '.join(parts)}."
