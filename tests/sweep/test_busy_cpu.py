"""Where other programs use the processor, a sweep trains with fewer threads or in processes of one thread each."""

import os

import pytest
import torch
from small_sweeps import draw

from benchmark.experiment.resolve import Choices, load_suite
from benchmark.profiling.contention import busy_processes
from benchmark.store import Store
from benchmark.sweep import load, runner
from benchmark.sweep.claims import Claim, Claims
from benchmark.sweep.load import Counters
from benchmark.sweep.options import Options


def counters(*loads, cores=2):
    """Readings between which others use these cores, on average, for a second each."""
    ends = [sum(loads[:count]) for count in range(len(loads) + 1)]
    left = [Counters(float(second), busy, 0.0, cores) for second, busy in enumerate(ends)]
    return lambda: left.pop(0)


@pytest.fixture
def two_threads(monkeypatch):
    """As if torch had two threads by default, and nobody had to wait."""
    monkeypatch.setattr(load.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("threads", "cores", "busy", "processes", "each"),
    [
        (2, 2, 2.0, 2, 1),
        (2, 2, 1.0, 2, 1),
        (2, 8, 7.0, 2, 1),
        (8, 8, 0.4, 1, 7),  # a small load costs a thread, not seven
        (16, 16, 0.35, 1, 15),
        (8, 8, 4.0, 1, 4),
        (8, 16, 12.0, 1, 4),  # 8 cores with two hardware threads each
        (8, 8, 6.5, 8, 1),
        (16, 16, 24.0, 16, 1),  # counters that run ahead
    ],
)
def test_beside_others_each_thread_has_a_core_of_its_own_or_a_process_of_its_own(threads, cores, busy, processes, each):
    assert load.room_for(threads, cores, busy, memory=1e12) == load.Room(processes, each)


@pytest.mark.parametrize(("threads", "cores", "busy"), [(2, 2, 0.1), (8, 8, 0.2), (2, 8, 5.0), (8, 16, 8.0)])
def test_where_others_leave_a_core_for_every_thread_nothing_changes(threads, cores, busy):
    assert load.room_for(threads, cores, busy, memory=1e12) is None


@pytest.mark.parametrize(("memory", "processes"), [(1e12, 16), (21e9, 8), (1e9, 1)])
def test_there_are_no_more_processes_than_the_memory_holds(memory, processes):
    assert load.room_for(16, 16, 16.0, memory) == load.Room(processes, 1)


def test_the_memory_is_what_the_system_and_the_container_leave(tmp_path):
    info = tmp_path / "meminfo"
    info.write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert load.read_memory(info, tmp_path) == load.Memory(9000 * 1024, 4000 * 1024)
    (tmp_path / "memory.current").write_text("500\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert load.read_memory(info, tmp_path).free == 4000 * 1024
    (tmp_path / "memory.max").write_text("1500\n")
    assert load.read_memory(info, tmp_path).free == 1000
    assert load.read_memory(tmp_path / "nothing", tmp_path) is None
    info.write_text("MemTotal: 9000 kB\n")
    assert load.read_memory(info, tmp_path) is None, "an old kernel does not say what is available"


def test_a_load_that_is_gone_seconds_later_changes_nothing(two_threads):
    assert load.room_beside_others(counters(2.0, 0.0)) is None
    assert load.room_beside_others(counters(2.0, 1.5)) == load.Room(2, 1)
    assert load.room_beside_others(counters(0.1)) is None  # one look is enough where nothing is seen


def test_the_threads_that_the_user_has_set_stay(two_threads):
    two_threads.setenv("OMP_NUM_THREADS", "2")
    assert load.room_beside_others(counters(2.0, 2.0)) is None


def test_where_the_system_has_no_counters_nothing_changes(two_threads):
    assert load.room_beside_others(lambda: None) is None


def test_a_sweep_with_room_for_several_threads_stays_one_process(monkeypatch, tmp_path, capsys):
    chosen = []
    monkeypatch.setattr(load, "room_beside_others", lambda: load.Room(1, 7))
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    options = load.make_room(Options("digits", tmp_path, tmp_path, device="cpu"))
    assert (options.executor, options.processes, chosen, os.environ["OMP_NUM_THREADS"]) == ("here", 1, [7], "7")
    assert "training with 7 threads, for which they leave cores" in capsys.readouterr().err


def test_a_sweep_on_a_cluster_keeps_its_options(monkeypatch, tmp_path):
    monkeypatch.setattr(load, "room_beside_others", lambda: load.Room(2, 1))
    options = Options("digits", tmp_path, tmp_path, device="cpu", executor="ray")
    assert load.make_room(options) is options


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
        assert load.room_beside_others() == load.Room(2, 1)


def test_a_sweep_beside_busy_processes_says_so_and_trains_with_one_thread_each(call, monkeypatch, tmp_path):
    monkeypatch.setattr(load, "room_beside_others", lambda: load.Room(2, 1))
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


def test_costs_are_not_measured_while_another_process_trains_in_the_same_folder(
    call, few_digits, monkeypatch, tmp_path
):
    other = Claim("0" * 12, "kd", pid=1, host="elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(Claims, "held", lambda self: [other])
    places = ["--results", tmp_path / "r", "--reports", tmp_path / "p"]
    done = call("run", "digits", "-m", "ce", "--epochs", "1", "--seeds", "0", *places)
    assert done.code == 0, done.err
    assert "costs not measured beside other programs" in done.err
    assert [record.kind for record in Store(tmp_path / "r").records()] == ["run"]
