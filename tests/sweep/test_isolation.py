"""A cohort whose process is lost trains again lane by lane: the run that is to blame fails alone."""

from pathlib import Path

import pytest
import torch
from small_sweeps import draw

from benchmark.data import datasets
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.profiling.cost_plan import missing_costs
from benchmark.store import Record, Store
from benchmark.sweep import runner
from benchmark.sweep.executors import Fault
from benchmark.sweep.options import Options
from methods import registry

PLUGIN = '''
"""Methods that cost their process."""
import os
import torch
import torch.nn.functional as F
from methods import Method, register


class Plain(Method):
    """The plain student."""

    needs_teacher = False

    def begin_epoch(self, clock):
        self.epoch = clock.epoch

    def loss(self, s, t, batch):
        if self.epoch == 1:
            self.go_wrong()
        return {"ce": F.cross_entropy(s.logits, batch.y)}

    def go_wrong(self):
        """Nothing goes wrong."""


@register("innocent")
class Innocent(Plain):
    """The plain student."""


@register("asserting")
class Asserting(Plain):
    """Fails as a device-side assert does."""

    def go_wrong(self):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered\\nFor debugging consider ...")


@register("dying")
class Dying(Plain):
    """Ends the process."""

    def go_wrong(self):
        os._exit(9)
'''
LOST = Fault({"type": "Failed", "message": "its process ended with exit code 9"}, lost=True)


@pytest.fixture
def suite(tmp_path, isolated_registry):
    """A function: methods -> the runs of a small suite, and options with results of their own."""
    plugin = tmp_path / "lost.py"
    plugin.write_text(PLUGIN)
    registry.load(str(plugin))

    draw(tmp_path / "data")

    def make(*methods, **changes):
        choices = Choices(methods=methods, seeds="0", epochs=2, precision="fp32", dataset="folder:pets")
        runs = load_suite("digits", choices, lambda name: datasets.content(name, tmp_path / "data"))
        places = {"results": tmp_path / "results", "data": tmp_path / "data"}
        return runs, Options("digits", **places, device="cpu", plugins=(str(plugin),), **changes)

    return make


def outcome(options):
    """method -> status and message of each of its records."""
    found = {}
    for record in Store(options.results).records():
        found.setdefault(record.run["method"], []).append((record.status, (record.error or {}).get("message")))
    return found


@pytest.mark.parametrize(
    ("guilty", "message"),
    [
        ("asserting", "CUDA error: device-side assert triggered"),
        ("dying", "its process ended with exit code 9"),
    ],
)
def test_the_guilty_run_fails_with_its_reason_and_its_company_has_results(
    suite, forked, monkeypatch, capfd, guilty, message
):
    monkeypatch.setattr(runner, "devices", lambda options: ["0"])  # as if there were a GPU: processes of their own
    runs, options = suite(guilty, "innocent")
    (sentence,) = runner.run(runs, options)
    assert outcome(options) == {guilty: [("failed", message)], "innocent": [("done", None)]}
    assert sentence.startswith(f"resnet8 {guilty} seed 0")
    assert sentence.endswith(f"failed: {message}")
    out, err = capfd.readouterr()
    assert f"{message}; its 2 runs without a result will be trained again, one by one" in err
    assert "epoch 1/2" in out, "the child shows its progress"


@pytest.fixture
def dispatched(monkeypatch):
    """A function: what each call of `dispatch` does -> the calls, as (methods of each cohort, executor)."""

    def install(*steps):
        calls, left = [], list(steps)

        def dispatch(work, jobs, executor, devices):
            calls.append(([[run.method for run in job.cohort] for job in jobs], executor))
            return left.pop(0)(jobs)

        monkeypatch.setattr(runner, "dispatch", dispatch)
        return calls

    return install


def keep(job, *methods):
    """Add records of results for some of a job's runs."""
    for run in job.cohort:
        if run.method in methods:
            Store(job.options.results).add(Record(id=run.id, status="done", run=run.model_dump(mode="json")))


def test_runs_that_had_ended_before_their_process_was_lost_are_not_repeated(suite, dispatched):
    runs, options = suite("asserting", "innocent", "dying")

    def first(jobs):
        keep(jobs[0], "innocent")
        return [LOST]

    def second(jobs):
        keep(jobs[1], "dying")
        return [LOST, None]

    calls = dispatched(first, second)
    assert len(runner.run(runs, options)) == 1
    assert calls == [([["asserting", "innocent", "dying"]], "here"), ([["asserting"], ["dying"]], "spawn")]
    found = outcome(options)
    assert found["asserting"] == [("failed", "its process ended with exit code 9")]
    assert found["innocent"] == found["dying"] == [("done", None)]


def test_a_repeated_run_whose_process_is_lost_is_trained_alone_though_it_has_an_older_record(suite, dispatched):
    runs, options = suite("innocent", "dying", again=True)
    job = runner.Task(runs, options)
    keep(job, "innocent", "dying")
    calls = dispatched(lambda jobs: [LOST], lambda jobs: [keep(jobs[0], "innocent"), LOST])
    runner.run(runs, options)
    assert calls[1] == ([["innocent"], ["dying"]], "spawn")
    assert [status for status, _ in outcome(options)["dying"]] == ["done", "failed"]


def test_a_cohort_that_raises_without_losing_its_process_is_not_repeated(suite, dispatched):
    runs, options = suite("innocent", "dying")
    calls = dispatched(lambda jobs: [Fault({"type": "BadInput", "message": "no data", "trace": "..."})])
    assert len(runner.run(runs, options)) == 2
    assert len(calls) == 1
    (record, _) = Store(options.results).latest().values()
    assert record.error == {"type": "BadInput", "message": "no data", "trace": "..."}


def test_children_are_told_the_device_that_was_found_so_that_none_falls_back_to_the_cpu(suite, monkeypatch):
    runs, options = suite("innocent", "dying")
    asked = []
    found = type("Found", (), {"device": torch.device("cuda")})
    monkeypatch.setattr(runner, "machine", lambda device: found)
    monkeypatch.setattr(
        runner,
        "dispatch",
        lambda work, jobs, *_: asked.extend(job.options.device for job in jobs) or [LOST] * len(jobs),
    )
    runner.run(runs, options)
    assert set(asked) == {"cuda"}


def test_a_run_that_failed_is_not_measured_in_the_process_of_the_others(suite):
    runs, options = suite("dying", "innocent")
    assert [run.method for run in missing_costs(runs, Store(options.results), "cpu")] == ["dying", "innocent"]
    failed = Record(id=runs[0].id, status="failed", run=runs[0].model_dump(mode="json"), error=LOST.error)
    Store(options.results).add(failed)
    assert [run.method for run in missing_costs(runs, Store(options.results), "cpu")] == ["innocent"]


@pytest.mark.parametrize(
    ("executor", "masked", "count", "devices"),
    [
        ("spawn", "2,3", 2, ["2", "3"]),
        ("here", "2,3", 2, ["2"]),
        ("spawn", "GPU-5f8a,GPU-77", 2, ["GPU-5f8a", "GPU-77"]),
        ("spawn", "MIG-c6d4f1ef", 1, ["MIG-c6d4f1ef"]),
        ("spawn", None, 3, ["0", "1", "2"]),
        ("here", None, 3, ["0"]),
        ("spawn", "", 0, [""]),
        ("here", None, 0, [""]),
    ],
)
def test_processes_are_given_the_devices_that_the_user_left_visible(monkeypatch, executor, masked, count, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if masked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", masked)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    options = Options("digits", Path("results"), Path("data"), "auto", executor=executor)
    assert runner.devices(options) == devices
    assert runner.devices(Options("digits", Path("results"), Path("data"), "cpu", executor=executor)) == [""]
