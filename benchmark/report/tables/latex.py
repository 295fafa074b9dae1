"""Write a table as LaTeX: a float with booktabs rules, in ASCII, with all special characters escaped."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from math import ceil

from benchmark.report.formatting import slug
from benchmark.report.tables.table import Note, Table, TableCell, TableLine

PREAMBLE = r"\usepackage{booktabs,graphicx}"
MAX_COLUMNS = 8  # columns side by side; further ones come in parts below each other
SHRINK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # only a table wider than the line
ESCAPES = {
    **{char: "\\" + char for char in "{}$&#%_"},
    **{char: f"${char}$" for char in "<>|"},
    **{char: f"{{{char}}}" for char in "[]*"},  # unprotected after \\ they would start its optional argument
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
    **{'"': r"\char34{}", "`": r"\char96{}"},  # babel makes the first active; two of the second form a ligature
    **{"–": r"\textendash{}", "—": r"\textemdash{}", "‘": r"\textquoteleft{}", "’": r"\textquoteright{}"},
    **{
        "“": r"\textquotedblleft{}",
        "”": r"\textquotedblright{}",
        "§": r"\S{}",
        "†": r"\dag{}",
        "‡": r"\ddag{}",
        "⁄": "/",
        "°": r"$^\circ$",
    },
    **{"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "‖": r"$\Vert$", "∞": r"$\infty$"},
    **{"≈": r"$\approx$", "≤": r"$\le$", "≥": r"$\ge$", "≠": r"$\ne$", "∈": r"$\in$", "→": r"$\to$", "√": r"$\surd$"},
    **{"∑": r"$\sum$", "ς": r"$\varsigma$", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}"},
    **{"ł": r"\l{}", "Ł": r"\L{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ı": r"\i{}"},
}
for greek in "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ":  # without those that LaTeX writes as Latin letters
    word = unicodedata.name(greek).split()[-1].replace("LAMDA", "LAMBDA")
    ESCAPES[greek] = f"$\\{word.lower() if greek.islower() else word.capitalize()}$"
ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0304\u0307\u0308\u030a\u030b\u030c\u0327", "`'^~=.\"rHvc", strict=True))
SCRIPTS = {"<super>": r"\textsuperscript{%s}", "<sub>": r"\textsubscript{%s}"}


def to_latex(table: Table) -> str:
    """The table as a float: the title as its caption, the table's caption and notes in small print below."""
    parts = column_parts(len(table.heads))
    below = [escape_latex(table.caption), *map(note_latex, table.notes)]
    return "\n".join(
        [
            f"% in the preamble: {PREAMBLE}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(table.title)}}}",
            rf"\label{{tab:{slug(table.name)}}}",
            SHRINK,
            rf"\begin{{tabular}}{{l{'r' * len(parts[0])}}}",
            r"\toprule",
            "\n\\midrule\n".join("\n".join(part_lines(table, part)) for part in parts),
            r"\bottomrule",
            r"\end{tabular}}",
            r"\par\smallskip",
            r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
            "\n\n".join(part for part in below if part),
            r"\end{minipage}",
            r"\end{table}",
            "",
        ]
    )


def column_parts(count: int) -> list[range]:
    """The indices of `count` columns in parts of at most MAX_COLUMNS and of about the same width."""
    width = ceil(count / max(1, ceil(count / MAX_COLUMNS))) if count else 1
    return [range(start, min(start + width, count)) for start in range(0, count, width)] or [range(0)]


def part_lines(table: Table, part: range) -> list[str]:
    """The lines of LaTeX of one part: headers and rows, grouped under the pairs' labels."""
    width = 1 + len(column_parts(len(table.heads))[0])
    lines = [" & ".join([escape_latex(table.head), *(escape_latex(table.heads[index]) for index in part)]) + r" \\"]
    for group, members in table.groups:
        lines.append(r"\midrule")
        if group:
            lines += [rf"\multicolumn{{{width}}}{{l}}{{{escape_latex(group)}}} \\", rf"\cmidrule(r){{1-{width}}}"]
        lines += [row for line in members for row in row_lines(line, part)]
    return lines


def row_lines(line: TableLine, part: range) -> list[str]:
    """The lines of LaTeX of one row: a comment with its records, the cells, and below them their small print."""
    cells = [line.cells[index] for index in part]
    records = " ".join(dict.fromkeys(name for cell in cells for name in cell.records.split()))
    lines = [f"% records: {records}"] * bool(records)
    lines.append(" & ".join([escape_latex(line.label), *map(cell_latex, cells)]) + r" \\")
    if any(cell.small_print for cell in cells):
        small = [rf"\footnotesize {escape_latex(cell.small_print)}" if cell.small_print else "" for cell in cells]
        lines.append(" & ".join(["", *small]) + r" \\")
    return lines


def cell_latex(cell: TableCell) -> str:
    """The text of a cell with the numbers of its notes; bold or, for a quoted number, in italics."""
    latex = escape_latex(cell.text)
    latex = rf"\textit{{{latex}}}" if cell.quoted else latex
    latex = rf"\textbf{{{latex}}}" if cell.bold else latex
    latex += f" {escape_latex(cell.mark)}" * bool(cell.mark)
    return latex + rf"\textsuperscript{{{','.join(map(str, cell.notes))}}}" * bool(cell.notes)


def note_latex(note: Note) -> str:
    """A note as a paragraph below the table."""
    command = rf" \texttt{{{escape_latex(note.command)}}}" if note.command else ""
    return rf"\textsuperscript{{{note.number}}} {escape_latex(note.text)}{command}"


# ---- characters
def escape_latex(content: str) -> str:
    """Any text as LaTeX in ASCII, on one line; characters that LaTeX's fonts lack as their code point: [U+4E2D]."""
    line = " ".join(unicodedata.normalize("NFC", content).split())
    joined = {(char, char) for char in "-',"}  # pairs that form a ligature, such as -- for a dash
    return "".join(
        escape_character(char) + "{}" * ((char, following) in joined) for char, following in pairwise(line + " ")
    )


def escape_character(char: str) -> str:
    """One character as LaTeX; control and format characters are dropped."""
    if char in ESCAPES:
        return ESCAPES[char]
    if " " <= char <= "\x7e":
        return char
    if unicodedata.category(char).startswith("C"):
        return ""
    kind, parts = decompose(char)
    if kind or len(parts) == 1:
        return SCRIPTS.get(kind, "%s") % "".join(map(escape_character, parts))
    if len(parts) == 2 and parts[1] in ACCENTS:
        return f"\\{ACCENTS[parts[1]]}{{{escape_character(parts[0])}}}"
    return f"{{[}}U+{ord(char):04X}{{]}}"


def decompose(char: str) -> tuple[str, list[str]]:
    """The Unicode decomposition of a character, (kind, parts): ² -> (<super>, [2]); é -> ("", [e, acute])."""
    content = unicodedata.decomposition(char).split()
    kind = content.pop(0) if content and content[0].startswith("<") else ""
    return kind, [chr(int(code, 16)) for code in content]
