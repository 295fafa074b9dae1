"""End-to-end tests of the command line: from images to a report."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_sweeps import draw

from benchmark.profiling import speed
from benchmark.store import Store

ROOT = Path(__file__).parents[2]
SHORT = ["digits", "--epochs", "1", "--seeds", "0"]
HELD_OUT = (30, 10)  # of few digits
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
def options(tmp_path):
    """Folders of results and reports of this test."""
    return ["--results", tmp_path / "results", "--reports", tmp_path / "reports"]


@pytest.fixture
def run(call, options, few_digits, no_costs):
    """A function: arguments -> the result of `run` on few digits, in this process, without costs."""
    return lambda *arguments: call("run", *arguments, *options)


def statuses(tmp_path):
    """(method, network) -> status of the valid record."""
    latest = Store(tmp_path / "results").latest().values()
    return {(record.run["method"], record.run["student"]): record.status for record in latest}


def test_one_command_trains_teacher_and_students_and_writes_a_report_and_a_second_call_changes_nothing(
    run_cli, call, options, tmp_path
):
    """The bundled digits and the costs as they are, in a process of its own; what is there already, in this one."""
    finished = run_cli("run", *SHORT, "-m", "ce,kd", *options)
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
    again = call("run", *SHORT, "-m", "ce,kd", *options)
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


def test_a_process_for_each_device_gives_the_same_records_as_one_process(call, no_costs, forked, tmp_path):
    draw(tmp_path / "data")
    curves = {}
    for executor in ("here", "spawn"):
        arguments = ["--executor", executor, "--precision", "fp32", "--lanes", "1", "--quiet"]
        options = ["--results", tmp_path / executor, "--reports", tmp_path / "reports", "--data", tmp_path / "data"]
        finished = call("run", *SHORT, "-m", "ce,kd", "--dataset", "folder:pets", *arguments, *options)
        assert finished.code == 0, finished.err
        curves[executor] = {id: record.curve for id, record in Store(tmp_path / executor).latest().items()}
    assert len(curves["here"]) == 3 and curves["here"] == curves["spawn"]


def test_an_image_folder_instead_of_the_suites_data_is_stated_in_record_and_table(run, tmp_path):
    draw(tmp_path / "data")
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
    assert (record.provenance["data"]["train"], record.provenance["data"]["judged"]) == HELD_OUT


def test_imported_weights_are_kept_as_a_teacher_and_not_measured_without_data(call, tmp_path):
    checkpoint = ROOT / "tests" / "reference" / "checkpoints" / "resnet8.pth"
    arguments = ["--model", "resnet8", "--dataset", "cifar100", "--results", tmp_path / "results"]
    finished = call("import-weights", checkpoint, *arguments, "--data", tmp_path / "nowhere")
    assert finished.code == 0, finished.err
    (record,) = Store(tmp_path / "results").latest().values()
    assert f"--teacher resnet8={record.id}" in finished.out
    assert record.score is None
    assert "not measured" in finished.out
    assert Store(tmp_path / "results").weights(record.id).parent.name == "teachers"


def test_speed_prints_one_object_with_the_ratio_of_this_loop_to_the_plain_loop(call, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "WARMUP_STEPS", 1)
    pair = ["--teacher", "resnet8", "--student", "resnet8", "-m", "kd", "--data", tmp_path]
    finished = call("speed", *pair, "--steps", "2", "--repeats", "2", "--json")
    assert finished.code == 0, finished.err
    found = json.loads(finished.out)
    rates = found["images_per_s"]
    assert found["ratio"] == pytest.approx(rates["ours"]["best"] / rates["plain"]["best"])
    assert found["images"] == "random pixels"
