"""Write the table that a paper prints as LaTeX, for booktabs and siunitx, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmark.report.docstrings import LEGEND
from benchmark.report.formatting import MISSING, slug
from benchmark.report.records.cells import Row
from benchmark.report.tables.latex import SHRINK, escape_latex
from benchmark.report.tables.paper import PaperTable
from benchmark.report.tables.paper_columns import BEST, SECOND, PaperBlock, PaperColumn
from benchmark.report.tables.text_formats import csv_text, escape_markdown

PREAMBLE = r"\usepackage{booktabs,graphicx,longtable,siunitx}"
WIDE = 4  # columns; a table with more spans both columns of the page
SMALL, LONG = 40, 60  # lines; a table with more is set smaller, or over several pages
HEADS = ("Teacher", "Student")


# ---- LaTeX
def paper_latex(table: PaperTable) -> str:
    """The table as a float, over several pages if it is long; needs PREAMBLE.  Numbers stand in columns of type S."""
    lines, width = body_lines(table), max(len(block.columns) for block in table.blocks)
    count = len(table.rows) * len(table.blocks)
    caption = rf"\caption{{{escape_latex(table.caption)}}}"
    label = rf"\label{{tab:{slug(table.name)}}}"
    legend = rf"\footnotesize {' '.join(map(legend_latex, table.legend))}"
    setup = [r"\scriptsize" if count > SMALL else r"\footnotesize", r"\setlength{\tabcolsep}{3pt}"]
    setup.append(r"\sisetup{detect-weight=true,mode=text}")  # bold digits
    columns = f"{{l{column_type(table) * width}}}"
    head = [f"% in the preamble: {PREAMBLE}", f"% unrounded numbers and their records: {table.name}.csv"]
    if count > LONG:
        rules = [r"\toprule", r"\endfirsthead", r"\toprule", r"\endhead", r"\bottomrule", r"\endfoot"]
        head.append("% longtable needs a page of one column")
        top = [rf"\begin{{longtable}}{columns}", rf"{caption}{label}\\", *rules]
        return "\n".join([*head, "{", *setup, *top, *lines, r"\end{longtable}", "}", rf"{{{legend}\par}}", ""])
    name = "table*" if width > WIDE else "table"
    float_ = [rf"\begin{{{name}}}", r"\centering", r"\setlength{\belowcaptionskip}{4pt}", caption, label, *setup]
    grid = [SHRINK, rf"\begin{{tabular}}{columns}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}}"]
    return "\n".join([*head, *float_, *grid, r"\par\smallskip", rf"{{{legend}\par}}", rf"\end{{{name}}}", ""])


def legend_latex(sentence: str) -> str:
    """A sentence of the legend; no line ends between a mark and its meaning."""
    return "~".join(map(escape_latex, sentence.split(" ", 1))) if sentence[0] in LEGEND else escape_latex(sentence)


def column_type(table: PaperTable) -> str:
    """The type of a column of numbers, and of the differences beside them if there are any."""
    digits = 3 if any(value >= 0.99995 for b in table.blocks for c in b.columns for value in c.means.values()) else 2
    return f"S[table-format={digits}.2]" + r"@{\,}>{\tiny}l" * table.has_differences


def body_lines(table: PaperTable) -> list[str]:
    """The lines between the outer rules: each block's heads and rows."""
    span = 1 + table.has_differences
    lines: list[str] = []
    for block in table.blocks:
        lines += [r"\midrule"] * bool(lines)
        if block.title:
            width = span * len(block.columns)
            lines.append(rf" & \multicolumn{{{width}}}{{c}}{{{escape_latex(block.title)}}} \\")
            lines.append(rf"\cmidrule(l){{2-{1 + width}}}")
        for place, name in enumerate(HEADS):
            heads = [escape_latex(column.heads[place]) for column in block.columns]
            lines.append(" & ".join([name, *(rf"\multicolumn{{{span}}}{{c}}{{{head}}}" for head in heads)]) + r" \\")
        for group in table.row_groups:
            lines += [r"\midrule", *(row_latex(table, block, row) for row in group)]
    return lines


def row_latex(table: PaperTable, block: PaperBlock, row: Row) -> str:
    """A row of a block."""
    mark = rf"\smash{{\textsuperscript{{{escape_latex(table.marks[row])}}}}}" if table.marks[row] else ""
    cells = [part for column in block.columns for part in cell_latex(column, row, table.has_differences)]
    return " & ".join([escape_latex(table.labels[row]) + mark, *cells]) + r" \\"


def cell_latex(column: PaperColumn, row: Row, has_differences: bool) -> list[str]:
    """The number and, where the table has differences, what stands beside it."""
    text = column.text(row)
    number = {BEST: rf"\bfseries {text}", SECOND: rf"{{\underline{{{text}}}}}"}.get(column.standing(row), text)
    number = r"{\textendash}" if text == MISSING else number
    if has_differences and column.pair is None:  # a mean has none
        return [rf"\multicolumn{{2}}{{c}}{{{number}}}"]
    return [number, escape_latex(column.difference(row))] if has_differences else [number]


# ---- Markdown and CSV
def paper_markdown(table: PaperTable) -> str:
    """The table as Markdown: caption, a grid for each block, legend."""
    parts = [f"### {escape_markdown(table.caption)}"]
    for block in table.blocks:
        parts += [f"**{escape_markdown(block.title)}**"] if block.title else []
        parts.append(block_grid(table, block))
    return "\n\n".join([*parts, *map(escape_markdown, table.legend)]) + "\n"


def block_grid(table: PaperTable, block: PaperBlock) -> str:
    """The grid of a block: the teachers' networks as heads, the students' as the first row."""
    teachers, students = ([name, *(column.heads[k] for column in block.columns)] for k, name in enumerate(HEADS))
    rows = [
        [
            escape_markdown(table.labels[row] + table.marks[row]),
            *(cell_markdown(column, row) for column in block.columns),
        ]
        for row in table.rows
    ]
    frame = pd.DataFrame([escaped(students), *rows], columns=escaped(teachers))
    return frame.to_markdown(index=False, disable_numparse=True, colalign=["left"] + ["right"] * len(block.columns))


def escaped(texts: Sequence[str]) -> list[str]:
    """The texts, for Markdown."""
    return [escape_markdown(text) for text in texts]


def cell_markdown(column: PaperColumn, row: Row) -> str:
    """A number, with its difference to the published one in brackets."""
    text, difference = column.text(row), column.difference(row)
    number = {BEST: f"**{text}**", SECOND: f"<u>{text}</u>"}.get(column.standing(row), text)
    return number + f" ({difference})" * bool(difference)


def paper_csv(table: PaperTable) -> str:
    """The table as CSV: a line for each number, unrounded, with its records."""
    return csv_text(table.tidy)
