"""Where other programs use the processor, a sweep trains in processes of one thread each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.experiment.resolve import Choices, load_suite
from benchmark.profiling.contention import busy_processes
from benchmark.store import Store
from benchmark.sweep import load, runner
from benchmark.sweep.load import Counters
from benchmark.sweep.options import Options

ROOT = Path(__file__).parents[2]


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


@pytest.mark.slow
def test_a_sweep_beside_busy_processes_says_so_and_trains_with_one_thread_each(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core has one thread in any case")
    command = [sys.executable, "-m", "benchmark", "run", "digits", "-m", "ce,lp", "--epochs", "1", "--seeds", "0"]
    with busy_processes(2 * len(os.sched_getaffinity(0))):
        places = ["--results", tmp_path / "r", "--reports", tmp_path / "p"]
        done = subprocess.run(
            [*command, *places], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "other programs use this processor: training in" in done.stderr
    assert "costs not measured beside other programs; `cost digits` measures them later" in done.stderr
    assert {record.kind for record in Store(tmp_path / "r").records()} == {"run"}
    devices = {record.provenance["device"] for record in Store(tmp_path / "r").records() if record.kind == "run"}
    assert len(devices) == 1 and next(iter(devices)).endswith(", 1 threads")
