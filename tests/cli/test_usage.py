"""Errors of the system and of the arguments: a sentence, an exit code, and no traceback."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import store as module
from benchmark.cli import app
from benchmark.cli.usage import report_problem
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.files import ReadError
from benchmark.report.output_folder import read_manifest
from benchmark.store import Record, Store
from benchmark.waiting import PREFIX

ID = "0123456789ab"
ROOT = Path(__file__).parents[2]


def an_error(number, path=None):
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("fault", "code", "parts"),
    [
        (an_error(errno.ENOENT, "a/b"), 2, ["a/b is not there", "another path"]),
        (an_error(errno.EACCES, "a/b"), 2, ["a/b", "permissions", "(Permission denied)"]),
        (an_error(errno.EROFS, "a/b"), 2, ["a/b", "can only be read"]),
        (an_error(errno.ENAMETOOLONG, "x" * 5000), 2, ["xxx", "too long"]),
        (an_error(errno.ELOOP, "a/b"), 2, ["a link that leads to itself"]),
        (an_error(errno.ENOTDIR, "a/b"), 2, ["no folder"]),
        (an_error(errno.EISDIR, "a/b"), 2, ["is a folder"]),
        (an_error(errno.ENOSPC, "a/b"), 1, ["a/b: the disk is full", "free some space", "run the same command again"]),
        (an_error(errno.ENOSPC), 1, ["error: the disk is full"]),
        (an_error(errno.EDQUOT), 1, ["this user's share"]),
        (an_error(errno.EMFILE), 1, ["too many files are open", "ulimit -n"]),
        (an_error(errno.EIO), 1, ["the disk reported an error"]),
    ],
    ids=lambda value: errno.errorcode.get(value.errno) if isinstance(value, OSError) else "",
)
def test_an_error_of_the_system_is_one_sentence_and_a_code(fault, code, parts, capsys):
    assert report_problem(fault) == code
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == "" and line.startswith("error: ") and len(line) < 1600
    for part in parts:
        assert part in line


def test_an_error_of_neither_a_path_nor_the_disk_is_not_hidden():
    for fault in (an_error(errno.EACCES), an_error(errno.ECHILD, "a"), OSError("odd")):
        with pytest.raises(OSError) as caught:
            report_problem(fault)
        assert caught.value is fault


def test_a_reader_that_goes_away_ends_a_command_without_a_word(tmp_path):
    command = f"{sys.executable} -m benchmark list suites | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "1")  # 0 where the pipe was still open


def test_a_terminal_that_lacks_a_character_shows_a_question_mark(tmp_path, monkeypatch):
    recipe = Recipe(epochs=6, lr=0.05, schedule=Steps(at=(3, 5)))
    run = Run(dataset="digits", student="resnet8", method="ce", recipe=recipe)
    Store(tmp_path).add(Record(id=run.id, status="done", run=run.model_dump(mode="json"), score={"top1": 0.5}))
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding="ascii"))
    monkeypatch.setattr(sys, "argv", ["benchmark", "explain", run.id, "--results", str(tmp_path)])
    with pytest.raises(SystemExit):
        app.main()
    sys.stdout.flush()
    assert b"digits ? 6 epochs ? batch 64" in screen.getvalue()


# ---- folders and files of results
@pytest.fixture
def answer(monkeypatch, capsys, tmp_path):
    """A function: arguments -> (exit code, lines of stderr) of the command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            app.main()
        lines = capsys.readouterr().err.splitlines()
        return caught.value.code, [line for line in lines if not line.startswith(PREFIX)]  # of a slow machine

    return run


def test_a_folder_of_records_that_may_not_be_read_is_not_taken_for_an_empty_one(answer, tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(module.os, "listdir", refuse)
    for command in (["plan", "digits"], ["explain", ID], ["gc"], ["compare", tmp_path, tmp_path]):
        (tmp_path / "results").mkdir(exist_ok=True)
        code, lines = answer(*command)
        assert code == 2, command
        assert len(lines) == 1 and "records" in lines[0] and "permissions" in lines[0]


DAMAGED = {
    "empty": (b"", "it is not JSON"),
    "no JSON": (b"{'a': 1}", "it is not JSON"),
    "bytes": (b"\xff\xfe", "it is not JSON"),
    "too deep": (b"[" * 100_000, "it is nested too deep"),
    "half a character": (b'{"about": "\\ud800"}', "it is not JSON"),
    "a list": (b"[]", "it is no object with fields but []"),
    "nothing in it": (b"{}", "id is missing"),
    "another schema": (b'{"schema": 2}', "schema 2, this program reads 1"),
    "another field": ({"colour": "red"}, "colour is no field of a record"),
    "another type": ({"score": 5}, "score has a value that no record has there: 5"),
    "another state": ({"status": "finished"}, "status has a value that no record has there: 'finished'"),
    "another id": ({"id": "../etc/passwd"}, "id has a value that no record has there: '../etc/passwd'"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_wrong_with_a_record_is_said_in_words_of_the_project(tmp_path, kind):
    given, reason = DAMAGED[kind]
    fields = Record(id=ID, status="done", run={}).model_dump(by_alias=True)
    data = json.dumps(fields | given).encode() if isinstance(given, dict) else given
    (tmp_path / "records").mkdir()
    (tmp_path / "records/x.json").write_bytes(data)
    store = Store(tmp_path)
    assert list(store.records()) == []
    (complaint,) = store.complaints
    assert complaint.startswith(f"{tmp_path}/records/x.json: not a record, skipped ({reason}")
    assert not [word for word in ("Input", "validation", "pydantic", "Traceback", "Errno") if word in complaint]


@pytest.mark.parametrize("text", ["5", "null", '{"a": 1}', "[3]", "[" * 100_000, "x"])
def test_a_plan_of_a_sweep_that_cannot_be_read_is_named_on_the_terminal_and_on_the_page(answer, tmp_path, text):
    recipe = Recipe(epochs=6, lr=0.05, schedule=Steps(at=(3, 5)))
    run = Run(dataset="digits", student="resnet8", method="ce", recipe=recipe)
    store = Store(tmp_path / "results")
    store.add(Record(id=run.id, status="done", run=run.model_dump(mode="json"), score={"top1": 0.5}))
    (store.root / "checkpoints").mkdir()
    (store.root / "checkpoints/plan.json").write_text(text)
    code, lines = answer("report", "--format", "html")
    (line,) = lines
    assert not code and line.startswith("results/checkpoints/plan.json: not the plan of a sweep, so runs without")
    assert "checkpoints/plan.json: not the plan of a sweep" in (tmp_path / "reports/index.html").read_text()


def test_damaged_predictions_are_named_on_the_terminal_in_plain_words(answer, tmp_path):
    recipe = Recipe(epochs=6, lr=0.05, schedule=Steps(at=(3, 5)))
    store = Store(tmp_path / "results")
    for method in ("ce", "kd"):
        teacher = Run(dataset="digits", student="resnet20", method="ce", recipe=recipe) if method == "kd" else None
        run = Run(dataset="digits", student="resnet8", method=method, recipe=recipe, teacher=teacher)
        store.add(Record(id=run.id, status="done", run=run.model_dump(mode="json"), score={"top1": 0.5}))
        store.predictions(run.id).write_bytes(b"torn")
    code, lines = answer("report", "--format", "html,md")
    assert not code and lines
    for line in lines:
        assert ".npz: no predictions" in line and "it is not an .npz file" in line and "unsafe" not in line


def test_commands_that_read_records_name_those_that_are_damaged(answer, tmp_path):
    recipe = Recipe(epochs=6, lr=0.05, schedule=Steps(at=(3, 5)))
    run = Run(dataset="digits", student="resnet8", method="ce", recipe=recipe)
    store = Store(tmp_path / "results")
    store.add(Record(id=run.id, status="done", run=run.model_dump(mode="json"), score={"top1": 0.5}))
    (store.root / "records" / "broken-1.json").write_text("{")
    suite = ["digits", "-m", "ce", "--seeds", "0", "--device", "cpu"]
    for command in (["plan", *suite], ["why", *suite], ["why", run.id], ["explain", run.id]):
        code, lines = answer(*command)
        (line,) = lines
        assert not code and "broken-1.json: not a record, skipped" in line, command


def test_a_checkpoint_that_may_not_be_read_is_one_sentence_that_names_it(capsys):
    assert report_problem(ReadError(errno.EACCES, os.strerror(errno.EACCES), "results/checkpoints/a.pt")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: results/checkpoints/a.pt could not be read (Permission denied): mend that, then run")


def test_lines_that_are_no_text_in_the_list_of_a_reports_files_are_left_out(tmp_path):
    (tmp_path / "manifest.txt").write_bytes(b"\xff\xfe\x00\n../x\ntables/a.md\n")
    assert read_manifest(tmp_path) == {"tables/a.md"}
