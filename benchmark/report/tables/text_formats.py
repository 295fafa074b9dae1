"""A table as Markdown to read and as CSV to compute with."""

from __future__ import annotations

import re

import pandas as pd

from benchmark.report.tables.table import Table, TableCell


def to_markdown(table: Table) -> str:
    """Title, table, caption and notes."""
    heads = ["pair"] * table.grouped + [table.head, *table.heads]
    rows = [
        [escaped(line.group)] * table.grouped + [escaped(line.label)] + [in_markdown(cell) for cell in line.cells]
        for line in table.lines
    ]
    frame = pd.DataFrame(rows, columns=[escaped(head) for head in heads])
    sides = ["left"] * (1 + table.grouped) + ["right"] * len(table.heads)
    grid = frame.to_markdown(index=False, disable_numparse=True, colalign=sides)
    notes = [f"[{n.number}] {escaped(n.text)}" + f" `{n.command}`" * bool(n.command) for n in table.notes]
    return "\n\n".join([f"### {escaped(table.title)}", grid, escaped(table.caption), *notes]) + "\n"


def to_csv(table: Table) -> str:
    """The tidy table: one line per row and pair, numbers unrounded."""
    return table.tidy.to_csv(index=False, float_format="%.8g", lineterminator="\n")


def in_markdown(cell: TableCell) -> str:
    """A cell of a Markdown table."""
    mark = "**" * cell.bold + "*" * cell.quoted
    text = f"{mark}{escaped(cell.text)}{mark}"
    return text + f" ({escaped(cell.under)})" * bool(cell.under) + "".join(f" [{number}]" for number in cell.notes)


def escaped(text: str) -> str:
    """Text that Markdown and the HTML inside it leave alone, on one line."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(re.sub(r"([\\`*|\[\]])", r"\\\1", text).split())
