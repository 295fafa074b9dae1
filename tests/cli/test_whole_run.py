"""End-to-end tests of the command line on the bundled digits: from images to a report."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.store import Store

ROOT = Path(__file__).parents[2]
SHORT = ["digits", "--epochs", "1", "--seeds", "0"]
BROKEN = '''
"""A method that fails."""
import torch.nn.functional as F
from methods import Method, Unfit, register


class Plain(Method):
    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}


@register("breaks")
class Breaks(Plain):
    def loss(self, s, t, batch):
        raise RuntimeError("\\x1b]0;no more ideas")


@register("refuses")
class Refuses(Plain):
    def __init__(self, student, teacher):
        raise Unfit("wants equal depths")
'''


@pytest.fixture
def run(run_cli, tmp_path):
    """A function: arguments -> the result of `run` with its own folders of results and reports."""
    options = ["--results", tmp_path / "results", "--reports", tmp_path / "reports"]
    return lambda *arguments: run_cli("run", *arguments, *options)


def statuses(tmp_path):
    """(method, network) -> status of the valid record."""
    latest = Store(tmp_path / "results").latest().values()
    return {(record.run["method"], record.run["student"]): record.status for record in latest}


def test_one_command_trains_teacher_and_students_and_writes_a_report_and_a_second_call_changes_nothing(run, tmp_path):
    finished = run(*SHORT, "-m", "ce,kd")
    assert finished.code == 0, finished.err
    assert str(tmp_path / "reports" / "index.html") in finished.out
    assert statuses(tmp_path) == {("ce", "resnet20"): "done", ("ce", "resnet8"): "done", ("kd", "resnet8"): "done"}
    store = Store(tmp_path / "results")
    kd = next(record for record in store.latest().values() if record.run["method"] == "kd")
    teacher = store.weights(kd.provenance["teacher"]["id"])
    assert teacher.parent.name == "teachers"
    assert teacher.with_suffix(".json").is_file()
    with np.load(store.predictions(kd.id)) as found:
        assert found["top1"].shape == (1497,)
    page = (tmp_path / "reports" / "index.html").read_bytes()
    before = sorted((tmp_path / "results").rglob("*"))
    again = run(*SHORT, "-m", "ce,kd")
    assert again.code == 0
    assert "epoch" not in again.out
    assert sorted((tmp_path / "results").rglob("*")) == before
    assert (tmp_path / "reports" / "index.html").read_bytes() == page


def test_a_failed_run_is_named_after_all_other_runs_are_done_and_the_exit_code_is_1(run, tmp_path):
    plugin = tmp_path / "broken.py"
    plugin.write_text(BROKEN)
    finished = run(*SHORT, "-m", "breaks,refuses,kd", "--plugin", plugin)
    assert finished.code == 1
    (line,) = [line for line in finished.err.splitlines() if line.startswith("failed:")]
    assert "breaks" in line
    assert "no more ideas" in line
    assert "\x1b" not in finished.out + finished.err
    found = statuses(tmp_path)
    assert (found["breaks", "resnet8"], found["refuses", "resnet8"]) == ("failed", "unfit")
    assert found["kd", "resnet8"] == "done"
    page = (tmp_path / "reports" / "index.html").read_text()
    assert "no more ideas" in page
    assert "wants equal depths" in page


def test_a_process_for_each_device_gives_the_same_records_as_one_process(run_cli, tmp_path):
    curves = {}
    for executor in ("here", "spawn"):
        arguments = ["--executor", executor, "--precision", "fp32", "--lanes", "1", "--quiet"]
        options = ["--results", tmp_path / executor, "--reports", tmp_path / "reports"]
        finished = run_cli("run", *SHORT, "-m", "ce,kd", *arguments, *options)
        assert finished.code == 0, finished.err
        curves[executor] = {id: record.curve for id, record in Store(tmp_path / executor).latest().items()}
    assert curves["here"] == curves["spawn"]


def test_an_image_folder_instead_of_the_suites_data_is_stated_in_record_and_table(run, tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 5)):
        for label in ("cat", "dog"):
            folder = tmp_path / "data" / "pets" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(folder / f"{number}.png")
    finished = run(*SHORT, "-m", "kd", "--dataset", "folder:pets", "--data", tmp_path / "data")
    assert finished.code == 0, finished.err
    records = Store(tmp_path / "results").latest().values()
    assert {record.run["dataset"] for record in records} == {"folder:pets"}
    assert {(record.provenance["data"]["train"], record.provenance["data"]["judged"]) for record in records} == {
        (24, 10)
    }
    tables = list((tmp_path / "reports" / "tables").glob("digits-*.md"))
    assert tables
    assert all("folder:pets" in table.read_text() for table in tables)


def test_the_holdout_judge_never_uses_the_test_images(run, tmp_path):
    suite = tmp_path / "tuning.yaml"
    suite.write_text(
        "title: Tuning\ndataset: digits\njudge: holdout\npairs: [resnet20-resnet8]\nmethods: [ce]\n"
        "recipe: {base: crd240, epochs: 1, flip: false}\n"
    )
    assert run(suite).code == 0
    (record,) = Store(tmp_path / "results").latest().values()
    assert (record.provenance["data"]["train"], record.provenance["data"]["judged"]) == (270, 30)


def test_imported_weights_are_kept_as_a_teacher_and_not_measured_without_data(run_cli, run, tmp_path):
    checkpoint = ROOT / "tests" / "reference" / "checkpoints" / "resnet8.pth"
    arguments = ["--model", "resnet8", "--dataset", "cifar100", "--results", tmp_path / "results"]
    finished = run_cli("import-weights", checkpoint, *arguments, "--data", tmp_path / "nowhere")
    assert finished.code == 0, finished.err
    (record,) = Store(tmp_path / "results").latest().values()
    assert f"--teacher resnet8={record.id}" in finished.out
    assert record.score is None
    assert "not measured" in finished.out
    assert Store(tmp_path / "results").weights(record.id).parent.name == "teachers"


def test_ctrl_c_ends_with_exit_code_130_and_without_records(tmp_path):
    arguments = ["run", "digits", "--seeds", "0", "-m", "ce", "--results", tmp_path / "results", "--reports", tmp_path]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes ignore SIGINT
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmark", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    signal.signal(signal.SIGINT, before)
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped" in errors
    assert not list((tmp_path / "results" / "records").glob("*.json"))


def test_speed_prints_one_object_with_the_ratio_of_this_loop_to_the_plain_loop(run_cli, tmp_path):
    pair = ["--teacher", "resnet8", "--student", "resnet8", "-m", "kd", "--data", tmp_path]
    finished = run_cli("speed", *pair, "--steps", "2", "--repeats", "2", "--json")
    assert finished.code == 0, finished.err
    found = json.loads(finished.out)
    rates = found["images_per_s"]
    assert found["ratio"] == pytest.approx(rates["ours"]["best"] / rates["plain"]["best"])
    assert found["images"] == "random pixels"
