"""Bad input is one sentence with exit code 2: what, where, and what is accepted."""

import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmark.cli import app
from benchmark.errors import BadInput
from benchmark.experiment.suite import MAX_SEEDS, parse_seeds
from benchmark.report.records.predictions import Predictions
from benchmark.store import Store
from benchmark.waiting import PREFIX

SUITE = "title: t\ndataset: digits\npairs: [resnet20-resnet8]\nmethods: [ce, kd, lp]\n"
METHOD = '''"""A method.  Nobody, 2030."""
from methods import Method, register


@register("outside_bad")
class Outside(Method):
    def loss(self, s, t, batch):
        return {"ce": s.logits.sum()}
'''


@pytest.fixture
def error_of(monkeypatch, capsys, tmp_path, isolated_registry):
    """A function: arguments -> the one line with which the command line refuses them; code 2 and no other output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            app.main()
        out, err = capsys.readouterr()
        assert (caught.value.code, out) == (2, "")
        (line,) = [line for line in err.splitlines() if not line.startswith(PREFIX)]  # of a slow machine
        assert line.startswith("error: ")
        assert "Traceback" not in line and "Input should" not in line and len(line) < 1600
        return line

    return run


# ---- options
LONG = "x" * 5000
OPTIONS = [
    (["--set", "kd.temperature=0"], ["--set kd.temperature=0", "'temperature'", "'kd'", "0.01 to 1,000", "not 0"]),
    (["--set", "kd.alpha=2"], ["--set kd.alpha=2", "from 0 to 1", "not 2"]),
    (["--set", "lp.sigma=0"], ["'sigma'", "0.001", "'auto'"]),
    (["--set", "kd.alpha=.inf"], ["'alpha'", "not inf"]),
    (["--set", "kd.alpha=1e400"], ["'alpha'", "'1e400'"]),
    (["--set", "kd.alpha=*x"], ["alias"]),
    (["--set", "lsh.hashes=0"], ["'hashes'", "from 1 to"]),
    (["--set", "sp.at=99"], ["sp.at = 99", "-4 to 3"]),
    (["--set", "kda.warm=1000"], ["kda.warm = 1000", "30 epochs", "0 to 29"]),
    (["--set", "fitnets.hint_epochs=-1"], ["'hint_epochs'", "from 0"]),
    (["--set", f"kd.alpha={LONG}"], ["'alpha'"]),
    (["--dataset", ","], ["--dataset", "','"]),
    (["--dataset", ""], ["--dataset", "''"]),
    (["--dataset", f"folder:{LONG}"], ["--dataset", "200 characters"]),
    (["-m", ","], ["--methods", "','"]),
    (["-m", ""], ["--methods", "''"]),
    (["-m", "ce,,kd"], ["--methods", "'ce,,kd'"]),
    (["-m", LONG], ["--methods"]),
    (["-p", "resnet20-resnet8,"], ["--pairs"]),
    (["-p", "-"], ["--pairs", "TEACHER-STUDENT"]),
    (["--seeds", "0-"], ["--seeds", "0-2", "'0-'"]),
    (["--seeds", ""], ["--seeds", "0-2", "''"]),
    (["--seeds", "0-999999999"], ["--seeds", "1,000"]),
    (["--seeds", "9" * 5000], ["--seeds"]),
    (["--teacher-seeds", "2-0"], ["--teacher-seeds", "0-2", "'2-0'"]),
    (["--teacher-seeds", ""], ["--teacher-seeds", "''"]),
    (["--teacher-seeds", "0-1000"], ["--teacher-seeds", "1,000"]),
    (["--precision", "foo"], ["--precision", "auto, fp32, bf16", "'foo'"]),
    (["--precision", ""], ["--precision", "''"]),
    (["--device", "tpu"], ["--device", "auto, cpu or cuda", "'tpu'"]),
    (["--epochs", "0"], ["--epochs", "at least 1", "plan --help"]),
    (["--epochs", "x"], ["--epochs", "a whole number", "'x'"]),
    (["--epochs", "9" * 30], ["--epochs", "at most 100,000"]),
    (["--lanes", "-3"], ["--lanes", "at least 1"]),
    (["--results", LONG], ["--results", "too long"]),
    (["--results", os.devnull], ["--results", "not a folder"]),
    (["--plugin", LONG], ["--plugin"]),
    (["--plugin", ""], ["--plugin"]),
    (["--plugin", f"{LONG}.py"], ["--plugin", "too long"]),
    (["--teacher", LONG], ["--teacher", "NETWORK=ID"]),
    (["--bogus"], ["--bogus", "plan --help"]),
    (["--seeds", "0-999", "-m", ",".join(["ce", "kd", "sp", "lp"]), "-p", ",".join(f"a{n}-b" for n in range(9))],
     ["36,000 runs", "20,000"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected"), OPTIONS, ids=lambda value: " ".join(value)[:50])
def test_a_bad_option_is_refused_with_what_where_and_the_range(error_of, arguments, expected):
    line = error_of("plan", "digits", *arguments)
    for part in expected:
        assert part in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["speed", "--precision", "foo"], ["--precision", "auto, fp32, bf16"]),
        (["speed", "-m", ","], ["--methods"]),
        (["speed", "--device", "foo"], ["--device"]),
        (["plan"], ["SUITE", "plan --help"]),
        (["nothing"], ["nothing", "--help"]),
        (["plan", LONG], ["unknown suite"]),
        (["plan", f"{LONG}.yaml"], ["unknown suite", "too long"]),
        (["plan", "a\nb"], ["unknown suite"]),
        (["list", "methods", "-p", "resnet20"], ["--pairs", "TEACHER-STUDENT"]),
        (["list", LONG], ["there is no list"]),
        (["check", "kdd"], ["did you mean 'kd'"]),
        (["export", LONG], ["too long"]),
        (["report", "--format", ","], ["--format"]),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_a_bad_command_is_refused_in_one_line(error_of, arguments, expected):
    line = error_of(*arguments)
    for part in expected:
        assert part in line


def test_help_is_printed_for_want_of_arguments(run_cli):
    done = run_cli()
    assert done.code == 2
    assert "Usage" in done.out + done.err
    assert "error:" not in done.err


# ---- suites
SUITES = [
    ("recipe: {base: crd240, lr: .inf}", ["recipe.lr", "finite", "not inf"]),
    ("recipe: {base: crd240, lr: .nan}", ["recipe.lr", "finite", "not nan"]),
    ("recipe: {base: crd240, lr: 1.0e+30}", ["recipe.lr", "at most 1,000"]),
    ("recipe: {base: crd240, schedule: {kind: steps, at: [.nan]}}", ["recipe.schedule.at.0", "finite"]),
    ("recipe: {base: crd240, schedule: {kind: steps, at: [-1]}}", ["recipe.schedule.at.0", "at least 0"]),
    ("recipe: {base: crd240, schedule: {kind: steps, at: 5}}", ["recipe.schedule.at", "a list"]),
    ("recipe: {base: crd240, schedule: {kind: cosine, warmup: .nan}}", ["recipe.schedule.warmup", "finite"]),
    ("recipe: {base: crd240, epochs: -3}", ["recipe.epochs", "at least 1, not -3"]),
    ("recipe: {base: crd240, epochs: 9000000000}", ["recipe.epochs", "at most 100,000"]),
    ("recipe: {base: crd240, epochs: 99999999999999999999}", ["line 5", "too large"]),
    ("recipe: {base: crd240, batch: 1.5}", ["recipe.batch", "a whole number", "not 1.5"]),
    ("recipe: {base: crd240, weight_decay: -1}", ["recipe.weight_decay", "at least 0"]),
    ("recipe: {base: crd240, crop: 100000}", ["recipe.crop", "at most 256"]),
    ("recipe: {base: crd240, flip: maybe}", ["recipe.flip", "true or false", "'maybe'"]),
    ("recipe: {base: crd240, 5: 6}", ["recipe.5", "keys must be text"]),
    ("recipe: crd240\nrecipe: kda120", ["line 6", "'recipe' is given twice"]),
    ("recipe: crd240\nknobs: {kd: {alpha: 2}}", ["knobs", "'alpha'", "from 0 to 1, not 2"]),
    ("recipe: crd240\nknobs: {lp: [{k: 5}, {k: 0}]}", ["knobs", "'k'", "from 1 to 1,000"]),
    ("recipe: crd240\nknobs: {kd: 5}", ["knobs.kd", "a list, not 5"]),
    ("recipe: crd240\nlr: {resnet8: .inf}", ["lr.resnet8", "finite"]),
    ("recipe: crd240\nseeds: 0-5000", ["seeds", "1,000"]),
    ("recipe: crd240\nseeds: [-1]", ["seeds.0", "at least 0"]),
    ("recipe: crd240\nseeds: [4294967296]", ["seeds.0", "at most 4,294,967,295"]),
    ("recipe: crd240\nteacher_seeds: 0-5000", ["teacher_seeds", "1,000"]),
    ("recipe: crd240\npair_knobs: {a-b: {kd: {alpha: 1}}}", ["pair_knobs", "'a-b' is not among the pairs"]),
    (
        "recipe: crd240\npair_knobs: {resnet20-resnet8: {kd: {alpha: 2}}}",
        ["pair_knobs.resnet20-resnet8", "'alpha'", "from 0 to 1, not 2"],
    ),
    ("recipe: crd240\nteacher: []", ["teacher", "unknown recipe []"]),
    ("recipe: crd240\njudge: [", ["line"]),
    ("recipe: !!python/name:os.system", ["tags"]),
    ("recipe: &r crd240\nteacher: *r", ["alias"]),
]


@pytest.mark.parametrize(("text", "expected"), SUITES, ids=lambda value: value[:50] if isinstance(value, str) else "")
def test_a_bad_suite_is_refused_with_file_key_and_range(error_of, tmp_path, text, expected):
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE + text)
    line = error_of("plan", path)
    for part in [str(path), *expected]:
        assert part in line


def test_seeds_are_at_most_a_thousand():
    assert parse_seeds(f"0-{MAX_SEEDS - 1}") == tuple(range(MAX_SEEDS))
    assert parse_seeds("0-2, 1-3") == (0, 1, 2, 3)
    for text in (f"0-{MAX_SEEDS}", "0-998,2000-2001", ",".join(map(str, range(MAX_SEEDS + 1)))):
        with pytest.raises(ValueError, match="1,000"):
            parse_seeds(text)


# ---- files that are none
@pytest.fixture
def odd_files(tmp_path):
    """A function: suffix -> a pipe, a folder, a link to itself and a path where nothing is."""

    def make(suffix):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        (tmp_path / f"folder{suffix}").mkdir()
        (tmp_path / f"loop{suffix}").symlink_to(f"loop{suffix}")
        return [tmp_path / f"{name}{suffix}" for name in ("pipe", "folder", "loop", "absent")]

    return make


def test_a_suite_that_is_no_file_is_refused_without_opening_it(error_of, odd_files):
    for path in odd_files(".yaml"):
        assert str(path) in error_of("plan", path).replace("...", str(path))


def test_a_plug_in_that_is_no_file_is_refused_without_opening_it(error_of, odd_files):
    for path in odd_files(".py"):
        assert f"--plugin {path}" in error_of("plan", "digits", "--plugin", path)
        assert f"error: {path}" in error_of("check", path)


def test_weights_that_are_no_file_are_refused_without_opening_them(error_of, odd_files):
    for path in odd_files(".pth"):
        assert str(path) in error_of("import-weights", path, "--model", "resnet8", "--dataset", "cifar100")


def test_weights_that_are_not_of_the_network_are_refused(error_of, tmp_path):
    path = tmp_path / "odd.pth"
    for content in (b"", b"PK\x03\x04", b"\x80\x02c" + b"x" * 100, os.urandom(3000)):
        path.write_bytes(content)
        assert str(path) in error_of("import-weights", path, "--model", "resnet8", "--dataset", "cifar100")
    torch.save({"model": {"a": torch.zeros(3)}}, path)
    assert "has 1 tensors" in error_of("import-weights", path, "--model", "resnet8", "--dataset", "cifar100")


@pytest.mark.parametrize("odd", [torch.empty(3, device="meta"), torch.zeros(3).to_sparse()], ids=["meta", "sparse"])
def test_weights_without_values_are_refused(error_of, tmp_path, odd):
    path = tmp_path / "odd.pth"
    torch.save({"a": odd}, path)
    assert str(path) in error_of("import-weights", path, "--model", "resnet8", "--dataset", "cifar100")


def test_records_that_are_pipes_nested_too_deep_or_of_an_odd_schema_are_named_in_one_line_each(tmp_path):
    folder = tmp_path / "records"
    folder.mkdir()
    os.mkfifo(folder / "pipe.json")
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "odd.json").write_text('{"schema": "a\\nb\\u2028"}')
    store = Store(tmp_path)
    assert list(store.records()) == []
    assert len(store.complaints) == 3
    for complaint, reason in zip(store.complaints, ("nested too deep", "schema 'a", "it is a pipe"), strict=True):
        assert reason in complaint
        assert len(complaint.splitlines()) == 1


def test_predictions_of_a_zip_file_of_a_version_to_come_are_left_out_with_a_sentence(tmp_path):
    (tmp_path / "predictions").mkdir()
    np.savez(tmp_path / "predictions" / "x.npz", right=np.ones(3, bool))
    data = bytearray((tmp_path / "predictions" / "x.npz").read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 224  # the version that is needed to read it
    (tmp_path / "predictions" / "x.npz").write_bytes(data)
    reader = Predictions(Store(tmp_path))
    assert reader.correct(SimpleNamespace(run=SimpleNamespace(id="x"), score=lambda name: 1.0)) is None
    assert "it is not an .npz file" in reader.complaints[0]


# ---- plug-ins
PLUGINS = {
    "exits": ("import sys\nsys.exit(0)", "SystemExit: 0"),
    "exits with a sentence": ("raise SystemExit('no\\nmore')", "SystemExit: no more"),
    "raises": ("raise KeyError('a')", "KeyError: 'a'"),
    "raises what is no Exception": ("raise BaseException('odd')", "BaseException: odd"),
    "raises what cannot be printed": ("class E(Exception):\n    def __str__(self): 1 / 0\nraise E", "E"),
    "raises a long text": ("raise ValueError('y' * 100_000)", "ValueError: yyy"),
    "lacks a file": ("open('/nothing/of/this/name')", "FileNotFoundError"),
    "syntax": ("def (", "SyntaxError"),
    "null byte": ("x = '\0'", "could not be imported"),
    "too deep": ("x = " + "(" * 1000 + ")" * 1000, "SyntaxError"),
    "a long sum": ("x = " + "+".join("1" * 5000), "RecursionError"),
}


@pytest.mark.parametrize("kind", PLUGINS)
def test_a_plug_in_that_cannot_be_imported_is_named_with_the_reason_and_registers_nothing(
    error_of, tmp_path, isolated_registry, kind
):
    text, reason = PLUGINS[kind]
    path, before = tmp_path / "outside_bad.py", dict(isolated_registry)
    path.write_text(f"{METHOD}\n{text}\n")
    for arguments in (("plan", "digits", "--plugin", path), ("check", path)):
        line = error_of(*arguments)
        assert str(path) in line
        assert reason in line
        assert isolated_registry == before


def test_a_file_without_methods_is_refused_by_check(error_of, tmp_path):
    path = tmp_path / "outside_empty.py"
    path.write_text("x = 1\n")
    assert f"{path} registers no method" in error_of("check", path)


def test_a_teacher_whose_record_holds_no_run_is_refused(error_of, tmp_path):
    folder = Store(tmp_path / "results").root / "records"
    folder.mkdir(parents=True)
    (folder / "0123456789ab-1.json").write_text('{"id": "0123456789ab", "status": "done", "run": {"seed": 1}}')
    line = error_of("plan", "digits", "--teacher", "resnet20=0123", "--results", tmp_path / "results")
    assert "record 0123456789ab holds no run: dataset: is required" in line


# ---- the exception
def test_a_message_is_one_line_of_bounded_length_whatever_it_quotes():
    text = str(BadInput("a\nb\x1b[31m\u2028c " + "x" * 9999 + " d" * 9999))
    assert text.isprintable()
    assert text.startswith("a b [31m c xxx")
    assert len(text) < 1600
