"""A run's network as one file: the same logits for any batch size, without this suite's code."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark import files, models
from benchmark.data import datasets
from benchmark.errors import BadInput
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.files import WriteError
from benchmark.store import Record, Store
from benchmark.training import export_model, weights

SIZE = (datasets.info("digits", Path()).height, datasets.info("digits", Path()).width)


@pytest.fixture
def finished(tmp_path):
    """A function: network, status -> a store with a run of it on digits, whose weights are random."""

    def make(status="done", with_weights=True):
        (run,) = load_suite("digits", Choices(methods=("ce",), seeds="0", epochs=1))
        store = Store(tmp_path / "results")
        store.add(Record(id=run.id, status=status, run=run.model_dump(mode="json"), error={"message": "-"}))
        torch.manual_seed(0)
        net = models.build(run.student, 10)
        net(torch.randn(64, 3, *SIZE))  # statistics of batch norm that are not those at the start
        if with_weights:
            store.keep_weights(run.id, weights.to_bytes(net))
        return run, store

    return make


def test_the_file_gives_the_stored_networks_logits_where_this_suite_is_not_installed(finished, tmp_path):
    run, store = finished()
    target = tmp_path / "model.pt2"
    text = export_model.export_model(run.id[:6], store.root, tmp_path, target)
    assert str(target) in text and "differ from the network's by at most" in text
    x = torch.randn(7, 3, *SIZE)
    torch.save(x, tmp_path / "x.pt")
    code = (
        "import torch, sys\n"
        "extra = {'model.json': ''}\n"
        "program = torch.export.load('model.pt2', extra_files=extra)\n"
        "torch.save(program.module()(torch.load('x.pt')), 'z.pt')\n"
        "print(extra['model.json'])\n"
        "assert 'benchmark' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["image"] == [3, *SIZE] and facts["run"]["student"] == run.student and len(facts["classes"]) == 10
    assert len(facts["mean"]) == len(facts["sd"]) == 3
    expected = weights.load_network(store.weights(run.id), run.student, 10)(x).logits
    torch.testing.assert_close(torch.load(tmp_path / "z.pt"), expected, rtol=1e-3, atol=1e-3)


def test_a_file_whose_logits_differ_is_not_kept(finished, tmp_path, monkeypatch):
    run, store = finished()
    monkeypatch.setattr(export_model, "fold", lambda net: models.build(run.student, 10))
    with pytest.raises(BadInput, match="gives other logits"):
        export_model.export_model(run.id, store.root, tmp_path, tmp_path / "model.pt2")
    assert not (tmp_path / "model.pt2").exists()


@pytest.mark.parametrize(
    ("status", "with_weights", "id", "message"),
    [
        ("done", True, "zzz", "no run begins with 'zzz'"),
        ("done", True, "", "runs begin with ''"),
        ("done", False, None, "the weights of run .* are not in"),
        ("diverged", True, None, "is diverged, so there is no network"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(finished, tmp_path, status, with_weights, id, message):
    run, store = finished(status, with_weights)
    with pytest.raises(BadInput, match=message):
        export_model.export_model(run.id if id is None else id, store.root, tmp_path, tmp_path / "m.pt2")


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_exported(finished, tmp_path, monkeypatch):
    run, store = finished()
    monkeypatch.setattr(export_model, "to_bytes", None)
    (tmp_path / "file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (
        (".", "it is a folder, not a file"),
        ("pipe", "it is a pipe or a device, not a file"),
        ("file/m.pt2", "file is not a folder"),
    ):
        with pytest.raises(BadInput, match=rf"--out .*: .*{reason}; name another file"):
            export_model.export_model(run.id, store.root, tmp_path, tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_earlier_file_stays_whole_on_a_full_disk_and_is_replaced_later(finished, tmp_path, monkeypatch):
    run, store = finished()
    target = tmp_path / "new folder" / "model.pt2"
    target.parent.mkdir()
    target.write_text("earlier")

    def fail(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", fail)
        with pytest.raises(WriteError, match=r"model.pt2 could not be written"):
            export_model.export_model(run.id, store.root, tmp_path, target)
    assert target.read_text() == "earlier" and list(target.parent.iterdir()) == [target]
    export_model.export_model(run.id, store.root, tmp_path, target)
    assert torch.export.load(str(target)).module()(torch.zeros(1, 3, *SIZE)).shape == (1, 10)
