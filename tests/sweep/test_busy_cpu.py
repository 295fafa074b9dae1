"""Where other programs use the processor, a sweep trains in processes of one thread each."""

import os

import pytest
import torch
from small_sweeps import draw

from benchmark.experiment.resolve import Choices, load_suite
from benchmark.profiling.contention import busy_processes
from benchmark.store import Store
from benchmark.sweep import load, runner
from benchmark.sweep.load import Counters
from benchmark.sweep.options import Options


def counters(busy, cores=2):
    """Readings of which the second finds that others used `busy` cores for a second."""
    left = [Counters(0.0, 0.0, 0.0, cores), Counters(1.0, busy, 0.0, cores)]
    return lambda: left.pop(0)


@pytest.fixture
def two_threads(monkeypatch):
    """As if torch had two threads by default."""
    monkeypatch.setattr(load.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("device", "busy", "cores", "count"),
    [
        ("cpu", 2.0, 2, 2),
        ("cpu", 1.0, 2, 2),
        ("cpu", 0.1, 2, 0),
        ("cpu", 5.0, 8, 0),
        ("cpu", 7.0, 8, 2),
        ("cuda", 2.0, 2, 0),
    ],
)
def test_there_are_as_many_processes_as_threads_where_others_leave_too_few_cores(
    two_threads, device, busy, cores, count
):
    assert load.processes_of_one_thread(device, counters(busy, cores)) == count


def test_the_threads_that_the_user_has_set_stay(two_threads):
    two_threads.setenv("OMP_NUM_THREADS", "2")
    assert load.processes_of_one_thread("cpu", counters(2.0)) == 0


def test_where_the_system_has_no_counters_nothing_changes(two_threads):
    assert load.processes_of_one_thread("cpu", lambda: None) == 0


def test_the_runs_of_one_cohort_are_shared_out_over_the_processes(tmp_path):
    runs = load_suite("digits", Choices(methods=("ce", "kd", "sp", "hint", "lp"), seeds="0"))
    options = Options("digits", tmp_path, tmp_path)
    assert [len(cohort) for cohort in load.cohorts_for(runs, options)] == [5]
    busy = Options("digits", tmp_path, tmp_path, executor="spawn", processes=2)
    assert [len(cohort) for cohort in load.cohorts_for(runs, busy)] == [3, 2]
    assert runner.devices(busy) == ["", ""]


def test_while_a_teacher_trains_another_process_trains_what_needs_none(tmp_path):
    runs = load_suite("digits", Choices(methods=("ce", "kd"), seeds="0-1"))
    teacher = next(run.teacher for run in runs if run.teacher)
    free = [[teacher], [run for run in runs if not run.teacher]]
    assert runner.ready_runs(free, 0) == [teacher]
    ready = runner.ready_runs(free, 2)
    assert [run.method for run in ready] == ["ce", "ce"] and ready[0] == teacher
    busy = Options("digits", tmp_path, tmp_path, executor="spawn", processes=2)
    assert [len(cohort) for cohort in load.cohorts_for(ready, busy)] == [1, 1]


def test_busy_processes_are_noticed(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with busy_processes(2 * len(os.sched_getaffinity(0))):
        assert load.processes_of_one_thread("cpu") == 2


def test_a_sweep_beside_busy_processes_says_so_and_trains_with_one_thread_each(call, monkeypatch, tmp_path):
    monkeypatch.setattr(load, "processes_of_one_thread", lambda device: 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # this process trains nothing
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    draw(tmp_path / "data")
    places = ["--data", tmp_path / "data", "--results", tmp_path / "r", "--reports", tmp_path / "p"]
    done = call("run", "digits", "-m", "ce", "--epochs", "1", "--seeds", "0", "--dataset", "folder:pets", *places)
    assert done.code == 0, done.err
    assert "other programs use this processor: training in 2 processes of one thread each" in done.err
    assert "costs not measured beside other programs; `cost digits` measures them later" in done.err
    (record,) = Store(tmp_path / "r").records()
    assert record.kind == "run" and record.provenance["device"].endswith(", 1 threads")
