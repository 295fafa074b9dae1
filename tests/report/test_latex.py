"""Tests of the LaTeX tables: layout, escaping, and that they compile."""

import re
import shutil
import string
import subprocess

import pandas as pd
import pytest

from benchmark.report.tables.latex import PREAMBLE, escape_latex, to_latex
from benchmark.report.tables.table import TIED, Note, Table, TableCell, TableLine
from benchmark.report.tables.text_formats import to_markdown

HOSTILE = r"""\input{/etc/passwd} \\[1cm] 100% & #1 $x$ a_b ^2 ~ {x} }{ <b> "q" `c` --seeds '' ,, * [x] | \end{table}"""
UNICODE = (
    "− × ’ ‘ “ ” – — ² α γ Σ λ ± · … ° § ½ ᵀ ⁺ ‖ ≈ ≤ ≥ ∈ → é ü ñ ç Å ő ß ø ł ế µ Ω ﬁ 中 🙂 \u202e \x07 ά K \u0301 x₂"
)


def a_table(lines, heads=("resnet56-resnet20", "wrn_40_2-wrn_16_2"), **changes):
    """A table with these lines; changes: further fields."""
    known = {"name": "cifar100-accuracy", "title": "Accuracy · cifar100", "caption": "Top-1 in percent; n = 3."}
    return Table(**known | {"heads": heads, "lines": tuple(lines), "tidy": pd.DataFrame()} | changes)


def rows_of(table):
    """The lines of LaTeX between \\toprule and \\bottomrule."""
    return re.search(r"\\toprule\n(.*)\n\\bottomrule", to_latex(table), re.S)[1].splitlines()


# ---- layout
def test_numbers_stand_in_rows_with_their_small_print_below():
    cells = (TableCell("70.32 ± 0.20", "n = 3", bold=True), TableCell("−0.41", notes=(1, 2), records="0123456789ab-1"))
    assert rows_of(a_table([TableLine("kd", cells)])) == [
        r"method & resnet56-resnet20 & wrn\_40\_2-wrn\_16\_2 \\",
        r"\midrule",
        "% records: 0123456789ab-1",
        r"kd & \textbf{70.32 $\pm$ 0.20} & $-$0.41\textsuperscript{1,2} \\",
        r" & \footnotesize n = 3 &  \\",
    ]


def test_a_number_not_told_from_the_best_is_marked_in_latex_and_markdown():
    table = a_table([TableLine("kd", (TableCell("70.32 ± 0.20", "n = 3", mark=TIED),))], heads=("a-b",))
    assert r"kd & 70.32 $\pm$ 0.20 $\approx$ \\" in rows_of(table)
    assert "70.32 ± 0.20 ≈ (n = 3)" in to_markdown(table)


def test_rows_of_a_pair_stand_under_its_name():
    lines = [TableLine(method, (TableCell("1"),) * 2, pair) for pair in ("a-b", "c-d") for method in ("ce", "kd")]
    _, *rest = rows_of(a_table(lines))
    first = [r"\midrule", r"\multicolumn{3}{l}{a-b} \\", r"\cmidrule(r){1-3}", r"ce & 1 & 1 \\", r"kd & 1 & 1 \\"]
    assert rest == first + [line.replace("a-b", "c-d") for line in first]


def test_many_columns_come_in_parts_below_each_other():
    heads = tuple(f"pair {index}" for index in range(13))
    found = rows_of(
        a_table([TableLine("kd", tuple(TableCell(str(index), records=f"r-{index}") for index in range(13)))], heads)
    )
    assert [line.count("&") for line in found] == [7, 0, 0, 7, 0, 6, 0, 0, 6]
    assert found[3] == r"kd & 0 & 1 & 2 & 3 & 4 & 5 & 6 \\" and found[8] == r"kd & 7 & 8 & 9 & 10 & 11 & 12 \\"
    assert found[7] == "% records: r-7 r-8 r-9 r-10 r-11 r-12"
    assert r"\begin{tabular}{lrrrrrrr}" in to_latex(a_table([], heads))


def test_a_quoted_number_is_in_italics():
    assert r"kd & \textit{70.66} \\" in rows_of(
        a_table([TableLine("kd", (TableCell("70.66", quoted=True),))], ("a-b",))
    )


def test_title_is_the_caption_and_the_tables_caption_and_notes_stand_below():
    note = Note(1, "kd, seed 0: failed.", "python -m benchmark run --seeds 0")
    found = to_latex(a_table([TableLine("kd", (TableCell("1"),) * 2)], notes=(note,)))
    assert found.startswith(f"% in the preamble: {PREAMBLE}\n\\begin{{table}}")
    assert r"\caption{Accuracy $\cdot$ cifar100}" in found and r"\label{tab:cifar100-accuracy}" in found
    below = found[found.index(r"\end{tabular}") :]
    assert "Top-1 in percent; n = 3." in below
    command = r"\texttt{python -m benchmark run -{}-seeds 0}"
    assert rf"\textsuperscript{{1}} kd, seed 0: failed. {command}" in below


def test_equal_tables_give_equal_text():
    assert to_latex(a_table([TableLine("kd", (TableCell("1"),) * 2)])) == to_latex(
        a_table([TableLine("kd", (TableCell("1"),) * 2)])
    )


# ---- characters
def test_nothing_that_latex_would_act_on_is_left():
    found = escape_latex(HOSTILE)
    ours = re.sub(r"\\(text(backslash|ascii(circum|tilde))|char\d\d)\{\}|\\[&%#_${}]|\$[<>|]\$|\{[][*]?\}", "", found)
    assert not set(ours) & set('\\%&#$_^~{}[]*<>|"`'), ours
    assert "-{}-seeds" in found and "'{}'" in found and ",{}," in found


def test_letters_beyond_ascii_become_ascii():
    assert all(escape_latex(word).isascii() for word in UNICODE.split())
    found = {
        "−": "$-$",
        "²": r"\textsuperscript{2}",
        "λ": r"$\lambda$",
        "Σ": r"$\Sigma$",
        "é": r"\'{e}",
        "e\u0301": r"\'{e}",
    }
    found |= {"½": "1/2", "x₂": r"x\textsubscript{2}", "…": "...", "中": "{[}U+4E2D{]}", "\u202e\x07": "", "ﬁ": "fi"}
    for source, expected in found.items():
        assert escape_latex(source) == expected


def test_letters_and_digits_are_left_alone_and_lines_are_joined():
    assert escape_latex(string.ascii_letters + string.digits) == string.ascii_letters + string.digits
    assert escape_latex(" a\n\n b\t\\par ") == r"a b \textbackslash{}par"


# ---- compiled
@pytest.fixture
def compiled(tmp_path):
    """A function that compiles LaTeX and returns the compiler's output; skips the test if no compiler is installed."""
    known = {
        "pdflatex": ["-interaction=nonstopmode", "-halt-on-error"],
        "lualatex": ["--halt-on-error"],
        "tectonic": [],
    }
    engine = next((name for name in known if shutil.which(name)), None)
    if engine is None:
        pytest.skip(f"no LaTeX here to compile with: none of {', '.join(known)} is installed")

    def run(*bodies, classes="article"):
        source = "\n".join([rf"\documentclass{{{classes}}}", PREAMBLE, r"\begin{document}", *bodies, r"\end{document}"])
        (tmp_path / "paper.tex").write_text(source)
        command = [engine, *known[engine], "paper.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        assert (tmp_path / "paper.pdf").stat().st_size > 1000
        return done.stdout

    return run


def test_a_table_pasted_into_a_document_compiles(compiled):
    hostile = TableCell(HOSTILE, UNICODE, bold=True, notes=(1,), records="a\nb")
    grouped = [TableLine(label, (hostile, TableCell("1")), HOSTILE) for label in ("[x] * &", "*", UNICODE)]
    note = Note(1, HOSTILE + UNICODE, HOSTILE)
    wide = a_table([TableLine("kd", (TableCell("70.32 ± 0.20", "n = 3"),) * 30)], ("resnet56-resnet20",) * 30)
    output = compiled(
        to_latex(a_table([TableLine("kd", (hostile, TableCell("")))], title=UNICODE, caption=HOSTILE, notes=(note,))),
        to_latex(a_table(grouped, (HOSTILE, UNICODE), title=HOSTILE, caption=UNICODE)),
        to_latex(wide),
        to_latex(a_table([TableLine("kd", ())], ())),
    )
    assert "Overfull" not in "".join(re.findall(r"Overfull \\hbox \(\d{3,}.*", output))  # wide tables are shrunk
