"""Folders that cannot be written to, files that are damaged, and a clock that goes backwards."""

import ctypes
import errno
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from company import files_of
from safetensors.torch import load_file, save_file
from sweeps import OPTIONS, command

from benchmark.conformance.trial import PAIRS, Trial, train_one_epoch
from benchmark.errors import BadInput
from benchmark.files import ReadError, write_atomic
from benchmark.models import build
from benchmark.models.imports import load
from benchmark.store import Record, Store
from benchmark.training import checkpoint, provenance, weights
from benchmark.training.lane import Lane
from benchmark.training.loop import train

ROOT = Path(__file__).parents[2]


# ---- a checkpoint that may not be read
@pytest.mark.parametrize("which", [0, 1], ids=["the last", "the one before"])
def test_a_checkpoint_that_may_not_be_read_stops_the_sweep_and_nothing_is_lost(tmp_path, monkeypatch, which):
    trial = Trial("kd", *PAIRS[0], tmp_path)
    context = replace(trial.context(), checkpoint_interval=0.0)
    lane = Lane(trial.run, context)
    lane.setup()
    for _ in range(2):
        train_one_epoch(lane)
    paths = checkpoint.files(lane)
    if which:
        paths[0].write_bytes(b"damaged")
    before, read = {path: path.read_bytes() for path in paths}, Path.read_bytes

    def refuse(path):
        if path == paths[which]:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(ReadError, match=rf"{paths[which].name} could not be read \(Permission denied\)"):
            train([trial.run], context)
    assert {path: path.read_bytes() for path in paths} == before
    assert list(context.store.records()) == []
    (record,) = train([trial.run], context)
    assert record.status == "done" and record.clock["resumed"] >= 1


# ---- a folder that cannot be written to
DROP_FROM_BOUNDS, OVERRIDE = 24, 1  # PR_CAPBSET_DROP and CAP_DAC_OVERRIDE of Linux


def obey_permissions():
    """For the program that is started: permissions hold for root as well."""
    if os.getuid() == 0 and ctypes.CDLL(None).prctl(DROP_FROM_BOUNDS, OVERRIDE, 0, 0, 0):
        raise OSError("root keeps its rights")


@pytest.fixture(params=["permissions", "read-only file system"])
def read_only(request, tmp_path):
    """A folder that nobody may write to, not even root."""
    place = tmp_path / "results"
    place.mkdir(mode=0o555)
    if request.param == "permissions":
        yield place
        return
    words = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(place)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_results_folder_that_cannot_be_written_to_is_refused_in_one_sentence_before_training(read_only, tmp_path):
    words = ["run", "digits", "-m", "ce", *OPTIONS, "--results", read_only, "--reports", tmp_path / "reports"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmark", *map(str, words)], cwd=ROOT, preexec_fn=obey_permissions,
            env=os.environ | {"COLUMNS": "200"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except subprocess.SubprocessError:
        pytest.skip("root cannot give up its rights here")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert str(read_only) in line and "name another path" in line
    assert "epoch" not in done.stdout
    assert list(read_only.iterdir()) == []


# ---- damaged files
@pytest.fixture
def kept(tmp_path):
    """The file of a stored network."""
    return Store(tmp_path).keep_weights("0" * 12, weights.to_bytes(build("resnet8", 10)))


def flip_header(path):
    path.write_bytes(path.read_bytes()[:8] + b"!" + path.read_bytes()[9:])


def poison(path):
    tensors = load_file(path)
    tensors["head.weight"][0, 0] = float("nan")
    save_file(tensors, path)


def drop(path):
    tensors = load_file(path)
    del tensors["head.bias"]
    save_file(tensors, path)


DAMAGE = {
    "empty": (lambda path: path.write_bytes(b""), ""),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-10]), ""),
    "header changed": (flip_header, ""),
    "a tensor missing": (drop, "Missing key"),
    "not finite": (poison, "head.weight has values that are not finite"),
    "odd layer": (lambda path: save_file({"embed.weight": torch.zeros(3)}, path), ""),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_weights_are_one_sentence_with_what_to_do(kept, damage, reason):
    damage(kept)
    with pytest.raises(BadInput) as caught:
        weights.load_network(kept, "resnet8", 10)
    text = str(caught.value)
    assert str(kept) in text and reason in text and "delete the file" in text and "\n" not in text


def test_a_sweep_with_a_damaged_teacher_says_what_to_do_and_completes_once_that_is_done(
    call, few_digits, quick_costs, tmp_path
):
    assert call(*command(tmp_path, "kd", 1)).code == 0
    for path in (tmp_path / "results" / "records").glob("*.json"):
        if '"kind": "run"' not in path.read_text():
            path.unlink()  # so that everything is measured again
    (teacher,) = (tmp_path / "results" / "teachers").glob("*.safetensors")
    flip_header(teacher)
    done = call(*command(tmp_path, "kd,sp", 1))
    assert done.code == 1
    assert "Traceback" not in done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("failed: ")]
    assert teacher.name in line and "delete the file" in line
    assert "resnet20 is timed with initial weights" in done.err
    assert (tmp_path / "reports" / "index.html").exists()
    teacher.unlink()
    done = call(*command(tmp_path, "kd,sp", 1))
    assert done.code == 0, done.err


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e300])
def test_published_weights_that_are_not_finite_numbers_are_refused(tmp_path, number):
    state = {
        name: value.double() if value.is_floating_point() else value
        for name, value in build("resnet8", 10).state_dict().items()
    }
    state["head.weight"][0, 0] = number
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(BadInput, match=r"head\.weight that are not finite"):
        load(tmp_path / "file.pth", "resnet8", 10)


# ---- a clock that goes backwards
class Backwards(datetime):
    """A clock that is set back by an hour whenever it is read."""

    hours = 0

    @classmethod
    def now(cls, zone=None):
        Backwards.hours += 1
        return datetime(2030, 1, 1, tzinfo=zone) - timedelta(hours=Backwards.hours)


@pytest.mark.parametrize("interval", [0.0, 1e6], ids=["a checkpoint after every epoch", "none in time"])
def test_a_clock_that_is_set_back_changes_no_result_no_duration_and_no_checkpoint(trial, alone, monkeypatch, interval):
    began = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    monkeypatch.setattr(provenance, "datetime", Backwards)
    monkeypatch.setattr(time, "time", lambda: began - 3600 * (Backwards.hours + 1))
    written = []
    monkeypatch.setattr(
        "benchmark.training.checkpoint.write_atomic", lambda *words: written.append(1) or write_atomic(*words)
    )
    context = replace(trial.context(), checkpoint_interval=interval)
    record = train([trial.run], context)[0]
    assert record.provenance["ended"] < record.provenance["started"], "the clock was set back"
    assert Record.model_validate_json((context.store.root / "records" / f"{record.name}.json").read_text()) == record
    assert all(record.clock[name] >= 0 for name in ("setup_s", "train_s", "evaluate_s", "images_per_s"))
    assert files_of(context.store, record.id) == alone
    assert len(written) == (2 if interval == 0 else 0)
