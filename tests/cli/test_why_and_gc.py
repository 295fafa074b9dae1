"""The commands `why`, `gc` and `status` from the command line."""

import json
import os
import time

from benchmark.experiment.resolve import Choices, load_suite
from benchmark.store import Record, Store


def test_why_names_the_value_in_which_a_record_differs_from_what_is_wanted(call, tmp_path):
    (run,) = load_suite("digits", Choices(methods=("ce",), seeds="0", epochs=3))
    record = Record(id=run.id, status="done", run=run.model_dump(mode="json"), score={"top1": 0.5})
    Store(tmp_path).add(record)
    options = ["-m", "ce", "--seeds", "0", "--device", "cpu", "--results", tmp_path]
    done = call("why", "digits", *options, "--epochs", 3)
    assert (done.code, done.out) == (0, "1 run: 1 with a record that answers, 0 to train\n")
    done = call("why", "digits", *options, "--epochs", 4)
    assert done.out.splitlines()[0] == "1 run: 0 with a record that answers, 1 to train"
    assert f"  nearest is record {run.id}-1 (done)\n  recipe.epochs: 4 here, 3 there\n" in done.out


def test_why_takes_the_id_of_a_run_in_place_of_a_suite(call, tmp_path):
    runs = load_suite("digits", Choices(methods=("ce",), seeds="0-1", epochs=3))
    for run in runs:
        Store(tmp_path).add(Record(id=run.id, status="done", run=run.model_dump(mode="json"), score={"top1": 0.5}))
    done = call("why", runs[1].id[:9], "--results", tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-2:] == [f"  nearest is record {runs[0].id}-1 (done)", "  seed: 1 here, 0 there"]
    wrong = call("why", "d5335", "--results", tmp_path)
    assert wrong.code == 2 and "begins with 'd5335'" in wrong.err
    assert "unknown suite 'nosuch'" in call("why", "nosuch", "--results", tmp_path).err
    assert "SUITE|RUN" in call("why", "--help").out


def test_status_shows_what_is_being_trained_and_refuses_a_folder_that_is_not_there(call, tmp_path):
    assert call("status", "--results", tmp_path).out == "nothing is being trained\n"
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / f"{'1' * 12}.lock").touch()
    claim = {"id": "1" * 12, "label": "resnet8 ce seed 0", "pid": os.getpid(), "host": "elsewhere"}
    claim |= {"epoch": 2, "epochs": 9}
    (tmp_path / "claims" / f"{'1' * 12}.json").write_text(json.dumps(claim))
    done = call("status", "--results", tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{'1' * 12}  resnet8 ce seed 0  epoch 2/9  since ")
    wrong = call("status", "--results", tmp_path / "absent")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == f"error: {tmp_path / 'absent'} is not there; name a folder of results with --results\n"


def test_gc_lists_and_removes_files_except_those_of_a_run_that_is_being_trained(call, tmp_path):
    trained, lost = "1" * 12, "2" * 12
    for id in (trained, lost):
        path = Store(tmp_path).keep_weights(id, b"x")
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / f"{trained}.lock").touch()
    claim = {"id": trained, "pid": os.getpid(), "host": "elsewhere"}
    (tmp_path / "claims" / f"{trained}.json").write_text(json.dumps(claim))
    listed = call("gc", "--results", tmp_path)
    assert listed.code == 0 and lost in listed.out and trained not in listed.out
    assert (tmp_path / "weights" / f"{lost}.safetensors").exists()
    removed = call("gc", "--delete", "--results", tmp_path)
    assert removed.out.splitlines()[-1] == "removed 1 file, 0.0 MB"
    assert [path.stem for path in (tmp_path / "weights").iterdir()] == [trained]
