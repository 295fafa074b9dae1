"""A full disk ends a command with a sentence: no part of a file stays, earlier results do, the same command goes on."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from full_disk import FullDisk
from safetensors.torch import load_file
from sweeps import OPTIONS, finish, outcome

from benchmark.cli import app
from benchmark.conformance.trial import PAIRS, RECIPE, Trial, images
from benchmark.data import datasets
from benchmark.files import WriteError, write_atomic
from benchmark.profiling import cost, timing
from benchmark.report.output_folder import publish
from benchmark.store import Record, Store
from benchmark.sweep.options import Options
from benchmark.theory import examine
from benchmark.training import checkpoint
from benchmark.training.lane import Lane
from benchmark.training.loop import make_context, train


def writes_until_none_fails(action, once=False):
    """Call action(attempt) on a disk that is full at the first write, the second, and so on: the errors it raises."""
    sentences = []
    while True:
        with pytest.MonkeyPatch.context() as patch:
            disk = FullDisk(len(sentences) + 1, once).install(patch)
            try:
                action(len(sentences))
            except WriteError as fault:
                sentences.append(str(fault))
            else:
                assert not disk.was_full, "a write failed, and nobody said so"
                return sentences


def assert_whole(root):
    """Every file below `root` can be read, and none is incomplete."""
    for path in filter(lambda path: path.is_file(), root.rglob("*")):
        assert not path.name.startswith("."), path
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".npz":
            with np.load(path) as file:
                assert [file[name].size for name in file.files]
        elif path.suffix == ".safetensors":
            assert load_file(path)
        elif path.suffix == ".pt":
            assert checkpoint.read(path, "cpu")["epoch"]


# ---- training: checkpoints, weights, predictions, logits, records
@pytest.mark.parametrize(("once", "lanes"), [(False, 2), (True, 1)], ids=["it stays full", "for one write"])
def test_training_on_a_full_disk_ends_at_each_write_and_goes_on_later_bit_for_bit(tmp_path, once, lanes):
    trial = Trial("kd", *PAIRS[0], tmp_path)
    cohort = [run.model_copy(update={"recipe": RECIPE.with_epochs(2)}) for run in (trial.run, trial.plain)][:lanes]
    contexts = []

    def training(_):
        contexts.append(replace(trial.context(), checkpoint_interval=0.0))
        train(cohort, contexts[-1])

    sentences = writes_until_none_fails(training, once)
    folders = ["checkpoints", "weights", "predictions", "logits", "records"]
    assert len(sentences) == lanes * (1 + 4)
    assert all(any(f"/{name}/" in sentence for sentence in sentences) for name in folders)
    *interrupted, undisturbed = contexts
    expected = outcome(undisturbed.store.root)
    for context in interrupted:
        assert_whole(context.store.root)
        before = outcome(context.store.root)
        assert before.items() <= expected.items()
        assert not any(record.status == "failed" for record in context.store.records())
        train([run for run in cohort if run.id not in context.store.latest()], context)
        assert outcome(context.store.root) == expected


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(trial, monkeypatch):
    context = replace(trial.context(), checkpoint_interval=0.0)
    FullDisk(2).install(monkeypatch)
    with pytest.raises(WriteError):
        train([trial.run], context)
    monkeypatch.undo()
    lane = Lane(trial.run, context)
    lane.setup()
    assert lane.epoch == 1


# ---- what is written beside it
def test_a_plan_that_cannot_be_written_leaves_the_earlier_one(tmp_path):
    store, plan = Store(tmp_path), [{"method": "ce"}]
    store.keep_plan(plan)
    sentences = writes_until_none_fails(lambda attempt: store.keep_plan([*plan, {"method": "kd"}]))
    assert len(sentences) == 1 and "plan.json" in sentences[0]
    assert len(store.planned()) == 2


def test_a_teacher_whose_record_cannot_be_copied_stays_where_it_is(tmp_path):
    store = Store(tmp_path)
    record = store.add(Record(id="0" * 12, status="done", run={}))
    store.keep_weights(record.id, b"weights")
    sentences = writes_until_none_fails(lambda attempt: store.keep_teacher(record))
    assert len(sentences) == 1 and "teachers" in sentences[0]
    assert store.weights(record.id).parent.name == "teachers"


def test_a_cost_that_cannot_be_written_is_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load_for", lambda *_: images())
    monkeypatch.setattr(timing, "LEAST", 1)
    monkeypatch.setattr(timing, "SECONDS_EACH", 0.0)
    run = Trial("kd", "resnet14", "resnet8", None).run
    options = Options("trial", tmp_path / "results", tmp_path, device="cpu", quiet=True)
    sentences = writes_until_none_fails(lambda attempt: cost.measure([run], options))
    assert len(sentences) == 1 and "-cost.json" in sentences[0]
    assert [record.kind for record in Store(options.results).records()] == ["cost"]
    assert_whole(options.results)


def remembered(function):
    """The function, which computes its first answer only."""
    known = []

    def call(*arguments):
        known.extend([] if known else [function(*arguments)])
        return known[0]

    return call


def test_a_measurement_of_theory_that_cannot_be_written_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setitem(datasets.SOURCES, "trial", lambda name, root, download: images())
    run = Trial("sp", "resnet14", "resnet8", None).run
    store, options = Store(tmp_path / "results"), Options("trial", tmp_path / "results", tmp_path, "cpu")
    for cohort in ([run.teacher], [run]):
        train(cohort, make_context(cohort, store, options.data, "cpu"))
    for name in ("measure", "costs"):  # once is enough
        monkeypatch.setattr(examine, name, remembered(getattr(examine, name)))
    sentences = writes_until_none_fails(lambda attempt: examine.examine([run], options))
    datasets.load.cache_clear()
    assert len(sentences) == 2 and all("features" in sentence for sentence in sentences)
    assert_whole(options.results)
    assert {path.suffix for path in (options.results / "features").iterdir()} == {".npz", ".json"}


def test_a_report_that_cannot_be_written_leaves_whole_files_and_the_next_one_completes_it(tmp_path):
    formats = ("md", "svg", "html")
    old = {"tables/a.md": b"old a", "tables/b.md": b"old b", "index.html": b"old"}
    new = {"tables/a.md": b"new a", "figures/c.svg": b"new c", "index.html": b"new"}

    def report(attempt):
        out = tmp_path / str(attempt)
        if not out.exists():
            with pytest.MonkeyPatch.context() as patch:
                FullDisk(10**6).install(patch)
                publish(out, old, formats)
        publish(out, new, formats)

    sentences = writes_until_none_fails(report)
    assert len(sentences) == 5, "three files, and their list before and after"
    for attempt in range(len(sentences) + 1):
        out = tmp_path / str(attempt)
        for name in {*old, *new}:
            assert not (out / name).exists() or (out / name).read_bytes() in (old.get(name), new.get(name))
        publish(out, new, formats)
        assert {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()} == {*new, "manifest.txt"}
        assert all((out / name).read_bytes() == data for name, data in new.items())


def test_a_file_system_without_hard_links_keeps_no_part_of_a_file_either(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    sentences = writes_until_none_fails(lambda attempt: write_atomic(tmp_path / "x.json", b"{} ", fresh=True))
    assert len(sentences) == 2, "the file itself, and its copy under the final name"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    with pytest.raises(FileExistsError):
        write_atomic(tmp_path / "x.json", b"[]", fresh=True)


# ---- the command line
def test_a_command_says_in_one_sentence_that_the_disk_is_full(tmp_path, monkeypatch, capsys):
    words = ["benchmark", "run", "digits", "-m", "ce", "--results", str(tmp_path / "results"), *OPTIONS]
    monkeypatch.setattr(sys, "argv", words)
    FullDisk(1).install(monkeypatch)
    with pytest.raises(SystemExit) as caught:
        app.main()
    assert caught.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "results/checkpoints/plan.json" in line and "disk is full" in line and "run the same command again" in line


@pytest.fixture
def small_disk(tmp_path):
    """A function: size in KiB -> the path of a real file system of that size, which a second call enlarges."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size):
        how = "remount," if place.is_mount() else ""
        words = ["mount", "-t", "tmpfs", "-o", f"{how}size={size}k", "tmpfs", str(place)]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("size", [600, pytest.param(2000, marks=pytest.mark.long)], ids=lambda size: f"{size} KiB")
def test_a_sweep_on_a_real_full_disk_ends_resumable_and_completes_on_a_larger_one(small_disk, size):
    place = small_disk(size)
    code, errors = finish(place, methods="ce,kd", epochs=1)
    assert code == 1, errors
    assert "Traceback" not in errors
    assert any("disk is full" in line or "No space left" in line for line in errors.splitlines())
    assert_whole(place / "results" / "records")
    before = {path: path.read_bytes() for path in (place / "results" / "records").glob("*.json")}
    small_disk(200_000)
    code, errors = finish(place, methods="ce,kd", epochs=1)
    assert code == 0, errors
    assert all(path.read_bytes() == data for path, data in before.items())
    latest = Store(place / "results").latest().values()
    assert [record.status for record in latest] == ["done"] * 3
    assert_whole(place / "results" / "weights")
