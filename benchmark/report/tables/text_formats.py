"""Write a table as Markdown and as CSV."""

from __future__ import annotations

import re

import pandas as pd

from benchmark.report.tables.table import Table, TableCell


def to_markdown(table: Table) -> str:
    """The table as Markdown: title, table, caption and notes."""
    heads = ["pair"] * table.grouped + [table.head, *table.heads]
    rows = [
        [escape_markdown(line.group)] * table.grouped
        + [escape_markdown(line.label)]
        + [markdown_cell(cell) for cell in line.cells]
        for line in table.lines
    ]
    frame = pd.DataFrame(rows, columns=[escape_markdown(head) for head in heads])
    sides = ["left"] * (1 + table.grouped) + ["right"] * len(table.heads)
    grid = frame.to_markdown(index=False, disable_numparse=True, colalign=sides)
    notes = [f"[{n.number}] {escape_markdown(n.text)}" + f" `{n.command}`" * bool(n.command) for n in table.notes]
    return "\n\n".join([f"### {escape_markdown(table.title)}", grid, escape_markdown(table.caption), *notes]) + "\n"


def to_csv(table: Table) -> str:
    """The table's tidy data as CSV: one line per row and pair, eight significant digits."""
    return table.tidy.to_csv(index=False, float_format="%.8g", lineterminator="\n")


def markdown_cell(cell: TableCell) -> str:
    """The text of a cell in a Markdown table."""
    mark = "**" * cell.bold + "*" * cell.quoted
    text = f"{mark}{escape_markdown(cell.text)}{mark}"
    return (
        text
        + f" ({escape_markdown(cell.small_print)})" * bool(cell.small_print)
        + "".join(f" [{number}]" for number in cell.notes)
    )


def escape_markdown(text: str) -> str:
    """The text on one line, with the characters escaped that Markdown or HTML would interpret."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(re.sub(r"([\\`*|\[\]])", r"\\\1", text).split())
