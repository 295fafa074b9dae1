"""Checkpoints: a run that is killed and resumed equals an uninterrupted one, bit for bit on a CPU in float32."""

import hashlib
import io
from dataclasses import replace

import pytest
import torch

from benchmark.conformance.trial import PAIRS, Trial, train_one_epoch
from benchmark.training import checkpoint
from benchmark.training.lane import Lane
from benchmark.training.loop import train
from methods import registry


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


# ---- checkpoints that cannot be used
def flipped(data):
    """The bytes with one bit changed, in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def with_values(**changes):
    """A function: a checkpoint's bytes -> those of one whose values are changed, with a checksum that fits."""

    def change(data):
        values = torch.load(io.BytesIO(archive(data)), weights_only=True)
        for name, value in changes.items():
            if value is None:
                del values[name]
            else:
                values[name] = value(values[name])
        return framed(values)

    return change


def archive(data):
    """The archive in a checkpoint's bytes: all but 16 bytes of header and 32 of SHA-256."""
    return data[48:]


def framed(values):
    """A checkpoint's bytes."""
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return b"kd checkpoint 1\n" + hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def other_momentum(optimiser):
    first = optimiser["state"][0]
    return optimiser | {"state": optimiser["state"] | {0: {"momentum_buffer": first["momentum_buffer"][:1]}}}


def without_a_parameter(optimiser):
    group = optimiser["param_groups"][0]
    return optimiser | {"param_groups": [group | {"params": group["params"][1:]}]}


DAMAGE = {
    "empty": (lambda data: b"", "damaged"),
    "garbage": (lambda data: b"not a checkpoint", "damaged"),
    "truncated": (lambda data: data[: len(data) // 2], "incomplete"),
    "one bit flipped": (flipped, "bytes have changed"),
    "another version's": (lambda data: data.replace(b"checkpoint 1", b"checkpoint 2"), "another version"),
    "truncated, earlier format": (lambda data: archive(data)[:5000], "cannot read it"),
    "unreadable by this torch": (lambda data: data[:16] + hashlib.sha256(b"x").digest() + b"x", "cannot read it"),
    "not a dict": (lambda data: framed([1, 2]), "has no 'source'"),
    "without optimiser": (with_values(optimiser=None), "has no 'optimiser'"),
    "other code": (with_values(source=lambda known: "another"), "code of its method has changed"),
    "other shape": (with_values(student=lambda s: s | {"head.bias": s["head.bias"][:3]}), "student.head.bias is (3,)"),
    "a tensor missing": (with_values(student=lambda s: {k: v for k, v in s.items() if k != "head.bias"}), "absent"),
    "a tensor more": (with_values(method=lambda s: s | {"extra": torch.zeros(2)}), "method.extra is (2,)"),
    "other momentum": (with_values(optimiser=other_momentum), "progress or optimiser"),
    "fewer parameters": (with_values(optimiser=without_a_parameter), "progress or optimiser"),
    "past the end": (with_values(epoch=lambda epoch: 3), "progress or optimiser"),
    "without a curve": (with_values(curve=lambda curve: {}), "progress or optimiser"),
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The weights of the trial's run, trained without interruption."""
    trial = Trial("kd", *PAIRS[0], tmp_path_factory.mktemp("uninterrupted"))
    context = trial.context()
    train([trial.run], context)
    return context.store.weights(trial.run.id).read_bytes()


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_an_unusable_checkpoint_is_set_aside_with_one_sentence_and_the_one_before_is_used(
    trial, damage, reason, capsys
):
    context = replace(trial.context(), checkpoint_interval=0.0)
    trained_lane(trial, 2, context)
    path = context.store.checkpoint(trial.run.id)
    path.write_bytes(damage(path.read_bytes()))
    spoilt = path.read_bytes()
    lane = Lane(trial.run, context)
    lane.setup()
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line and reason in line
    assert line.endswith("goes on from epoch 1 of the one before")
    assert (lane.epoch, lane.clock["resumed"]) == (1, 1)
    assert path.with_name(f"{path.name}.damaged").read_bytes() == spoilt


@pytest.mark.parametrize("kind", ["one bit flipped", "other shape", "other momentum"])
@pytest.mark.parametrize("epochs", [1, 2], ids=["anew", "from the one before"])
def test_a_run_whose_checkpoint_was_set_aside_ends_with_the_weights_of_an_uninterrupted_run(
    trial, uninterrupted, kind, epochs, capsys
):
    context = replace(trial.context(), checkpoint_interval=0.0)
    trained_lane(trial, epochs, context)
    path = context.store.checkpoint(trial.run.id)
    path.write_bytes(DAMAGE[kind][0](path.read_bytes()))
    record = train([trial.run], context)[0]
    assert record.clock["resumed"] == epochs - 1
    assert context.store.weights(trial.run.id).read_bytes() == uninterrupted
    assert capsys.readouterr().err.rstrip().endswith("starts anew") == (epochs == 1)


def test_if_both_checkpoints_are_damaged_one_sentence_names_both_and_the_run_starts_anew(trial, uninterrupted, capsys):
    context = replace(trial.context(), checkpoint_interval=0.0)
    trained_lane(trial, 2, context)
    for path in checkpoint.files(Lane(trial.run, context)):
        path.write_bytes(flipped(path.read_bytes()))
    train([trial.run], context)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{trial.run.id}.pt cannot" in line and f"{trial.run.id}.previous.pt cannot" in line
    assert line.endswith("starts anew")
    assert context.store.weights(trial.run.id).read_bytes() == uninterrupted


def test_a_checkpoint_of_the_earlier_format_without_a_checksum_is_resumed(trial, uninterrupted, capsys):
    context = replace(trial.context(), checkpoint_interval=0.0)
    trained_lane(trial, 2, context)
    last, previous = checkpoint.files(Lane(trial.run, context))
    last.write_bytes(archive(last.read_bytes()))
    previous.unlink()
    record = train([trial.run], context)[0]
    assert record.clock["resumed"] == 1
    assert not capsys.readouterr().err
    assert context.store.weights(trial.run.id).read_bytes() == uninterrupted


def test_a_checkpoint_runs_no_code(trial, tmp_path, capsys):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "trap"), "w"))

    context = trial.context()
    context.store.checkpoint(trial.run.id).write_bytes(framed({"source": Trap()}))
    assert train([trial.run], context)[0].status == "done"
    assert not (tmp_path / "trap").exists()
    assert "cannot read it" in capsys.readouterr().err


def test_a_checkpoint_written_by_other_code_of_the_method_is_not_resumed(trial, monkeypatch):
    context = replace(trial.context(), checkpoint_interval=0.0)
    trained_lane(trial, 1, context)
    monkeypatch.setattr(registry, "digest", lambda name: "another")
    lane = Lane(trial.run, context)
    lane.setup()
    assert lane.epoch == 0


def test_incomplete_files_that_a_killed_process_left_are_deleted_when_its_run_goes_on(trial):
    context = trial.context()
    id = trial.run.id
    left = [context.store.checkpoint(id).with_name(f".{id}.pt.{'0' * 32}"), context.store.predictions(id)]
    left[1] = left[1].with_name(f".{id}.npz.{'0' * 32}")
    other = left[0].with_name(f".{'f' * 12}.pt.{'0' * 32}")
    for path in (*left, other):
        path.write_bytes(b"a part")
    train([trial.run], context)
    assert not any(path.exists() for path in left)
    assert other.exists(), "a file of another run, which another process may be writing"


# ---- when they are written and removed
def test_no_checkpoint_is_written_before_the_interval_has_passed(trial):
    context = replace(trial.context(), checkpoint_interval=1e6)
    trained_lane(trial, 2, context)
    assert not context.store.checkpoint(trial.run.id).exists()


def test_the_checkpoints_of_a_finished_run_are_deleted(trial):
    context = replace(trial.context(), checkpoint_interval=0.0)
    trained_lane(trial, 2, context)
    assert all(path.exists() for path in checkpoint.files(Lane(trial.run, context)))
    train([trial.run], context)
    assert not list((context.store.root / "checkpoints").iterdir())
