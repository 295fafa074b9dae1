"""The store: records, weights and teachers as files."""

import io
import json
import math
import os
import threading
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from benchmark import files as writing
from benchmark import record as record_text
from benchmark import store as module
from benchmark.errors import BadInput
from benchmark.experiment.seeds import scope
from benchmark.files import MAX_JSON_BYTES, UnreadableFile, content_problem, read_arrays, read_json, write_atomic
from benchmark.models import build
from benchmark.store import Record, Store, dump
from benchmark.training import weights

ID, OTHER = "0123456789ab", "ba9876543210"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def a_record(status="done", **changes):
    return Record(**{"id": ID, "status": status, "run": {"student": "resnet8"}} | changes)


def files(store):
    return sorted(path.name for path in (store.root / "records").iterdir())


# ---- records
def test_a_record_of_earlier_code_is_read_with_the_hash_of_the_latest_equivalent_code(store, monkeypatch):
    chain = {"a" * 12: "b" * 12, "b" * 12: "c" * 12}
    monkeypatch.setattr(record_text, "equivalent_hashes", lambda: chain)
    for source in (*chain, "d" * 12):
        store.add(a_record(made={"source": source}))
    assert [record.provenance["source"] for record in store.records()] == ["c" * 12, "c" * 12, "d" * 12]


def test_a_record_is_read_as_it_was_written(store):
    full = a_record(score={"top1": 0.5, "best_epoch": 3}, curve={"lr": [0.1]}, error={"type": "E", "message": "m"})
    written = store.add(full)
    assert written == full
    assert list(store.records()) == [full]
    assert store.complaints == []


def test_a_second_attempt_does_not_change_the_first(store):
    first = store.add(a_record("failed"))
    before = (store.root / "records" / f"{ID}-1.json").read_bytes()
    second = store.add(a_record("done"))
    assert (first.attempt, second.attempt) == (1, 2)
    assert files(store) == [f"{ID}-1.json", f"{ID}-2.json"]
    assert (store.root / "records" / f"{ID}-1.json").read_bytes() == before


def test_a_cost_record_does_not_replace_a_run_record_of_the_same_id(store):
    store.add(a_record("failed"))
    store.add(a_record(kind="cost"))
    assert files(store) == [f"{ID}-1-cost.json", f"{ID}-1.json"]
    assert len(list(store.records())) == 2
    assert store.latest()[ID].status == "failed"


def test_no_record_of_several_concurrent_writers_is_lost(store):
    start = threading.Barrier(8)

    def write(number):
        start.wait()
        for turn in range(5):
            Store(store.root).add(a_record(about=f"{number} {turn}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = list(store.records())
    assert sorted(record.attempt for record in found) == list(range(1, 41))
    assert {record.about for record in found} == {f"{number} {turn}" for number in range(8) for turn in range(5)}
    assert len(files(store)) == 40


def test_attempts_are_counted_from_the_names_of_records_without_reading_them(store, monkeypatch):
    for status in ("failed", "done", "failed"):
        store.add(a_record(status))
    store.add(a_record(kind="cost"))
    store.add(a_record(id=OTHER))
    (store.root / "records" / "notes.json").touch()
    monkeypatch.setattr(module, "parse_record", None)
    assert store.attempts() == {ID: 3, OTHER: 1}
    assert Store(store.root / "nowhere").attempts() == {}


def test_the_records_of_one_run_are_its_attempts_and_costs(store):
    written = [store.add(a_record("failed")), store.add(a_record()), store.add(a_record(kind="cost"))]
    store.add(a_record(id=OTHER))
    assert sorted(store.records_of(ID), key=lambda record: (record.kind, record.attempt)) == [written[2], *written[:2]]


@pytest.mark.parametrize(
    ("statuses", "attempt"),
    [
        (["failed", "done"], 2),
        (["done", "failed"], 1),
        (["failed", "done", "failed", "done"], 2),
        (["done"] * 11, 1),
        (["failed", "diverged"], 2),
        (["failed"] * 11, 11),
    ],
    ids=str,
)
def test_the_first_record_that_is_done_counts_else_the_newest(store, statuses, attempt):
    for status in statuses:
        store.add(a_record(status))
    assert store.latest()[ID].attempt == attempt


def test_a_run_repeated_with_other_code_replaces_the_result_and_one_with_the_same_code_does_not(store):
    for source in ("old", "new", "new"):
        store.add(a_record().model_copy(update={"provenance": {"source": source}}))
    assert store.latest()[ID].attempt == 2


DAMAGED = {
    "empty": b"",
    "half": dump(a_record()).encode()[:60],
    "bytes": b"\xff\xfe\x00",
    "list": b"[]",
    "number": b"3",
    "foreign": b'{"name": "package", "version": "1.0"}',
    "schema": json.dumps(a_record().model_dump(by_alias=True) | {"schema": 2}).encode(),
    "extra": json.dumps(a_record().model_dump(by_alias=True) | {"colour": "red"}).encode(),
    "id": json.dumps(a_record().model_dump(by_alias=True) | {"id": "../etc/passwd"}).encode(),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_file_that_is_not_a_record_is_named_skipped_and_left_unchanged(store, kind):
    good = store.add(a_record(id=OTHER))
    path = store.root / "records" / f"{ID}-1.json"
    path.write_bytes(DAMAGED[kind])
    assert list(store.records()) == [good]
    assert len(store.complaints) == 1
    assert str(path) in store.complaints[0]
    assert path.read_bytes() == DAMAGED[kind]


def test_a_damaged_file_is_not_overwritten_by_the_next_attempt(store):
    path = store.root / "records" / f"{ID}-1.json"
    path.parent.mkdir(parents=True)
    path.write_text("half")
    assert store.add(a_record()).attempt == 2
    assert path.read_text() == "half"


def test_complaints_are_those_of_the_last_call_only(store):
    store.add(a_record())
    path = store.root / "records" / "x.json"
    path.write_text("half")
    list(store.records())
    path.unlink()
    list(store.records())
    assert store.complaints == []


def test_the_complaint_about_a_newer_schema_has_both_numbers(store):
    (store.root / "records").mkdir(parents=True)
    (store.root / "records" / "x.json").write_bytes(DAMAGED["schema"])
    list(store.records())
    assert "schema 2, this program reads 1" in store.complaints[0]


def test_numbers_that_are_not_finite_become_null_and_are_returned_as_written(store):
    record = a_record(
        "diverged", score={"nll": math.inf}, curve={"loss": {"kd": [1.0, math.nan]}, "pair": (1, -math.inf)}
    )
    written = store.add(record)
    value = json.loads((store.root / "records" / f"{ID}-1.json").read_text(), parse_constant=pytest.fail)
    assert value["score"] == {"nll": None}
    assert value["curve"] == {"loss": {"kd": [1.0, None]}, "pair": [1, None]}
    assert written == next(store.records())


def test_equal_records_have_equal_bytes_whatever_the_order_of_their_keys():
    one = a_record(run={"a": 1, "b": {"c": 2, "d": 3}})
    two = a_record(run={"b": {"d": 3, "c": 2}, "a": 1})
    assert dump(one).encode() == dump(two).encode()
    assert Record.model_validate(json.loads(dump(one))) == one


def test_reading_a_store_that_does_not_exist_gives_nothing_and_creates_nothing(tmp_path):
    store = Store(tmp_path / "nowhere")
    assert list(store.records()) == []
    assert store.latest() == {}
    assert store.weights(ID) is None
    assert not store.root.exists()


# ---- atomic writes
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_atomic(tmp_path / "x.json", b"old")

    def fail(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(writing.os, "fsync", fail)
    for fresh in (False, True):
        with pytest.raises(OSError, match="no space"):
            write_atomic(path, b"new", fresh)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_fresh_file_must_not_exist(tmp_path):
    path = write_atomic(tmp_path / "x.json", b"old", fresh=True)
    with pytest.raises(FileExistsError):
        write_atomic(path, b"new", fresh=True)
    assert path.read_bytes() == b"old"
    assert write_atomic(path, b"new").read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


# ---- teachers
def test_keep_teacher_moves_the_weights_to_the_teachers_folder(store):
    record = store.add(a_record())
    old = store.keep_weights(ID, b"w")
    kept = store.keep_teacher(record)
    assert kept == store.weights(ID) == store.root / "teachers" / f"{ID}.safetensors"
    assert kept.read_bytes() == b"w"
    assert not old.exists()
    assert store.keep_teacher(record) == kept


def test_the_copy_of_a_teachers_record_is_read_if_the_record_is_missing_and_counts_once_otherwise(store):
    record = store.add(a_record())
    store.keep_weights(ID, b"w")
    store.keep_teacher(record)
    assert list(store.records()) == [record]
    (store.root / "records" / f"{ID}-1.json").unlink()
    assert store.latest() == {ID: record}


def test_a_large_teacher_stays_in_the_folder_that_git_ignores(store, monkeypatch):
    monkeypatch.setattr(module, "MAX_COMMITTED_BYTES", 3)
    record = store.add(a_record())
    path = store.keep_weights(ID, b"1234")
    assert store.keep_teacher(record) == path == store.weights(ID)
    assert not list((store.root / "teachers").glob("*"))
    assert store.keep_teacher(store.add(a_record(id=OTHER))) is None


def test_two_processes_may_keep_the_same_teacher_at_the_same_time(store, monkeypatch):
    """The other process finishes after this one has started to write."""
    record = store.add(a_record())
    store.keep_weights(ID, b"w")

    def write_second(*args, **kwargs):
        monkeypatch.setattr(module, "write_atomic", write_atomic)
        Store(store.root).keep_teacher(record)
        return write_atomic(*args, **kwargs)

    monkeypatch.setattr(module, "write_atomic", write_second)
    assert store.keep_teacher(record) == store.weights(ID)
    assert store.weights(ID).read_bytes() == b"w"


# ---- weights
@pytest.fixture
def net():
    """A small network whose batch norms have other running statistics than the initial ones."""
    with scope("test", 0):
        net = build("resnet8", 10)
        for value in net.buffers():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5)
    return net


def write_and_load(net, path):
    """The network after its weights were written to a file and read back."""
    path.write_bytes(weights.to_bytes(net))
    return weights.load_network(path, "resnet8", 10)


def test_loaded_weights_are_float32_rounded_to_half_precision(net, tmp_path):
    found = write_and_load(net, tmp_path / "w").state_dict()
    assert list(found) == list(net.state_dict())
    for name, value in net.state_dict().items():
        expected = value.half().float() if value.is_floating_point() else value
        assert found[name].equal(expected), name
        assert found[name].dtype == value.dtype


def test_only_a_tensor_that_exceeds_half_precision_is_stored_in_float32(net, tmp_path):
    net.stem.norm.running_var[0] = 70_000.25
    found = write_and_load(net, tmp_path / "w")
    assert found.stem.norm.running_var.equal(net.stem.norm.running_var)
    assert found.stem.norm.running_mean.equal(net.stem.norm.running_mean.half().float())


def test_a_loaded_network_is_in_eval_mode(net, tmp_path):
    assert not write_and_load(net.train(), tmp_path / "w").training


@pytest.mark.parametrize("bias", [True, False])
def test_an_embedding_layer_that_a_method_added_is_loaded(net, tmp_path, bias):
    net.embed, net.head = nn.Linear(64, 24, bias=bias), nn.Linear(24, 10)
    found = write_and_load(net, tmp_path / "w")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert found(x).embedding.shape == (2, 24)
    torch.testing.assert_close(found(x).logits, net.eval()(x).logits, rtol=0.01, atol=0.01)


def test_equal_networks_have_equal_bytes_in_any_memory_format(net):
    before = weights.to_bytes(net)
    assert weights.to_bytes(net.to(memory_format=torch.channels_last)) == before


@pytest.mark.parametrize("damage", ["cut", "emptied", "text", "gone"])
def test_a_damaged_or_missing_file_of_weights_is_refused_by_name(net, tmp_path, damage):
    path, data = tmp_path / "w", weights.to_bytes(net)
    if damage != "gone":
        path.write_bytes({"cut": data[: len(data) // 2], "emptied": b"", "text": b"not weights" * 9}[damage])
    with pytest.raises(BadInput, match="resnet8 with 10 classes") as caught:
        weights.load_network(path, "resnet8", 10)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("network", "classes"), [("resnet14", 10), ("wrn_16_1", 10), ("resnet8", 100)])
def test_weights_of_another_network_are_refused(net, tmp_path, network, classes):
    path = tmp_path / "w"
    path.write_bytes(weights.to_bytes(net))
    with pytest.raises(BadInput, match=f"does not hold the weights of {network} with {classes} classes"):
        weights.load_network(path, network, classes)


def test_the_plan_of_a_sweep_can_be_read_until_it_is_cleared(tmp_path):
    store = Store(tmp_path)
    assert store.planned() == []
    store.keep_plan([{"dataset": "digits"}])
    assert Store(tmp_path).planned() == [{"dataset": "digits"}]
    store.keep_plan([])
    assert store.planned() == []


# ---- files that cannot be read
def pipe(path):
    """A pipe that nobody writes to: to open it would wait for ever."""
    os.mkfifo(path)


def huge(path):
    """A file of more than MAX_JSON_BYTES that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)


ODD_JSON = {
    "a pipe": (pipe, "it is a pipe or a device, not a file"),
    "a folder": (os.mkdir, "it is a folder, not a file"),
    "huge": (huge, "it has 100,000,001 bytes, and at most 100,000,000 are read"),
    "too deep": (lambda path: path.write_text("[" * 100_000), "it is nested too deep"),
    "no JSON": (lambda path: path.write_text('{"a":\n x}'), "it is not JSON: line 2, column 2: Expecting value"),
    "no text": (lambda path: path.write_bytes(b'"\xff"'), "it is not text in UTF-8"),
    "a long number": (lambda path: path.write_text("9" * 5000), "a number in it is too long"),
}


@pytest.mark.parametrize("kind", ODD_JSON)
def test_a_json_file_that_cannot_be_read_is_refused_at_once_with_the_reason(tmp_path, kind):
    make, reason = ODD_JSON[kind]
    make(tmp_path / "x.json")
    with pytest.raises(UnreadableFile) as caught:
        read_json(tmp_path / "x.json")
    assert str(caught.value) == reason == content_problem(caught.value)


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "huge"])
def test_a_record_that_is_no_file_or_huge_is_named_and_skipped(store, kind):
    good = store.add(a_record(id=OTHER))
    make, reason = ODD_JSON[kind]
    make(store.root / "records" / f"{ID}-1.json")
    assert list(store.records()) == [good]
    (complaint,) = store.complaints
    assert f"{ID}-1.json: not a record, skipped ({reason})" in complaint


@pytest.mark.parametrize("kind", ODD_JSON)
def test_a_plan_that_cannot_be_read_is_refused_with_the_reason(store, kind):
    make, reason = ODD_JSON[kind]
    (store.root / "checkpoints").mkdir(parents=True)
    make(store.root / "checkpoints" / "plan.json")
    with pytest.raises(UnreadableFile) as caught:
        store.planned()
    assert str(caught.value) == reason


def archive_of(**arrays):
    """The bytes of an .npz file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def other_file():
    """The bytes of an archive whose file is no array."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("notes.txt", "hello")
    return buffer.getvalue()


ODD_ARRAYS = {
    "text": (b"torn", "it is not an .npz file, or its bytes have changed"),
    "half": (archive_of(a=np.arange(9))[:100], "it is not an .npz file, or its bytes have changed"),
    "a bomb": (
        archive_of(a=np.zeros(200_000, np.uint8)),
        "its arrays have 200,128 bytes, and at most 100,000 are read",
    ),
    "objects": (archive_of(a=np.array([None])), "'a' in it is not an array of numbers, or its bytes have changed"),
    "no array": (other_file(), "'notes.txt' in it is not an array of numbers, or its bytes have changed"),
}


@pytest.mark.parametrize("kind", ODD_ARRAYS)
def test_arrays_that_cannot_be_read_are_refused_in_plain_words(tmp_path, kind):
    data, reason = ODD_ARRAYS[kind]
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(UnreadableFile) as caught:
        read_arrays(tmp_path / "x.npz", 100_000)
    assert str(caught.value) == reason


def test_arrays_are_read_as_they_were_written_and_a_missing_file_is_no_damaged_one(tmp_path):
    (tmp_path / "x.npz").write_bytes(archive_of(a=np.arange(9), b=np.ones((2, 3), bool)))
    found = read_arrays(tmp_path / "x.npz")
    assert list(found) == ["a", "b"]
    assert (found["a"] == np.arange(9)).all() and found["b"].shape == (2, 3)
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "y.npz")


def test_what_stores_could_not_read_is_collected_for_the_user(store):
    (store.root / "records").mkdir(parents=True)
    (store.root / "records" / "x.json").write_text("half")
    with module.collected_complaints() as complaints:
        Store(store.root).latest()
        Store(store.root).latest()
    Store(store.root).latest()
    assert len(complaints) == 2 and set(complaints) == {*complaints[:1]}
