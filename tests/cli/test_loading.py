"""What a command loads before it answers, and what a user reads who has to wait."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark import waiting
from benchmark.cli import app
from benchmark.errors import BadInput
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.store import Record, Store

ROOT = Path(__file__).parents[2]
COMMANDS = """
import contextlib, io, json, sys
from benchmark.cli import app

heavy = ("torch", "torch._dynamo", "torchvision", "sklearn", "pandas", "scipy", "matplotlib", "ray")
found = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["benchmark", *arguments]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            app.main()
        except SystemExit as end:
            code = end.code or 0
    found.append([code, [name for name in heavy if name in sys.modules]])
print(json.dumps(found))
"""


def loaded(*commands):
    """[exit code, heavy modules that are loaded then] after each command, all of them in one process."""
    text = json.dumps([[*map(str, command)] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, text], cwd=ROOT, capture_output=True, text=True, check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return json.loads(done.stdout)


def test_wrong_suites_and_options_are_refused_before_torch_is_loaded(tmp_path):
    odd = tmp_path / "odd.yaml"
    odd.write_text("title: 1\n")
    wrong = [
        ["plan", "nosuch"],
        ["plan", odd],
        ["run", "crd", "--seeds", "x"],
        ["run", "crd", "--teacher-seeds", "x"],
        ["run", "crd", "-p", "resnet20"],
        ["run", "crd", "-m", "ce,,kd"],
        ["run", "crd", "--precision", "fp16"],
        ["run", "crd", "--device", "tpu"],
        ["run", "crd", "--epochs", "0"],
        ["run", "crd", "--set", "kd.alpha"],
        ["run", "crd", "--plugin", tmp_path / "absent.py"],
        ["run", "crd", "--results", odd],
        ["why", "nosuch"],
        ["list", "everything"],
        ["nosuch"],
    ]
    assert loaded(*wrong) == [[2, []]] * len(wrong)


def test_commands_on_results_and_suites_do_without_torch(tmp_path):
    recipe = Recipe(epochs=6, lr=0.05, schedule=Steps(at=(3, 5)))
    run = Run(dataset="digits", student="resnet8", method="ce", recipe=recipe)
    Store(tmp_path).add(Record(id=run.id, status="done", run=run.model_dump(mode="json"), score={"top1": 0.5}))
    results = ["--results", tmp_path]
    suites, unneeded, explained = loaded(["list", "suites"], ["gc", *results], ["explain", run.id, *results])
    assert (suites, unneeded) == ([0, []], [0, []])
    assert explained[0] == 0
    assert not {"torch", "matplotlib", "sklearn"} & set(explained[1])


def test_a_list_and_a_plan_load_torch_alone(tmp_path):
    plan = ["plan", "digits", "-m", "ce,kd", "--device", "cpu", "--results", tmp_path]
    assert loaded(["list"], plan) == [[0, ["torch"]]] * 2


# ---- waiting
def test_what_lasts_is_named_once_on_stderr(capsys):
    with waiting.say_if_slow("reading a book", seconds=0.01):
        time.sleep(0.3)
    assert capsys.readouterr() == ("", f"{waiting.PREFIX}reading a book …\n")


def test_what_is_quick_or_fails_at_once_is_not_named(capsys):
    with pytest.raises(ValueError, match="no"), waiting.say_if_slow("counting", seconds=0.2):
        raise ValueError("no")
    time.sleep(0.4)
    assert capsys.readouterr() == ("", "")


SLOW = {  # what a command does that may last, and a module's function that does it
    "report --style paper": ("benchmark.report.loading.load_for_report", "reading the records"),
    "compare . .": ("benchmark.report.commands.compare.compare", "reading both folders"),
    "explain 0": ("benchmark.report.commands.explain.explain", "reading the records"),
    "why 0": ("benchmark.report.commands.why.why_run", "reading the records"),
    "export a.zip": ("benchmark.report.commands.export.export", "building the report and packing it"),
    "import-weights a --model resnet8 --dataset digits": (
        "benchmark.sweep.import_weights.import_weights", "storing the weights",
    ),
    "export-model 0": ("benchmark.training.export_model.export_model", "exporting the network"),
    "speed": ("benchmark.profiling.speed.measure", "measuring how fast"),
    "theory digits --device cpu": ("benchmark.theory.examine.examine", "measuring the features"),
}  # fmt: skip


@pytest.mark.parametrize("command", SLOW)
def test_a_command_that_lasts_says_what_it_is_doing(command, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    place, what = SLOW[command]

    def last(*_, **__):
        time.sleep(0.3)
        raise BadInput("enough")

    monkeypatch.setattr(place, last)
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.01)
    monkeypatch.setattr(sys, "argv", ["benchmark", *command.split()])
    with pytest.raises(SystemExit):
        app.main()
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "error: enough"
    assert [line for line in lines if line.startswith(f"{waiting.PREFIX}{what}") and line.endswith(" …")]
