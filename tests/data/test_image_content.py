"""The hash of an image folder: it follows names and bytes, and no file is read twice for it."""

import hashlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from benchmark.data import datasets, image_files, image_folder
from benchmark.errors import BadInput
from benchmark.experiment.run import Recipe, Run, Steps

RECIPE = Recipe(epochs=1, lr=0.1, schedule=Steps(at=()))


def save_image(path, seed):
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (5, 4, 3), np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """mine/{train,test}/{cat,dog}/{0,1}.png; hashes are kept although the files are new."""
    for split in ("train", "test"):
        for seed, name in enumerate(("cat", "dog")):
            place = tmp_path / "mine" / split / name
            place.mkdir(parents=True)
            for number in range(2):
                save_image(place / f"{number}.png", 10 * seed + number)
    return tmp_path


@pytest.fixture
def settled(monkeypatch):
    """Files count as unchanged at once, not only after two seconds."""
    monkeypatch.setattr(image_files, "SETTLED", -1)


def content(root):
    return datasets.content("folder:mine", root)


def slow_content(root):
    """The hash as it is defined, written again."""
    digest = hashlib.sha256()
    for split in ("train", "test"):
        for path in sorted((root / "mine" / split).rglob("*.png")):
            digest.update(path.relative_to(root / "mine").as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def test_the_hash_is_that_of_names_and_bytes_and_official_data_have_none(folder):
    assert content(folder) == slow_content(folder)
    assert len(content(folder)) == 64
    assert {datasets.content(name, folder) for name in ("digits", "cifar10", "cifar100")} == {""}


def test_a_touched_file_keeps_the_hash(folder, settled):
    before = content(folder)
    os.utime(folder / "mine/train/cat/0.png", (1, 1))
    assert content(folder) == before


CHANGES = {
    "another image": lambda root: save_image(root / "train/cat/0.png", 99),
    "another image for the test": lambda root: save_image(root / "test/cat/0.png", 99),
    "one image more": lambda root: save_image(root / "train/cat/2.png", 99),
    "one image less": lambda root: (root / "train/cat/0.png").unlink(),
    "another order": lambda root: (root / "train/cat/0.png").rename(root / "train/cat/9.png"),
    "another label": lambda root: (root / "train/cat/1.png").rename(root / "train/dog/+.png"),
    "another name of a class": lambda root: [(root / part / "cat").rename(root / part / "emu") for part in TWO],
}
TWO = ("train", "test")


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_result_depends_on_changes_the_hash(folder, settled, change):
    before = content(folder)
    CHANGES[change](folder / "mine")
    assert content(folder) == slow_content(folder) != before


def test_an_image_of_the_same_size_and_time_of_modification_changes_the_hash(folder, settled):
    path = folder / "mine/train/cat/0.png"
    before, found = content(folder), path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (found.st_size, found.st_mtime_ns)
    assert content(folder) == slow_content(folder) != before


def test_a_second_call_reads_no_image(folder, settled, monkeypatch):
    before = content(folder)
    monkeypatch.setattr(image_files, "file_hash", pytest.fail)
    assert content(folder) == before


def test_files_that_have_just_changed_are_read_again(folder, monkeypatch):
    """A further change within the same step of the clock could not be seen."""
    content(folder)
    assert not (folder / ".decoded").exists()
    monkeypatch.setattr(image_files, "SETTLED", -1)
    content(folder)
    assert [path.name for path in (folder / ".decoded").iterdir()] == ["mine-content.json"]


@pytest.mark.parametrize("damage", [b"", b"[]", b"{", b'{"state": 1}', b'{"content": "x"}', b"\xff" * 2000])
def test_a_damaged_index_is_written_again(folder, settled, damage):
    before = content(folder)
    (folder / ".decoded/mine-content.json").write_bytes(damage)
    assert content(folder) == before
    assert b"state" in (folder / ".decoded/mine-content.json").read_bytes()


def test_an_index_that_is_a_pipe_is_not_waited_for(folder, settled):
    (folder / ".decoded").mkdir()
    os.mkfifo(folder / ".decoded/mine-content.json")
    assert content(folder) == slow_content(folder)


def test_a_copy_of_the_folder_has_the_same_hash(folder, tmp_path):
    shutil.copytree(folder / "mine", tmp_path / "elsewhere" / "mine")
    assert content(tmp_path / "elsewhere") == content(folder)


def test_cached_arrays_of_other_labels_are_not_taken(folder):
    x, y, test_x, test_y, _ = image_folder.load(folder / "mine", folder / ".decoded")
    (cached,) = (folder / ".decoded").glob("*.npz")
    with cached.open("wb") as file:
        np.savez(file, x=x, y=1 - y, test_x=test_x, test_y=test_y)
    assert image_folder.load(folder / "mine", folder / ".decoded")[1].tolist() == y.tolist()
    with cached.open("wb") as file:
        np.savez(file, x=np.array([print], object), y=y, test_x=test_x, test_y=test_y)  # to load it could run code
    assert np.array_equal(image_folder.load(folder / "mine", folder / ".decoded")[0], x)


# ---- runs
def a_run(root, name="folder:mine"):
    return Run(dataset=name, content=datasets.content(name, root), student="resnet8", method="ce", recipe=RECIPE)


def test_the_data_of_a_run_are_refused_after_a_change_and_loaded_anew_for_a_new_run(folder):
    run = a_run(folder)
    first = datasets.load_for(run, folder)
    save_image(folder / "mine/train/cat/0.png", 99)
    with pytest.raises(BadInput, match=f"changed .* hash was {run.content[:8]} and is {content(folder)[:8]}"):
        datasets.load_for(run, folder)
    second = datasets.load_for(a_run(folder), folder)
    assert not second.train_x[0].equal(first.train_x[0])
    assert second.train_x[1:].equal(first.train_x[1:])


def test_a_run_without_a_hash_takes_the_folder_as_it_is(folder):
    old = a_run(folder).model_copy(update={"content": ""})
    assert len(datasets.load_for(old, folder).train_x) == 4
