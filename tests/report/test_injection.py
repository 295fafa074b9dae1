"""Names and messages that mean something to a browser, LaTeX, a spreadsheet, a shell or a terminal do nothing."""

import csv
import json
import re
import shlex
import sys
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from benchmark.cli import app
from benchmark.errors import printable
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.report.build import build
from benchmark.report.tables.table import Note
from benchmark.report.tables.text_formats import markdown_note, plain_text
from benchmark.store import Record, Store
from benchmark.sweep import progress

RECIPE = Recipe(epochs=2, lr=0.05, schedule=Steps(at=()))
HARMLESS = {"network": "resnet20", "method": "kd", "data": "folder:flowers", "value": "conv", "text": "no memory left"}
HOSTILE = {
    "network": '"><img src=x onerror=alert(1)>',
    "method": "=cmd|' /C calc'!A0</script><script>alert(2)</script>",
    "data": "@SUM(1+1)\\input{/etc/passwd}%$x^2$\x1b[31m",
    "value": "+1`touch /tmp/x`$(id)\n|x|",
    "text": "-1+cmd|'x'\x1b]0;title\x07\u202e\\end{table}\\write18{id}<svg onload=alert(3)>\n```\n# heading",
}


def write_results(root, words):
    """Records of runs that are done, of two settings of a method, and of one that failed."""
    store = Store(root)
    common = {"dataset": words["data"], "recipe": RECIPE}
    teacher = Run(student=words["network"], method="ce", **common)
    for seed in range(2):
        for knobs in ({"kind": words["value"]}, {"kind": "other"}):
            run = Run(
                student="s" + words["network"],
                method=words["method"],
                knobs=knobs,
                teacher=teacher,
                seed=seed,
                **common,
            )
            store.add(a_record(run, words, top1=0.5 + 0.1 * seed))
    failed = Run(student="s" + words["network"], method="a" + words["method"], teacher=teacher, **common)
    store.add(a_record(failed, words, error={"type": "E", "message": words["text"], "trace": words["text"]}))
    store.add(a_record(teacher, words, top1=0.9))
    (store.root / "records" / f"{words['text'][:8]}.json".replace("\n", " ")).write_text(words["text"])
    return store


def a_record(run, words, top1=None, error=None):
    made = {
        "suite": words["value"], "options": ["--set", words["value"]], "plugins": [words["value"]],
        "device": words["text"], "precision": "fp32", "source": words["text"], "ended": "2026-01-02T03:04:05+00:00",
        "data": {"name": words["data"]}, "origin": {"dataset": words["text"]}, "commit": words["text"],
    }  # fmt: skip
    return Record(
        id=run.id, status="failed" if error else "done", run=run.model_dump(mode="json"), error=error, made=made,
        score=None if error else {"top1": top1},
        curve={"top1": [top1 or 0.1] * 2, "loss": {words["value"]: [1.0, 0.5]}},
        about=f"{words['text']}\n\nStatus: {words['method']}\nDepartures: {words['data']}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """(Folder of a report with hostile words, the same with harmless ones)."""
    found = []
    for name, words in (("hostile", HOSTILE), ("harmless", HARMLESS)):
        root = tmp_path_factory.mktemp(name)
        build(write_results(root / "results", words), root / "reports")
        found.append(root / "reports")
    return found


class Tags(HTMLParser):
    """Collects elements with their attributes' names, and the text of scripts of data."""

    def __init__(self, text):
        super().__init__()
        self.found, self.data, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.inside = tag == "script" and ("type", "application/json") in attrs

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.data.append(data)


def test_a_page_has_the_same_kinds_of_elements_and_attributes_whatever_the_records_say(reports):
    texts = [(folder / "index.html").read_text() for folder in reports]
    hostile, harmless = map(Tags, texts)
    without_figures = [Tags(re.sub(r"<svg.*?</svg>", "", text, flags=re.S)) for text in texts]
    assert set(without_figures[0].found) <= set(without_figures[1].found)
    assert [tag for tag, _ in hostile.found].count("script") == [tag for tag, _ in harmless.found].count("script")
    assert not [tag for tag, names in hostile.found if any(name.startswith("on") for name in names)]
    assert json.loads("".join(hostile.data))["runs"]


def test_figures_are_well_formed_and_hold_no_script(reports):
    paths = sorted((reports[0] / "figures").glob("*.svg"))
    assert paths
    for path in paths:
        names = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert not names & {"script", "img", "foreignObject", "a"}


def test_latex_has_no_command_that_a_harmless_table_would_not_have(reports):
    escapes = {
        "textbackslash",
        "textasciicircum",
        "textasciitilde",
        "char",
        "texttt",
        "textsuperscript",
        "footnotesize",
    }
    texts = ["".join(path.read_text() for path in sorted((folder / "tables").glob("*.tex"))) for folder in reports]
    hostile, harmless = ({*re.findall(r"\\([a-zA-Z]+)", text)} for text in texts)
    assert hostile - harmless - escapes == set()
    assert r"\textbackslash{}input" in texts[0]
    assert all(line.isprintable() for line in texts[0].splitlines())


def test_no_cell_of_a_csv_begins_a_formula(reports):
    paths = sorted((reports[0] / "tables").glob("*.csv"))
    assert paths
    for path in paths:
        for line in csv.reader(path.read_text().splitlines()):
            for cell in line:
                assert not cell.startswith(("=", "+", "@", "\t", "\r")), (path.name, cell)
                assert not cell.startswith("-") or float(cell) < 0
                assert cell.isprintable()


def test_numbers_and_usual_text_of_a_csv_stay_as_they_are():
    assert [plain_text(value) for value in (-1.5, None, True, "kd", "−0.3", "a=b")] == [
        -1.5,
        None,
        True,
        "kd",
        "−0.3",
        "a=b",
    ]
    assert [plain_text(value) for value in ("=1", "-1", "@x", "+x", "\tx")] == ["'=1", "'-1", "'@x", "'+x", "' x"]


def test_markdown_holds_no_html_and_its_commands_stay_code(reports):
    for path in sorted((reports[0] / "tables").glob("*.md")):
        text = re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "CODE", path.read_text())
        assert "<script" not in text and "<img" not in text and "<svg" not in text
        assert all(line.isprintable() for line in text.splitlines())
        assert "\n# heading" not in text and "\n```" not in text
    assert markdown_note(Note(1, "go on", "run `id` ``x``")) == "[1] go on ``` run `id` ``x`` ```"
    assert markdown_note(Note(1, "go on", "run kd")) == "[1] go on `run kd`"


# ---- commands and what is printed
@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    """A function: arguments -> what the command line prints about results with hostile words, on both streams."""
    monkeypatch.chdir(tmp_path)
    store = write_results(tmp_path / "results", HOSTILE)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
        with pytest.raises(SystemExit):
            app.main()
        return "".join(capsys.readouterr())

    run.store = store
    return run


def test_what_is_printed_has_no_codes_of_terminals(printed):
    ids = [record.id for record in printed.store.records()]
    assert len(ids) == 6
    texts = [printed("explain", id) for id in ids]
    texts += [printed("compare", "results", "results"), printed("report", "--format", "md"), printed("explain", "zz")]
    for text in texts:
        assert text.strip() and "Traceback" not in text
        assert all(line.isprintable() for line in text.splitlines()), repr(text)


def test_a_command_that_is_printed_is_one_command_with_each_value_in_one_word(printed):
    (failed,) = [record for record in printed.store.records() if record.status == "failed"]
    (line,) = [line for line in printed("explain", failed.id).splitlines() if "python -m benchmark run" in line]
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "benchmark", "run"]
    assert words[4] == printable(HOSTILE["value"])
    assert words[words.index("-m", 4) + 1] == failed.run["method"]
    assert words[words.index("--set") + 1] == printable(HOSTILE["value"])
    assert words[words.index("--plugin") + 1] == printable(HOSTILE["value"])


def test_lines_of_progress_have_no_codes_of_terminals():
    shown = []
    record = SimpleNamespace(run={"method": "kd"}, status="failed", error={"message": HOSTILE["text"]}, id="0" * 12)
    progress.PlainProgress("title", shown.append).on_run_end(record)
    assert len(shown) == 1 and shown[0].isprintable()
    assert progress.setting("kd", {"kind": "\x1b[31mred"}).isprintable()
