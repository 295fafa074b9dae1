"""A table as LaTeX that compiles where it is pasted: booktabs, plain ASCII, every character of a name escaped."""

from __future__ import annotations

import unicodedata
from itertools import pairwise
from math import ceil

from benchmark.report.formatting import slug
from benchmark.report.tables.table import Note, Table, TableCell, TableLine

PREAMBLE = r"\usepackage{booktabs,graphicx}"
MOST = 8  # columns side by side
SHRUNK = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # only what is too wide
SIGNS = {
    **{char: "\\" + char for char in "{}$&#%_"},
    **{char: f"${char}$" for char in "<>|"},
    **{char: f"{{{char}}}" for char in "[]*"},  # after \\ a bare one would be an option
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
    **{'"': r"\char34{}", "`": r"\char96{}"},  # babel makes the first one active, the second one would join its like
    **{"–": r"\textendash{}", "—": r"\textemdash{}", "‘": r"\textquoteleft{}", "’": r"\textquoteright{}"},
    **{"“": r"\textquotedblleft{}", "”": r"\textquotedblright{}", "§": r"\S{}", "⁄": "/", "°": r"$^\circ$"},
    **{"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "‖": r"$\Vert$", "∞": r"$\infty$"},
    **{"≈": r"$\approx$", "≤": r"$\le$", "≥": r"$\ge$", "≠": r"$\ne$", "∈": r"$\in$", "→": r"$\to$", "√": r"$\surd$"},
    **{"∑": r"$\sum$", "ς": r"$\varsigma$", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}"},
    **{"ł": r"\l{}", "Ł": r"\L{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ı": r"\i{}"},
}
for greek in "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ":  # those that are no Latin letters in LaTeX
    word = unicodedata.name(greek).split()[-1].replace("LAMDA", "LAMBDA")
    SIGNS[greek] = f"$\\{word.lower() if greek.islower() else word.capitalize()}$"
ACCENTS = dict(zip("\u0300\u0301\u0302\u0303\u0304\u0307\u0308\u030a\u030b\u030c\u0327", "`'^~=.\"rHvc", strict=True))
RAISED = {"<super>": r"\textsuperscript{%s}", "<sub>": r"\textsubscript{%s}"}


def to_latex(table: Table) -> str:
    """The table as a float: title as its caption, the words around it in small print below."""
    parts = columns(len(table.heads))
    below = [text(table.caption), *map(note, table.notes)]
    return "\n".join(
        [
            f"% in the preamble: {PREAMBLE}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{text(table.title)}}}",
            rf"\label{{tab:{slug(table.name)}}}",
            SHRUNK,
            rf"\begin{{tabular}}{{l{'r' * len(parts[0])}}}",
            r"\toprule",
            "\n\\midrule\n".join("\n".join(block(table, part)) for part in parts),
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


def columns(count: int) -> list[range]:
    """The columns in parts of about the same width that fit on a page: they come below each other."""
    width = ceil(count / max(1, ceil(count / MOST))) if count else 1
    return [range(start, min(start + width, count)) for start in range(0, count, width)] or [range(0)]


def block(table: Table, part: range) -> list[str]:
    """Some of the columns: heads and rows, those of a pair under its name."""
    width = 1 + len(columns(len(table.heads))[0])
    found = [" & ".join([text(table.head), *(text(table.heads[index]) for index in part)]) + r" \\"]
    for group, lines in table.groups:
        found.append(r"\midrule")
        if group:
            found += [rf"\multicolumn{{{width}}}{{l}}{{{text(group)}}} \\", rf"\cmidrule(r){{1-{width}}}"]
        found += [row for line in lines for row in rows(line, part)]
    return found


def rows(line: TableLine, part: range) -> list[str]:
    """A line: which records it rests on, its numbers, and their small print below them."""
    cells = [line.cells[index] for index in part]
    records = " ".join(dict.fromkeys(name for cell in cells for name in cell.records.split()))
    found = [f"% records: {records}"] * bool(records)
    found.append(" & ".join([text(line.label), *map(number, cells)]) + r" \\")
    if any(cell.under for cell in cells):
        small = [rf"\footnotesize {text(cell.under)}" if cell.under else "" for cell in cells]
        found.append(" & ".join(["", *small]) + r" \\")
    return found


def number(cell: TableCell) -> str:
    """What a cell says, with the numbers of its notes; quoted from elsewhere: slanted."""
    found = text(cell.text)
    found = rf"\textit{{{found}}}" if cell.quoted else found
    found = rf"\textbf{{{found}}}" if cell.bold else found
    return found + rf"\textsuperscript{{{','.join(map(str, cell.notes))}}}" * bool(cell.notes)


def note(said: Note) -> str:
    """A paragraph below the table."""
    command = rf" \texttt{{{text(said.command)}}}" if said.command else ""
    return rf"\textsuperscript{{{said.number}}} {text(said.text)}{command}"


# ---- characters
def text(content: str) -> str:
    """Any text as LaTeX in ASCII, on one line; what LaTeX's own fonts lack is named by its number, as in [U+4E2D]."""
    line = " ".join(unicodedata.normalize("NFC", content).split())
    joined = {(char, char) for char in "-',"}  # -- would become a dash
    return "".join(letter(char) + "{}" * ((char, following) in joined) for char, following in pairwise(line + " "))


def letter(char: str) -> str:
    """One character; invisible ones vanish."""
    if char in SIGNS:
        return SIGNS[char]
    if " " <= char <= "\x7e":
        return char
    if unicodedata.category(char).startswith("C"):
        return ""
    kind, parts = decomposed(char)
    if kind or len(parts) == 1:
        return RAISED.get(kind, "%s") % "".join(map(letter, parts))
    if len(parts) == 2 and parts[1] in ACCENTS:
        return f"\\{ACCENTS[parts[1]]}{{{letter(parts[0])}}}"
    return f"{{[}}U+{ord(char):04X}{{]}}"


def decomposed(char: str) -> tuple[str, list[str]]:
    """² -> (<super>, [2]); é -> ("", [e, acute]): what a character is made of, and how."""
    content = unicodedata.decomposition(char).split()
    kind = content.pop(0) if content and content[0].startswith("<") else ""
    return kind, [chr(int(word, 16)) for word in content]
