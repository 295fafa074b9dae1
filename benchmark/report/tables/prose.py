"""FINDINGS.md in a report's folder: prose that people write, with tables that `report` writes.

    <!-- table mini-accuracy -->
    ...
    <!-- end of table -->

Between two such lines `report` puts the table of that name as Markdown, anew each time.
`<!-- table NAME: n, verdict -->` keeps only the named columns.  All other text stays as it is.  A folder without the
file gets none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmark.report.formatting import count_of
from benchmark.report.tables.table import Table
from benchmark.report.tables.text_formats import escape_markdown, to_markdown

NAME = "FINDINGS.md"
START, END = r"<!-- table ([\w-]+)(?:: ([^\n]+?))? -->", "<!-- end of table -->"
BLOCK = re.compile(rf"^({START})\n(?:(?!^<!-- table ).)*?^{END}$", re.MULTILINE | re.DOTALL)
OPENING = re.compile(rf"^{START}$", re.MULTILINE)


def findings(out: Path, tables: Mapping[str, Table]) -> tuple[dict[str, bytes], list[str]]:
    """{NAME: contents} with all tables written anew, {} without such a file; and a sentence for each that is missing.

    out: the report's folder; tables: name -> table as it is printed.
    """
    path = out / NAME
    if not path.is_file():
        return {}, []
    try:
        text, complaints = fill_tables(path.read_text(encoding="utf-8"), tables)
    except UnicodeDecodeError:
        return {}, [f"{path} is not UTF-8; it is left as it is: save it in UTF-8"]
    return {NAME: text.encode()}, [f"{path}: {complaint}" for complaint in complaints]


def fill_tables(text: str, tables: Mapping[str, Table]) -> tuple[str, list[str]]:
    """The text with each block written anew, and a sentence for each block that is unfinished or has no table."""
    complaints: list[str] = []

    def written(block: re.Match) -> str:
        opening, name, columns = block.groups()
        try:
            body = to_markdown(select_columns(tables[name], columns)) if columns else to_markdown(tables[name])
        except KeyError as missing:
            place = f"table {name} has no column" if name in tables else "this report has no table"
            complaints.append(f"{place} {missing.args[0]!r}")
            body = f"*{escape_markdown(complaints[-1])}*\n"
        return f"{opening}\n\n{body}\n{END}"

    unfinished = len(OPENING.findall(text)) - len(BLOCK.findall(text))
    filled = BLOCK.sub(written, text)
    if unfinished:
        complaints.append(f"{count_of(unfinished, 'block')} of a table without the line {END}")
    return filled, complaints


def select_columns(table: Table, columns: str) -> Table:
    """The table with only the columns of this list, separated by commas.  Raises KeyError for an unknown one."""
    places = []
    for name in map(str.strip, columns.split(",")):
        if name not in table.heads:
            raise KeyError(name)
        places.append(table.heads.index(name))
    lines = tuple(replace(line, cells=tuple(line.cells[place] for place in places)) for line in table.lines)
    return replace(table, heads=tuple(table.heads[place] for place in places), lines=lines)
