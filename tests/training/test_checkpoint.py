"""A run that was killed ends as one that was not: bit for bit on a CPU in float32."""

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
TIMES = ("clock", "made")  # what may differ between two runs of the same


@pytest.fixture
def trial(tmp_path):
    return Trial("kd", *PAIRS[0], tmp_path)


def flown(trial, epochs, context):
    lane = Lane(trial.run, context)
    lane.setup()
    for _ in range(epochs):
        train_one_epoch(lane)
    return lane


def test_two_epochs_then_the_rest_equal_all_epochs_at_once(trial):
    straight, broken = trial.context(), replace(trial.context(), checkpoint_interval=0.0)
    train([trial.run], straight)
    flown(trial, 2, broken)
    record = train([trial.run], broken)[0]
    assert record.clock["resumed"] == 1
    left, right = (store.store.weights(trial.run.id).read_bytes() for store in (straight, broken))
    assert left == right


def test_lanes_killed_between_two_checkpoints_catch_up_with_each_other(trial):
    context = replace(trial.context(), checkpoint_interval=0.0)
    cohort = [trial.plain, trial.run]
    flown(trial, 2, context)
    lane = Lane(trial.plain, context)
    lane.setup()
    train_one_epoch(lane)
    late = train(cohort, context)
    undisturbed = train(cohort, trial.context())
    assert [r.curve for r in late] == [r.curve for r in undisturbed]


def test_momentum_survives(trial):
    context = replace(trial.context(), checkpoint_interval=0.0)
    before = flown(trial, 1, context)
    after = Lane(trial.run, context)
    after.board()
    for p, q in zip(before.optimiser.state.values(), after.optimiser.state.values(), strict=True):
        assert p["momentum_buffer"].equal(q["momentum_buffer"])


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint"], ids=["empty", "garbage"])
def test_a_damaged_flight_starts_the_run_anew(trial, damage):
    context = trial.context()
    context.store.checkpoint(trial.run.id).write_bytes(damage)
    assert train([trial.run], context)[0].status == "done"


def test_a_flight_of_other_source_is_not_resumed(trial, monkeypatch):
    context = replace(trial.context(), checkpoint_interval=0.0)
    flown(trial, 1, context)
    monkeypatch.setattr(checkpoint.registry, "digest", lambda name: "another")
    lane = Lane(trial.run, context)
    lane.setup()
    assert lane.epoch == 0


def test_checkpoints_are_written_no_oftener_than_the_pause(trial):
    context = replace(trial.context(), checkpoint_interval=1e6)
    flown(trial, 2, context)
    assert not context.store.checkpoint(trial.run.id).exists()


def test_a_landed_run_leaves_no_flight(trial):
    context = replace(trial.context(), checkpoint_interval=0.0)
    train([trial.run], context)
    assert not context.store.checkpoint(trial.run.id).exists()


CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
import benchmark.training.loop as t
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.store import Store
run = load_suite("digits", Choices(methods=("kd",), seeds="0", epochs=4, precision="fp32"))[0]
store = Store(sys.argv[1])
for cohort in ([run.teacher], [run]):
    if store.latest().get(cohort[0].id) is None:
        t.train(cohort, replace(t.make_context(cohort, store, Path("data"), "cpu"), checkpoint_interval=0.0))
"""


def child(results):
    return subprocess.Popen([sys.executable, "-c", CHILD, str(results)], cwd=ROOT, stdout=subprocess.DEVNULL)


def test_killed_with_signal_9_again_and_again_a_run_ends_with_the_same_record(tmp_path):
    assert child(tmp_path / "calm").wait() == 0
    kills = 0
    for delay in (0.3, 0.0, 0.7, 0.1):
        process = child(tmp_path / "rough")
        seen, deadline = len(landmarks(tmp_path / "rough")), time.monotonic() + 60
        while len(landmarks(tmp_path / "rough")) <= seen and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(delay)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert child(tmp_path / "rough").wait() == 0
    assert kills >= 2
    calm, rough = (Store(tmp_path / name).latest() for name in ("calm", "rough"))
    assert calm.keys() == rough.keys()
    for id, record in calm.items():
        other = rough[id].model_dump(exclude=set(TIMES) | {"attempt"})
        assert other == record.model_dump(exclude=set(TIMES) | {"attempt"})
        pair = (Store(tmp_path / name).predictions(id).read_bytes() for name in ("calm", "rough"))
        assert len(set(pair)) == 1


def landmarks(results):
    """Every checkpoint and record there is, with its time."""
    return {(p, p.stat().st_mtime_ns) for p in results.rglob("*") if p.suffix in (".pt", ".json") and p.exists()}
