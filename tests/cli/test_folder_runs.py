"""Runs on image folders: other images are other runs, in every command."""

import json
import os

import pytest
import torch
from small_sweeps import draw

from benchmark.models import build
from benchmark.store import Store

NAME = "folder:pets"
SHORT = ["digits", "--epochs", "1", "--seeds", "0", "--dataset", NAME]


@pytest.fixture
def run(call, tmp_path):
    """A function: command, arguments -> what it does with the folders of this test."""
    options = ["--data", tmp_path / "data", "--results", tmp_path / "results"]

    def with_options(command, *arguments):
        done = call(command, *SHORT, *arguments, *options, "--reports", tmp_path / "reports")
        assert done.code == 0, done.err
        return done.out

    return with_options


def students(root):
    """Content -> id of the records of the method kd."""
    latest = Store(root / "results").latest().values()
    return {record.run["content"]: record.id for record in latest if record.run["method"] == "kd"}


def test_other_images_under_the_same_name_are_trained_anew_and_stand_in_a_table_of_their_own(
    run, call, tmp_path, no_costs, forked
):
    draw(tmp_path / "data", seed=0)
    run("run", "-m", "kd", "--quiet")
    (first,) = students(tmp_path).items()
    os.utime(tmp_path / "data/pets/train/cat/0.png")
    assert "0 to do" in run("plan", "-m", "kd")

    draw(tmp_path / "data", seed=1)
    assert "2 to do" in run("plan", "-m", "kd"), "the teacher too"
    run("run", "-m", "kd", "--quiet", "--executor", "spawn")
    found = students(tmp_path)
    assert len(found) == 2 and found[first[0]] == first[1]
    records = Store(tmp_path / "results").latest().values()
    assert len(records) == 4
    for record in records:
        assert record.provenance["origin"]["content"] == "the folder's files"
        teacher = record.run["teacher"]
        assert teacher is None or teacher["content"] == record.run["content"]

    labels = {f"{NAME}@{content[:8]} · 1 epoch · batch 64 · judged on test" for content in found}
    page = (tmp_path / "reports" / "index.html").read_text()
    assert all(label in page for label in labels)
    for content, id in found.items():
        explained = call("explain", id, "--results", tmp_path / "results").out
        assert f"{NAME}@{content[:8]} · 1 epoch" in explained
        assert content in explained and "the folder's files" in explained
    tables = sorted((tmp_path / "reports" / "tables").glob("*-accuracy.csv"))
    assert len(tables) == 2, "no cell has runs on both"

    assert "1 of 1 students have weights" in run("theory", "-m", "kd")
    (path,) = (tmp_path / "results" / "features").glob("*.json")
    (second,) = set(found) - {first[0]}
    assert json.loads(path.read_text())["dataset"] == f"{NAME}@{second[:8]}", "the trained networks of these images"


def test_imported_weights_belong_to_the_images_that_they_were_measured_on(call, tmp_path):
    draw(tmp_path / "data", seed=0)
    torch.save(build("resnet20", 2).state_dict(), tmp_path / "net.pth")
    options = ["--data", tmp_path / "data", "--results", tmp_path / "results"]
    ids = []
    for seed in (0, 1):
        draw(tmp_path / "data", seed)
        done = call("import-weights", tmp_path / "net.pth", "--model", "resnet20", "--dataset", NAME, *options)
        assert done.code == 0, done.err
        ids.append(done.out.split("resnet20=")[1].strip())
    assert ids[0] != ids[1]
    done = call("plan", *SHORT, "-m", "kd", "--teacher", f"resnet20={ids[1]}", *options)
    assert done.code == 0 and "2 runs: 1 finished, 1 to do" in done.out
    done = call("plan", *SHORT, "-m", "kd", "--teacher", f"resnet20={ids[0]}", *options)
    assert done.code == 2 and "images have changed since" in done.err.splitlines()[-1]


def test_a_missing_folder_is_refused_in_one_sentence_by_every_command(call, tmp_path):
    for command in ("plan", "run", "cost", "theory"):
        done = call(command, *SHORT, "--data", tmp_path, "--results", tmp_path / "results")
        assert (done.code, done.out) == (2, "")
        line = done.err.splitlines()[-1]
        assert line.startswith("error: ") and str(tmp_path / "pets" / "train") in line and "Traceback" not in done.err
