"""Several processes on one folder of results: each run is trained once, and none is lost with its process."""

import json
import os
import random
import signal
import sys
import time

import pytest
from small_sweeps import Process, use_few_digits

from benchmark.experiment.resolve import Choices, load_suite
from benchmark.store import Record, Store
from benchmark.sweep import claims as claims_module
from benchmark.sweep import runner
from benchmark.sweep.claims import Claims, describe
from benchmark.sweep.options import Options

CHOICES = Choices(methods=("ce", "kd"), seeds="0-2", epochs=1, precision="fp32")
RUNS = 7  # a teacher, and two methods of three seeds


@pytest.fixture(scope="module")
def runs():
    """The students' runs of a small suite."""
    return load_suite("digits", CHOICES)


def sweep(results):
    """Train the small suite on few digits, in a process that has nothing else to do."""
    use_few_digits(pytest.MonkeyPatch())
    options = Options("digits", results, results / "data", device="cpu", lanes=1, quiet=True)
    sys.exit(len(runner.run(load_suite("digits", CHOICES), options)))


def start(results):
    """A process that trains the small suite."""
    return Process(results / "texts", sweep, results)


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
    dice, killed = random.Random(0), 0
    processes = [start(tmp_path) for _ in range(2)]
    while killed < 3:
        time.sleep(dice.uniform(0.5, 1.5))
        victim = processes.pop(dice.randrange(2))
        if victim.kill() == 0:
            break
        killed += 1
        processes.append(start(tmp_path))
    assert [process.wait(500) for process in processes] == [0] * len(processes)
    assert killed and attempts(tmp_path) == ["done"] * RUNS


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


def test_the_claim_of_a_silent_machine_is_taken_over_after_its_lease(tmp_path, runs, monkeypatch):
    monkeypatch.setattr(claims_module, "LEASE_S", 1.5)
    run = runs[0]
    with Claims(tmp_path).take([run]):
        lock = tmp_path / "claims" / f"{run.id}.lock"
        marker = lock.read_text()
        note = json.loads(lock.with_suffix(".json").read_text())
    here = os.uname().nodename
    lock.write_text(marker.replace(here, "another-machine"))
    lock.with_suffix(".json").write_text(json.dumps(note | {"host": "another-machine"}))
    assert Claims(tmp_path).held_ids() == {run.id}, "it may be alive"
    with Claims(tmp_path).take([run]) as mine:
        assert mine == []
    time.sleep(1.6)
    with Claims(tmp_path).take([run]) as mine:
        assert mine == [run]


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
