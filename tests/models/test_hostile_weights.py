"""Weights that somebody else made let nobody in: no code in them runs, and headers that lie are refused by name."""

import io
import json
import os
import pickle
import struct
import sys
import zipfile

import pytest
import torch

from benchmark.cli import app
from benchmark.errors import BadInput
from benchmark.models import build
from benchmark.models.imports import load
from benchmark.training import weights


class Exploit:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def saved(content, **options):
    """The bytes of torch.save."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def rezipped(data, compression=zipfile.ZIP_STORED, change=lambda name, content: content):
    """The same checkpoint with its members changed or compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return buffer.getvalue()


def small():
    return {"a": torch.zeros(4)}


HOSTILE = {
    "an object": lambda path: saved({"model": small(), "extra": Exploit(path)}),
    "an object alone": lambda path: saved(Exploit(path)),
    "an object in the old format": lambda path: saved(Exploit(path), _use_new_zipfile_serialization=False),
    "a plain pickle": lambda path: pickle.dumps(Exploit(path)),
    "a pickle of protocol 0": lambda path: pickle.dumps(Exploit(path), 0),
    "a member that is a pickle": lambda path: rezipped(
        saved(small()), change=lambda name, old: pickle.dumps(Exploit(path)) if name.endswith("data.pkl") else old
    ),
    "a tensor that is larger than its file": lambda path: rezipped(
        saved({"a": torch.zeros(1000)}), change=lambda name, old: old[:4] if "/data/" in name else old
    ),
    "20 MB of zeros in 20 kB": lambda path: rezipped(saved({"a": torch.zeros(5_000_000)}), zipfile.ZIP_DEFLATED),
}


@pytest.fixture
def refusal(monkeypatch, capsys, tmp_path):
    """A function: a file's bytes -> the line with which `import-weights` refuses them, with exit code 2."""
    monkeypatch.chdir(tmp_path)

    def run(data):
        (tmp_path / "odd.pth").write_bytes(data)
        arguments = ["import-weights", "odd.pth", "--model", "resnet8", "--dataset", "cifar100"]
        monkeypatch.setattr(sys, "argv", ["benchmark", *arguments])
        with pytest.raises(SystemExit) as caught:
            app.main()
        out, err = capsys.readouterr()
        (line,) = err.splitlines()
        assert (caught.value.code, out) == (2, "")
        return line

    return run


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_weights_are_refused_in_one_sentence_and_no_code_in_them_runs(refusal, tmp_path, kind):
    line = refusal(HOSTILE[kind](tmp_path / "stolen"))
    assert line.startswith("error: odd.pth ")
    assert [path.name for path in tmp_path.iterdir()] == ["odd.pth"]


def test_an_object_is_named_with_the_remedy(refusal, tmp_path):
    line = refusal(HOSTILE["an object"](tmp_path / "stolen"))
    assert "mkdir" in line and "could run code" in line and "save only" in line


def test_a_file_of_absurd_size_is_refused_unread(tmp_path):
    path = tmp_path / "huge.pth"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(BadInput, match="1,000,000,000,000 bytes"):
        load(path, "resnet8", 10)


def test_a_tensor_that_repeats_one_number_is_refused_by_its_shape(tmp_path):
    """Four bytes that are seen as 10^15 numbers."""
    torch.save({"a": torch.zeros(1).expand(10**15)}, tmp_path / "wide.pth")
    with pytest.raises(BadInput, match="has 1 tensors"):
        load(tmp_path / "wide.pth", "resnet8", 10)


# ---- stored weights: safetensors
def header(fields, data=b"", length=None):
    text = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(shape, *places, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": list(places)}


STORED = {
    "no bytes": b"",
    "a length alone": struct.pack("<Q", 2**63),
    "a header of 8 EB": header({}, length=2**63 - 1),
    "a header of 1 GB": header(b" " * 10, length=10**9),
    "no JSON": header(b"\x80\x04cos\nsystem\n"),
    "JSON nested too deep": header(b"[" * 100_000),
    "a shape that is larger than the file": header({"a": tensor([10**9], 0, 4 * 10**9)}, b"1234"),
    "a shape whose size overflows": header({"a": tensor([2**62, 2**62], 0, 4)}, b"1234"),
    "a negative shape": header({"a": tensor([-1], 0, 4)}, b"1234"),
    "places that overlap": header({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, b"1234"),
    "a place after the end": header({"a": tensor([1], 4, 8)}, b"1234"),
    "a place before the start": header({"a": tensor([1], 4, 0)}, b"1234"),
    "bytes that are of no tensor": header({"a": tensor([1], 0, 4)}, b"12345678"),
    "an unknown type": header({"a": tensor([1], 0, 4, dtype="object")}, b"1234"),
    "an embedding of one axis": header({"embed.weight": tensor([1], 0, 4)}, b"1234"),
    "an object": pickle.dumps(print),
}


@pytest.mark.parametrize("kind", STORED)
def test_stored_weights_with_a_hostile_header_are_refused_by_name(tmp_path, kind):
    path = tmp_path / "0123456789ab.safetensors"
    path.write_bytes(STORED[kind])
    with pytest.raises(BadInput) as caught:
        weights.load_network(path, "resnet8", 10)
    assert str(caught.value).startswith(f"{path} ")
    assert "resnet8 with 10 classes" in str(caught.value)


def test_stored_weights_are_read_back(tmp_path):
    """The check above refuses nothing that is right."""
    path = tmp_path / "0123456789ab.safetensors"
    path.write_bytes(weights.to_bytes(build("resnet8", 10)))
    assert not weights.load_network(path, "resnet8", 10).training
