"""Limits of a sweep: hours, budget, the first failure; and a teacher that fails."""

import time
from contextlib import nullcontext
from dataclasses import replace

import pytest

from benchmark.errors import BadInput
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.store import Record, Store
from benchmark.sweep import cohort, runner
from benchmark.sweep.cohort import Task, train_cohort
from benchmark.sweep.limits import Faults, Limits, make_limits, parse_duration
from benchmark.sweep.options import Options
from benchmark.training.callback import Callback, Stopped
from methods import registry

PLUGIN = '''
"""A method that raises in its second epoch."""
import torch.nn.functional as F
from methods import Method, register


@register("raising")
class Raising(Method):
    """Raises."""

    needs_teacher = False

    def begin_epoch(self, clock):
        if clock.epoch == 1:
            raise ValueError("on purpose")

    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}
'''


@pytest.fixture
def sweep(tmp_path, isolated_registry):
    """A function: methods, limits -> runs of a small suite and options."""
    plugin = tmp_path / "raising.py"
    plugin.write_text(PLUGIN)
    registry.load(str(plugin))

    def make(*methods, limits=Limits(), lanes=16, epochs=3, seeds="0"):  # noqa: B008
        runs = load_suite("digits", Choices(methods=methods, seeds=seeds, epochs=epochs, precision="fp32"))
        places = {"results": tmp_path / "results", "data": tmp_path / "data"}
        return runs, Options("digits", **places, device="cpu", lanes=lanes, plugins=(str(plugin),), limits=limits)

    return make


def statuses(options):
    """method -> status of its record."""
    return {record.run["method"]: record.status for record in Store(options.results).latest().values()}


def checkpoints(options):
    """The ids of the runs that have checkpoints; on a slow machine there are earlier ones beside them."""
    return sorted({path.name.partition(".")[0] for path in (options.results / "checkpoints").glob("*.pt")})


def test_when_its_time_is_over_a_sweep_stops_after_the_epoch_and_goes_on_from_there(sweep, monkeypatch, capsys):
    runs, options = sweep("ce", limits=Limits(stop_at=0.0))
    monkeypatch.setattr(Limits, "check", lambda *_: None)  # as if the time ended during the first epoch
    train_cohort(Task(runs, options))
    assert statuses(options) == {} and len(checkpoints(options)) == 1
    assert capsys.readouterr().out.count("epoch 1/3") == 1
    assert runner.run(runs, replace(options, limits=Limits())) == []
    (record,) = Store(options.results).latest().values()
    assert (record.status, record.clock["resumed"]) == ("done", 1)
    assert "epoch 1/3" not in capsys.readouterr().out


def test_a_sweep_whose_time_is_over_starts_nothing(sweep):
    runs, options = sweep("ce", limits=Limits(stop_at=time.monotonic()))
    with pytest.raises(Stopped, match="--max-hours is over"):
        runner.run(runs, options)
    assert statuses(options) == {}


def test_fail_fast_stops_the_cohort_and_what_would_follow(sweep):
    runs, options = sweep("raising", "ce", limits=Limits(fail_fast=True), seeds="0-1")
    with pytest.raises(Stopped, match=r"--fail-fast, and raising \(\w+\) failed"):
        runner.run(runs, options)
    assert statuses(options) == {"raising": "failed"}
    assert len(checkpoints(options)) == 1, "its company goes on later"


def test_fail_fast_stops_after_the_epoch_in_which_a_run_of_another_process_fails(sweep, monkeypatch):
    runs, options = sweep("ce", "kd", limits=Limits(fail_fast=True), epochs=4)
    (mine, other), store, epochs = runs, Store(options.results), []

    class Other(Callback):
        def on_epoch_end(self, lanes, epoch, *rest):
            epochs.append(epoch)
            if epoch == 2:
                store.add(Record(id=other.id, status="diverged", run=other.model_dump(mode="json")))

    monkeypatch.setattr(cohort.progress, "progress_display", lambda *_: nullcontext(Other()))
    with pytest.raises(Stopped, match=rf"--fail-fast, and kd \({other.id}\) diverged"):
        runner.train_missing(runner.Plan(runs, {}, [[[mine]]], dict.fromkeys((mine.id, other.id), 0)), store, options)
    assert epochs == [1, 2] and statuses(options) == {"kd": "diverged"}
    assert checkpoints(options) == [mine.id]


def test_fail_fast_stops_the_processes_of_the_executor_spawn_too(sweep, forked):
    runs, options = sweep("raising", "ce", limits=Limits(fail_fast=True), lanes=1, epochs=400)
    with pytest.raises(Stopped, match="--fail-fast, and raising"):
        runner.run(runs, replace(options, executor="spawn", processes=2))
    assert statuses(options) == {"raising": "failed"}
    assert len(checkpoints(options)) == 1


def a_record(run, status, attempt=1):
    return Record(id=run.id, attempt=attempt, status=status, run=run.model_dump(mode="json"))


def test_only_runs_of_the_sweep_that_failed_since_it_began_count_and_each_record_is_read_once(sweep, monkeypatch):
    runs, options = sweep("ce", "kd", seeds="0-1")
    store, read = Store(options.results), []
    first, second, third, stranger = runs
    for run, status in ((first, "done"), (second, "failed"), (stranger, "failed")):
        store.add(a_record(run, status))
    faults = Faults(store, {first.id: 1, second.id: 1, third.id: 0})
    real = store.records_of
    monkeypatch.setattr(store, "records_of", lambda id: read.append(id) or real(id))
    assert faults.first() is None and read == [], "what had failed before it began is trained again"
    store.add(a_record(third, "done"))
    assert faults.first() is None and faults.first() is None and read == [third.id]
    store.add(a_record(first, "diverged"))
    found = faults.first()
    assert (found.id, found.attempt, found.status) == (first.id, 2, "diverged"), "though an earlier attempt is done"
    assert faults.first() is found and read == [third.id, first.id]


def test_without_fail_fast_a_failure_costs_only_its_own_run(sweep):
    runs, options = sweep("raising", "ce")
    (sentence,) = runner.run(runs, options)
    assert "on purpose" in sentence
    assert statuses(options) == {"raising": "failed", "ce": "done"}


def test_a_budget_starts_only_what_would_end_in_time_and_whatever_was_never_measured(sweep):
    runs, options = sweep("ce", epochs=1, lanes=1, seeds="0-2", limits=Limits(start_until=time.monotonic() + 3600))
    assert runner.run(runs[:1], options) == []
    (record,) = Store(options.results).latest().values()
    slow = record.model_copy(update={"clock": record.clock | {"train_s": 4000.0}, "id": "f" * 12})
    Store(options.results).add(slow.model_copy(update={"provenance": record.provenance | {"ended": "9999"}}))
    with pytest.raises(Stopped, match="--budget: 1 more run would not have ended in time"):
        runner.run(runs[:2], options)
    with pytest.raises(Stopped, match="--budget: 2 more runs would not have ended in time"):
        runner.run(runs, options)


def test_a_teacher_that_fails_costs_only_those_that_learn_from_it(sweep, monkeypatch):
    runs, options = sweep("ce", "kd", epochs=1)
    teacher = next(run.teacher for run in runs if run.teacher)
    real = runner.dispatch

    def dispatch(work, jobs, *rest):
        def fail_the_teacher(job):
            if teacher in job.cohort:
                raise ValueError("the teacher fails")
            work(job)

        return real(fail_the_teacher, jobs, *rest)

    monkeypatch.setattr(runner, "dispatch", dispatch)
    (about_teacher, about_kd) = runner.run(runs, options)
    assert "the teacher fails" in about_teacher and "its teacher has no weights" in about_kd
    found = Store(options.results).latest()
    assert {found[run.id].status for run in runs if run.method == "ce"} == {"done"}


def test_a_run_that_diverged_is_told_by_the_next_sweep_with_the_way_to_repeat_it(sweep):
    runs, options = sweep("ce", epochs=1)
    error = {"type": "Diverged", "message": "in epoch 1 (distill) the mean of ce is nan"}
    Store(options.results).add(
        Record(id=runs[0].id, status="diverged", run=runs[0].model_dump(mode="json"), error=error)
    )
    (sentence,) = runner.run(runs, options)
    assert sentence.endswith("diverged: in epoch 1 (distill) the mean of ce is nan; it is not repeated without --again")


@pytest.mark.parametrize(
    ("text", "seconds"), [("4h", 14400), ("90m", 5400), ("90min", 5400), ("1h30m", 5400), ("45s", 45), ("0.5H", 1800)]
)
def test_durations_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "4", "h", "-1h", "0h", "1h 30m", "nan", "inf h", "9" * 30 + "h", "4 hours"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(BadInput, match="--budget is a time such as 4h"):
        parse_duration(text)


@pytest.mark.parametrize("hours", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_hours_are_positive_numbers(hours):
    with pytest.raises(BadInput, match="--max-hours is a number of hours above 0"):
        make_limits(hours, "", False)
