"""Checkpoints: a run that is killed and resumed equals an uninterrupted one, bit for bit on a CPU in float32."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.conformance.trial import PAIRS, Trial, train_one_epoch
from benchmark.store import Store
from benchmark.training import checkpoint
from benchmark.training.lane import Lane
from benchmark.training.loop import train

ROOT = Path(__file__).parents[2]
MAY_DIFFER = ("clock", "provenance")  # fields of the record that depend on time and machine


@pytest.fixture
def trial(tmp_path):
    return Trial("kd", *PAIRS[0], tmp_path)


def trained_lane(trial, epochs, context):
    """A lane of the trial's run after some epochs."""
    lane = Lane(trial.run, context)
    lane.setup()
    for _ in range(epochs):
        train_one_epoch(lane)
    return lane


def test_a_run_resumed_after_two_epochs_ends_with_the_weights_of_an_uninterrupted_run(trial):
    uninterrupted, interrupted = trial.context(), replace(trial.context(), checkpoint_interval=0.0)
    train([trial.run], uninterrupted)
    trained_lane(trial, 2, interrupted)
    record = train([trial.run], interrupted)[0]
    assert record.clock["resumed"] == 1
    left, right = (each.store.weights(trial.run.id).read_bytes() for each in (uninterrupted, interrupted))
    assert left == right


def test_lanes_resumed_from_different_epochs_end_as_if_uninterrupted(trial):
    context = replace(trial.context(), checkpoint_interval=0.0)
    cohort = [trial.plain, trial.run]
    trained_lane(trial, 2, context)
    lane = Lane(trial.plain, context)
    lane.setup()
    train_one_epoch(lane)
    resumed = train(cohort, context)
    uninterrupted = train(cohort, trial.context())
    assert [r.curve for r in resumed] == [r.curve for r in uninterrupted]


def test_a_resumed_lane_has_the_momentum_of_the_interrupted_one(trial):
    context = replace(trial.context(), checkpoint_interval=0.0)
    before = trained_lane(trial, 1, context)
    after = Lane(trial.run, context)
    after.setup()
    for p, q in zip(before.optimiser.state.values(), after.optimiser.state.values(), strict=True):
        assert p["momentum_buffer"].equal(q["momentum_buffer"])


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint"], ids=["empty", "garbage"])
def test_a_run_with_a_damaged_checkpoint_starts_from_the_beginning(trial, damage):
    context = trial.context()
    context.store.checkpoint(trial.run.id).write_bytes(damage)
    assert train([trial.run], context)[0].status == "done"


def test_a_checkpoint_written_by_other_code_of_the_method_is_not_resumed(trial, monkeypatch):
    context = replace(trial.context(), checkpoint_interval=0.0)
    trained_lane(trial, 1, context)
    monkeypatch.setattr(checkpoint.registry, "digest", lambda name: "another")
    lane = Lane(trial.run, context)
    lane.setup()
    assert lane.epoch == 0


def test_no_checkpoint_is_written_before_the_interval_has_passed(trial):
    context = replace(trial.context(), checkpoint_interval=1e6)
    trained_lane(trial, 2, context)
    assert not context.store.checkpoint(trial.run.id).exists()


def test_the_checkpoint_of_a_finished_run_is_deleted(trial):
    context = replace(trial.context(), checkpoint_interval=0.0)
    train([trial.run], context)
    assert not context.store.checkpoint(trial.run.id).exists()


TRAINING = """
import sys
from dataclasses import replace
from pathlib import Path
import benchmark.training.loop as loop
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.store import Store
run = load_suite("digits", Choices(methods=("kd",), seeds="0", epochs=4, precision="fp32"))[0]
store = Store(sys.argv[1])
for cohort in ([run.teacher], [run]):
    if store.latest().get(cohort[0].id) is None:
        loop.train(cohort, replace(loop.make_context(cohort, store, Path("data"), "cpu"), checkpoint_interval=0.0))
"""


def start_training(results):
    """A process that trains a teacher and a student, each unless it has a record."""
    return subprocess.Popen([sys.executable, "-c", TRAINING, str(results)], cwd=ROOT, stdout=subprocess.DEVNULL)


def test_runs_killed_several_times_end_with_the_same_records_as_uninterrupted_ones(tmp_path):
    assert start_training(tmp_path / "uninterrupted").wait() == 0
    kills = 0
    for delay in (0.3, 0.0, 0.7, 0.1):
        process = start_training(tmp_path / "killed")
        before, deadline = len(written_files(tmp_path / "killed")), time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if len(written_files(tmp_path / "killed")) > before:
                break
            time.sleep(0.02)
        time.sleep(delay)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert start_training(tmp_path / "killed").wait() == 0
    assert kills >= 2
    uninterrupted, killed = (Store(tmp_path / name).latest() for name in ("uninterrupted", "killed"))
    assert uninterrupted.keys() == killed.keys()
    for id, record in uninterrupted.items():
        other = killed[id].model_dump(exclude={*MAY_DIFFER, "attempt"})
        assert other == record.model_dump(exclude={*MAY_DIFFER, "attempt"})
        predictions = (Store(tmp_path / name).predictions(id).read_bytes() for name in ("uninterrupted", "killed"))
        assert len(set(predictions)) == 1


def written_files(results):
    """The checkpoints and records in a folder, with the times at which they were written."""
    return {(p, p.stat().st_mtime_ns) for p in results.rglob("*") if p.suffix in (".pt", ".json") and p.exists()}
