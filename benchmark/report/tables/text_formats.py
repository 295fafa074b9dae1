"""Write a table as Markdown and as CSV."""

from __future__ import annotations

import re

import pandas as pd

from benchmark.errors import printable
from benchmark.report.tables.table import Note, Table, TableCell

FORMULA = tuple("=+-@\t\r")  # a spreadsheet computes a cell of text that begins so


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
    notes = map(markdown_note, table.notes)
    return "\n\n".join([f"### {escape_markdown(table.title)}", grid, escape_markdown(table.caption), *notes]) + "\n"


def to_csv(table: Table) -> str:
    """The table's tidy data as CSV: one line per row and pair."""
    return csv_text(table.tidy)


def csv_text(tidy: pd.DataFrame) -> str:
    """Data as CSV with eight significant digits.

    Text is on one line; an apostrophe precedes what a spreadsheet would take for a formula.
    """
    frame = tidy.assign(
        **{
            name: pd.Series(map(plain_text, column), column.index, column.dtype)
            for name, column in tidy.items()
            if not pd.api.types.is_numeric_dtype(column)
        }
    )
    return frame.to_csv(index=False, float_format="%.8g", lineterminator="\n")


def plain_text(value: object) -> object:
    """A value of a CSV; text is printable and begins no formula."""
    if not isinstance(value, str):
        return value
    return "'" * value.startswith(FORMULA) + printable(value)


def markdown_cell(cell: TableCell) -> str:
    """The text of a cell in a Markdown table."""
    mark = "**" * cell.bold + "*" * cell.quoted
    text = f"{mark}{escape_markdown(cell.text)}{mark}" + f" {escape_markdown(cell.mark)}" * bool(cell.mark)
    return (
        text
        + f" ({escape_markdown(cell.small_print)})" * bool(cell.small_print)
        + "".join(f" [{number}]" for number in cell.notes)
    )


def markdown_note(note: Note) -> str:
    """A note as a paragraph; its command is code, between more backticks than it has in a row."""
    fence = "`" * (1 + max(map(len, re.findall("`+", note.command)), default=0))
    space = " " * (len(fence) > 1)
    command = f" {fence}{space}{printable(note.command)}{space}{fence}" if note.command else ""
    return f"[{note.number}] {escape_markdown(note.text)}{command}"


def escape_markdown(text: str) -> str:
    """The text on one line, with the characters escaped that Markdown or HTML would interpret."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(re.sub(r"([\\`*|\[\]])", r"\\\1", text).split())
