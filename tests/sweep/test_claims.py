"""Several processes on one folder of results: each run is trained once, and none is lost with its process."""

import json
import os
import random
import signal
import sys
import threading
import time
from dataclasses import replace

import pytest
from small_sweeps import Process, use_few_digits

from benchmark.experiment.resolve import Choices, load_suite
from benchmark.store import Record, Store
from benchmark.sweep import claims as claims_module
from benchmark.sweep import runner
from benchmark.sweep.claims import Claims, describe
from benchmark.sweep.limits import Limits
from benchmark.sweep.options import Options

CHOICES = Choices(methods=("ce", "kd"), seeds="0-2", epochs=1, precision="fp32")
RUNS = 7  # a teacher, and two methods of three seeds


@pytest.fixture(scope="module")
def runs():
    """The students' runs of a small suite."""
    return load_suite("digits", CHOICES)


def sweep(results, epochs):
    """Train the small suite on few digits, in a process that has nothing else to do."""
    use_few_digits(pytest.MonkeyPatch())
    options = Options("digits", results, results / "data", device="cpu", lanes=1, quiet=True)
    sys.exit(len(runner.run(load_suite("digits", replace(CHOICES, epochs=epochs)), options)))


def start(results, epochs=1):
    """A process that trains the small suite."""
    return Process(results / "texts", sweep, results, epochs)


def attempts(results):
    """Status of every attempt of every run, in order of id."""
    records = sorted(Store(results).records(), key=lambda record: (record.id, record.attempt))
    return [record.status for record in records if record.kind == "run"]


@pytest.mark.parametrize("count", [2, 4, pytest.param(8, marks=pytest.mark.long)])
def test_processes_share_a_sweep_and_train_each_run_once(tmp_path, count):
    processes = [start(tmp_path) for _ in range(count)]
    assert [process.wait(500) for process in processes] == [0] * count
    assert attempts(tmp_path) == ["done"] * RUNS
    assert not list((tmp_path / "claims").glob("*.lock")) and not list((tmp_path / "claims").glob("*.json"))


def test_what_a_killed_process_was_training_is_trained_by_the_others(tmp_path):
    dice = random.Random(0)
    processes = [start(tmp_path, epochs=6) for _ in range(2)]
    while not list((tmp_path / "claims").glob("*.json")):
        time.sleep(0.05)
    for _ in range(3):
        time.sleep(dice.uniform(0.2, 1.0))
        victim = processes.pop(dice.randrange(2))
        assert victim.kill() == -signal.SIGKILL, "it was training"
        processes.append(start(tmp_path, epochs=6))
    assert [process.wait(500) for process in processes] == [0] * len(processes)
    assert attempts(tmp_path) == ["done"] * RUNS


def test_a_run_waits_for_a_teacher_whose_weights_are_there_and_whose_record_is_not(few_digits, tmp_path, monkeypatch):
    (run,) = load_suite("digits", Choices(methods=("kd",), seeds="0", epochs=1))
    store, other, trained = Store(tmp_path), Claims(tmp_path).take([run.teacher]), []
    store.keep_weights(run.teacher.id, b"weights")
    other.__enter__()

    def sleep(seconds):
        assert not trained
        store.add(Record(id=run.teacher.id, status="done", run=run.teacher.model_dump(mode="json")))
        other.__exit__(None, None, None)

    def train(cohort, job, store, claims):
        trained.extend(cohort)
        store.add(Record(id=cohort[0].id, status="done", run=cohort[0].model_dump(mode="json")))

    monkeypatch.setattr(runner.time, "sleep", sleep)
    monkeypatch.setattr("benchmark.sweep.cohort.train_claimed", train)
    assert runner.run([run], Options("digits", tmp_path, tmp_path, device="cpu", lanes=1, quiet=True)) == []
    assert [r.method for r in trained] == ["kd"] and store.latest()[run.teacher.id].status == "done"


def test_a_claim_is_held_until_its_block_ends_and_other_processes_see_who_holds_it(tmp_path, runs):
    claims, others = Claims(tmp_path), Claims(tmp_path)
    with claims.take(runs[:2]) as mine:
        assert mine == runs[:2]
        claims.note_progress(mine, 3, 12)
        with others.take(runs[:3]) as rest:
            assert rest == [runs[2]]
        (first, _) = lines = describe(others.held()).splitlines()
        assert len(lines) == 2
        assert (
            runs[0].label in describe(others.held()) and "epoch 3/12" in first and f"process {os.getpid()} on" in first
        )
    assert describe(others.held()) == "nothing is being trained"
    with others.take(runs) as all_of_them:
        assert all_of_them == runs


def claim_and_die(results, runs):
    """Claim runs, and be killed."""
    with Claims(results).take(runs):
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_claim_of_a_dead_process_is_taken_over_at_once(tmp_path, runs):
    assert Process(tmp_path / "texts", claim_and_die, tmp_path, runs).wait(300) == -signal.SIGKILL
    claims = Claims(tmp_path)
    assert claims.held() == [] and len(claims.stale()) == 2 * len(runs)
    started = time.monotonic()
    with claims.take(runs) as mine:
        assert mine == runs
    assert time.monotonic() - started < claims_module.LEASE_S / 2


def leave_claim(results, run):
    """A claim that another machine has left, and the file of its lock."""
    with Claims(results).take([run]):
        lock = results / "claims" / f"{run.id}.lock"
        marker, note = lock.read_text(), json.loads(lock.with_suffix(".json").read_text())
    lock.write_text(marker.replace(os.uname().nodename, "another-machine"))
    lock.with_suffix(".json").write_text(json.dumps(note | {"host": "another-machine"}))
    return lock


def pretend_to_train(monkeypatch):
    """Every run that is claimed has a record at once."""

    def train(cohort, job, store, claims):
        for run in cohort:
            store.add(Record(id=run.id, status="done", run=run.model_dump(mode="json")))

    monkeypatch.setattr("benchmark.sweep.cohort.train_claimed", train)


def hurry(monkeypatch, lease):
    """Other lengths of a lease and of the time between two looks."""
    monkeypatch.setattr(claims_module, "LEASE_S", lease)
    for module in (claims_module, runner):
        monkeypatch.setattr(module, "POLL_SECONDS", 0.05)


def test_the_claim_of_a_silent_machine_is_free_once_it_was_watched_for_a_lease(tmp_path, runs, monkeypatch):
    hurry(monkeypatch, 1.5)
    lock, claims = leave_claim(tmp_path, runs[0]), Claims(tmp_path)
    os.utime(lock, (0, 0))
    assert claims.held_ids() == {runs[0].id}, "it may be alive, and its clock wrong"
    claims.release_silent(runs)
    with Claims(tmp_path).take([runs[0]]) as mine:
        assert mine == []
    time.sleep(1.6)
    assert claims.held_ids() == set()
    claims.release_silent(runs)
    with Claims(tmp_path).take([runs[0]]) as mine:
        assert mine == [runs[0]]


def test_a_silent_machine_is_replaced_after_one_lease_and_keeps_nobody_from_claiming_other_runs(
    few_digits, tmp_path, runs, monkeypatch
):
    hurry(monkeypatch, 3.0)
    pretend_to_train(monkeypatch)
    run, other = [run for run in runs if not run.teacher][:2]
    leave_claim(tmp_path, run)
    took, is_over, started = [], threading.Event(), time.monotonic()

    def claim_again_and_again():
        while not is_over.wait(0.1):
            began = time.monotonic()
            with Claims(tmp_path).take([other]):
                took.append(time.monotonic() - began)

    threading.Thread(target=claim_again_and_again, daemon=True).start()
    options = Options("digits", tmp_path, tmp_path / "data", device="cpu", lanes=1, quiet=True)
    assert runner.run([run], options) == []
    is_over.set()
    assert 3.0 <= time.monotonic() - started < 5.5
    assert len(took) > 5 and max(took) < 1.5


@pytest.mark.parametrize("wrong", [-1000.0, 1000.0], ids=["behind", "ahead"])
def test_a_machine_whose_clock_is_wrong_keeps_its_claims_as_long_as_it_touches_them(tmp_path, runs, monkeypatch, wrong):
    hurry(monkeypatch, 0.6)
    lock, claims = leave_claim(tmp_path, runs[0]), Claims(tmp_path)
    for _ in range(8):
        os.utime(lock, (time.time() + wrong,) * 2)
        claims.release_silent(runs)
        assert claims.held_ids() == {runs[0].id}
        with claims.take([runs[0]]) as mine:
            assert mine == []
        time.sleep(0.2)


def test_status_says_how_long_an_owner_has_been_silent_and_gc_waits_for_a_day(tmp_path, runs):
    lock, ago = leave_claim(tmp_path, runs[0]), time.time() - 3 * 3600
    os.utime(lock, (ago, ago))
    assert "first epoch, no sign of life for 180 min  since" in describe(Claims(tmp_path).held())
    assert Claims(tmp_path).stale() == []
    os.utime(lock, (ago - 86400, ago - 86400))
    assert Claims(tmp_path).stale() == [lock.with_suffix(".json"), lock]


def test_a_run_that_another_process_held_for_a_moment_is_tried_again_and_no_budget_is_named(
    few_digits, tmp_path, runs, monkeypatch
):
    (run, *_) = [run for run in runs if not run.teacher]
    options, real, slept = Options("digits", tmp_path, tmp_path, device="cpu", lanes=1, quiet=True), runner.dispatch, []

    def dispatch(work, jobs, *rest):
        if slept:
            return real(work, jobs, *rest)
        with Claims(tmp_path).take([run]):  # the other is killed before it has a record
            return real(work, jobs, *rest)

    pretend_to_train(monkeypatch)
    monkeypatch.setattr(runner, "dispatch", dispatch)
    monkeypatch.setattr(runner.time, "sleep", slept.append)
    for limits in (Limits(), Limits(start_until=time.monotonic() + 3600)):
        slept.clear()
        assert runner.run([run], replace(options, limits=limits, again=True)) == []
        assert slept == [runner.POLL_SECONDS], "it does not look without a pause"
    assert attempts(tmp_path) == ["done", "done"]


def test_a_run_that_another_process_finished_meanwhile_is_not_trained_again(tmp_path, runs, monkeypatch):
    options = Options("digits", tmp_path, tmp_path / "data", device="cpu", lanes=1, quiet=True)
    teacher = next(run.teacher for run in runs if run.teacher)
    plain = [run for run in runs if not run.teacher]
    trained = []

    def train(cohort, job, store, claims):
        trained.extend(cohort)
        for run in plain if len(trained) == 1 else cohort:  # the first call: another process finishes all of them
            store.add(Record(id=run.id, status="done", run=run.model_dump(mode="json")))

    monkeypatch.setattr("benchmark.sweep.cohort.train_claimed", train)
    assert runner.run(plain, options) == []
    assert trained == plain[:1] and teacher not in trained


def test_a_process_waits_for_runs_of_another_and_takes_over_what_it_leaves(tmp_path, runs, monkeypatch, capsys):
    options = Options("digits", tmp_path, tmp_path / "data", device="cpu", lanes=1)
    (run, *_) = [run for run in runs if not run.teacher]
    other = Claims(tmp_path).take([run])
    other.__enter__()
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            other.__exit__(None, None, None)  # it ends without a record

    def train(cohort, job, store, claims):
        store.add(Record(id=cohort[0].id, status="done", run=cohort[0].model_dump(mode="json")))

    monkeypatch.setattr(runner.time, "sleep", sleep)
    monkeypatch.setattr("benchmark.sweep.cohort.train_claimed", train)
    assert runner.run([run], options) == []
    assert "waiting for another process, which trains 1 run;" in capsys.readouterr().err
    assert attempts(tmp_path) == ["done"]


def test_a_pipe_in_place_of_a_claims_note_hangs_nobody(tmp_path, runs):
    with Claims(tmp_path).take(runs[:1]) as (run,):
        note = tmp_path / "claims" / f"{run.id}.json"
        note.unlink()
        os.mkfifo(note)
        assert Claims(tmp_path).held_ids() == {run.id}
