"""The command `gc`: files that nothing needs are listed, and removed only if that is asked for.  A made-up folder."""

import os
import subprocess
import time

import pytest

from benchmark.errors import BadInput
from benchmark.report.commands import gc
from benchmark.report.commands.gc import collect
from benchmark.store import Record, Store

DONE, FAILED, UNKNOWN, DAMAGED = "d" * 12, "f" * 12, "0" * 12, "b" * 12
HOUR = 3600
ENDED = "2026-01-02T03:04:05+00:00"


def put(root, name, age=2 * HOUR, data=b"x" * 1000):
    """A file that was changed `age` seconds ago."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


@pytest.fixture
def folder(tmp_path):
    """A folder of results with a run that is done and one that has failed."""
    store = Store(tmp_path / "results")
    for id, status in ((DONE, "done"), (FAILED, "failed")):
        error = None if status == "done" else {"type": "E", "message": "m"}
        store.add(Record(id=id, status=status, run={"student": "resnet8"}, error=error, made={"ended": ENDED}))
    put(store.root, f"records/{DAMAGED}-1.json", data=b"{")
    for id in (DONE, FAILED, UNKNOWN, DAMAGED):
        put(store.root, f"weights/{id}.safetensors")
        put(store.root, f"logits/{id}.npz")
        put(store.root, f"predictions/{id}.npz")
    return store.root


def found(root, *rest):
    """The names, below the folder, of what `find_unneeded` finds."""
    return {str(each.path.relative_to(root)) for each in gc.find_unneeded(Store(root), *rest)}


def old(path, ended=True):
    """Give a file a time before, or after, the end of the runs."""
    moment = 1_000_000_000 if ended else time.time() - 2 * HOUR
    os.utime(path, (moment, moment))


def test_weights_logits_and_predictions_of_runs_without_a_done_record_are_found(folder):
    expected = {
        f"{kind}/{id}.{suffix}"
        for kind, suffix in (("weights", "safetensors"), ("logits", "npz"), ("predictions", "npz"))
        for id in (FAILED, UNKNOWN)
    }
    assert found(folder) == expected


def test_files_of_a_record_that_cannot_be_read_are_left_alone(folder):
    assert not [name for name in found(folder) if DAMAGED in name]
    (folder / f"records/{DAMAGED}-1.json").unlink()
    assert f"weights/{DAMAGED}.safetensors" in found(folder)


def test_checkpoints_of_runs_with_a_final_record_are_found_with_earlier_and_damaged_ones(folder):
    names = [f"{DONE}.pt", f"{DONE}.previous.pt", f"{DONE}.pt.damaged", f"{FAILED}.pt"]
    for name in names:
        old(put(folder, f"checkpoints/{name}"))
    assert {name for name in found(folder) if name.startswith("checkpoints")} == {
        f"checkpoints/{name}" for name in names[:3]
    }


def test_a_checkpoint_without_a_record_is_found_once_it_is_a_month_old(folder):
    put(folder, f"checkpoints/{UNKNOWN}.pt", age=29 * 24 * HOUR)
    assert not [name for name in found(folder) if name.startswith("checkpoints")]
    put(folder, f"checkpoints/{UNKNOWN}.pt", age=31 * 24 * HOUR)
    put(folder, f"checkpoints/{DAMAGED}.pt", age=31 * 24 * HOUR)
    assert [name for name in found(folder) if name.startswith("checkpoints")] == [f"checkpoints/{UNKNOWN}.pt"]
    assert not [name for name in found(folder, [UNKNOWN]) if name.startswith("checkpoints")]


def test_tokens_of_clusters_are_found_unless_something_is_being_trained(folder):
    token = f"checkpoints/.shared-{'0' * 32}.pt"
    put(folder, token)
    assert token in found(folder)
    assert token not in found(folder, [DONE])
    put(folder, token, age=60)
    assert token not in found(folder)


def test_a_checkpoint_newer_than_the_record_belongs_to_a_repetition_and_stays(folder):
    put(folder, f"checkpoints/{DONE}.pt")
    assert not [name for name in found(folder) if name.startswith("checkpoints")]


def test_files_that_are_young_or_belong_to_a_run_in_training_are_left_alone(folder):
    before = found(folder)
    put(folder, f"weights/{'1' * 12}.safetensors", age=60)
    put(folder, "records/.torn.json." + "0" * 32, age=60)
    assert found(folder) == before
    assert found(folder, [UNKNOWN]) == {name for name in before if UNKNOWN not in name}


def test_unfinished_files_lone_features_and_claims_of_the_dead_are_found(folder):
    put(folder, "records/.torn.json." + "0" * 32)
    put(folder, "features/lone.npz")
    put(folder, "features/other.json")
    put(folder, "features/pair.npz"), put(folder, "features/pair.json")
    claim = put(folder, f"claims/{UNKNOWN}.lock")
    new = {"records/.torn.json." + "0" * 32, "features/lone.npz", "features/other.json", f"claims/{UNKNOWN}.lock"}
    assert found(folder, (), [claim]) - found(folder, ()) == {f"claims/{UNKNOWN}.lock"}
    assert new <= found(folder, (), [claim])
    assert not {"features/pair.npz", "features/pair.json"} & found(folder)


def test_records_teachers_plans_links_and_files_of_other_names_are_never_found(folder):
    put(folder, f"teachers/{UNKNOWN}.safetensors")
    put(folder, "checkpoints/plan.json")
    put(folder, "weights/notes.safetensors")
    before = found(folder)
    (folder / f"weights/{'2' * 12}.safetensors").symlink_to(folder / "weights/notes.safetensors")
    assert found(folder) == before
    assert not [name for name in before if name.startswith(("records/", "teachers/"))]
    assert "weights/notes.safetensors" not in before


def test_what_git_tracks_is_left_alone(folder):
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", f"predictions/{UNKNOWN}.npz"], cwd=folder, check=True)
    assert f"predictions/{UNKNOWN}.npz" not in found(folder)
    assert f"logits/{UNKNOWN}.npz" in found(folder)


def test_nothing_is_removed_without_delete_and_the_total_is_stated(folder):
    before = sorted(folder.rglob("*"))
    text, left = collect(folder)
    assert left == 0 and sorted(folder.rglob("*")) == before
    assert text.splitlines()[-1] == "6 files, 0.0 MB; nothing was removed: --delete removes them"
    assert f"weights/{UNKNOWN}.safetensors  its run has no record" in text
    assert f"weights/{FAILED}.safetensors  its run is failed" in text


def test_delete_removes_exactly_what_was_listed(folder):
    listed, before = found(folder), {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    text, left = collect(folder, delete=True)
    after = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert (left, before - after) == (0, listed)
    assert text.splitlines()[-1] == "removed 6 files, 0.0 MB"
    assert collect(folder) == (f"{folder} has no file that nothing needs", 0)


def test_a_file_that_cannot_be_removed_or_has_just_changed_is_named_and_stays(folder, monkeypatch):
    def refuse(self, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(gc.Path, "unlink", refuse)
    text, left = collect(folder, delete=True)
    assert left == 6 and text.splitlines()[-1] == "removed 0 files, 0.0 MB; 6 files could not be removed"
    assert "cannot be removed (Permission denied)" in text
    (file, *_) = gc.find_unneeded(Store(folder))
    os.utime(file.path)
    assert gc.remove(file) == "has just changed: kept"


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInput, match="nowhere is not there; name a folder of results with --results"):
        collect(tmp_path / "nowhere")
