"""Image folders and archives that somebody built to do harm are refused in one sentence, and nothing is written."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR100

from benchmark.cli import app
from benchmark.data import archives, datasets, image_files, image_folder
from benchmark.errors import BadInput

FOLDER, ARCHIVE = CIFAR100.base_folder, CIFAR100.filename


def error_of(action, *arguments):
    with pytest.raises(BadInput) as caught:
        action(*arguments)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.fixture
def refusal(monkeypatch, capsys):
    """A function: arguments -> the line with which the command line refuses them, with exit code 2."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            app.main()
        out, err = capsys.readouterr()
        assert (caught.value.code, out) == (2, "")
        assert "Traceback" not in err and err.count("error: ") == 1
        return err.splitlines()[-1]

    return run


# ---- image folders
@pytest.fixture
def root(tmp_path):
    """data/mine/{train,test}/{cat,dog}/0.png, beside secret/{0.png,notes.txt}, which is nobody's business."""
    for place in [*(f"data/mine/{split}/{name}" for split in ("train", "test") for name in ("cat", "dog")), "secret"]:
        (tmp_path / place).mkdir(parents=True)
        Image.fromarray(np.zeros((5, 4, 3), np.uint8)).save(tmp_path / place / "0.png")
    (tmp_path / "secret/notes.txt").write_text("nobody's business")
    return tmp_path


def link(target):
    def damage(root):
        (root / "data/mine/train/cat/1.png").symlink_to(target)

    return damage


def link_split(root):
    (root / "data/mine/train").rename(root / "data/elsewhere")
    (root / "data/mine/train").symlink_to(root / "data/elsewhere")


def link_classes(root):
    for split in ("train", "test"):
        (root / "data/mine" / split / "emu").symlink_to(root / "secret")


def pipe(root):
    os.mkfifo(root / "data/mine/train/cat/1.png")


def folder(root):
    (root / "data/mine/train/cat/1.png").mkdir()


def sparse(root):
    with (root / "data/mine/train/cat/1.png").open("wb") as file:
        file.truncate(10**12)


def name_image(name):
    def damage(root):
        path = root / "data/mine/train/cat" / name
        (root / "data/mine/train/cat/0.png").rename(os.fsdecode(path))

    return damage


def name_class(root):
    for split in ("train", "test"):
        (root / "data/mine" / split / "dog").rename(root / "data/mine" / split / "d\x1b[31mog")


FOLDERS = {
    "a link to a file outside": (link("../../../../../secret/0.png"), ["train/cat/1.png", "leads out of", "a copy"]),
    "a link by a whole path": (link("/etc/passwd"), ["train/cat/1.png", "leads out of"]),
    "a link to nothing outside": (link("/nothing/of/this/name.png"), ["train/cat/1.png", "leads out of"]),
    "a link to itself": (link("1.png"), ["train/cat/1.png", "cannot be read"]),
    "a link to a device": (link("/dev/zero"), ["train/cat/1.png", "leads out of"]),
    "a split that is a link": (link_split, ["mine/train", "leads out of"]),
    "a class that is a link": (link_classes, ["emu", "leads out of"]),
    "a pipe": (pipe, ["train/cat/1.png", "pipe or a device"]),
    "a folder named as an image": (folder, ["train/cat/1.png", "it is a folder"]),
    "a file of a terabyte": (sparse, ["train/cat/1.png", "1,000,000,000,000 bytes", "100,000,000"]),
    "a line break in a name": (name_image("a\nb.png"), ["a\\nb.png", "rename it"]),
    "a code of terminals in a name": (name_image("\x1b]0;x\x07.png"), ["\\x1b]0;x\\x07.png", "rename it"]),
    "reversed writing in a name": (name_image("a\u202egnp.png"), ["\\u202e", "rename it"]),
    "bytes that are no text in a name": (name_image("\udcff.png"), ["\\udcff.png", "rename it"]),
    "a code of terminals in a class": (name_class, ["d\\x1b[31mog", "rename it"]),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_hostile_image_folder_is_refused_and_nothing_is_written(root, kind, refusal, monkeypatch):
    monkeypatch.chdir(root)
    damage, expected = FOLDERS[kind]
    damage(root)
    before = sorted(root.rglob("*"))
    typed = ["digits", "--dataset", "folder:mine", "--data", root / "data"]
    sentences = [error_of(action, "folder:mine", root / "data") for action in (datasets.content, datasets.load)]
    for sentence in [*sentences, refusal("plan", *typed), refusal("run", *typed)]:
        for part in expected:
            assert part in sentence
    assert sorted(root.rglob("*")) == before


def test_a_link_within_the_folder_and_a_folder_that_is_a_link_itself_are_followed(root):
    (root / "data/mine/train/cat/1.png").symlink_to("../dog/0.png")
    (root / "data/yours").symlink_to(root / "data/mine")
    assert len(datasets.load("folder:yours", root / "data").train_x) == 3
    assert datasets.content("folder:yours", root / "data") == datasets.content("folder:mine", root / "data")


@pytest.mark.parametrize("name", ["folder:../secret", "folder:/etc", "folder:mine/../../secret", "folder:a\nb"])
def test_a_folder_outside_the_data_folder_is_refused(root, name, refusal):
    for action in (datasets.content, datasets.info, datasets.load):
        assert "--data DIR" in error_of(action, name, root / "data")
    assert "--data DIR" in refusal("plan", "digits", "--dataset", name, "--data", root / "data")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *extra):
    """A small file that says it is a black PNG of this size; the pixels of one row only are in it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1 + 3 * min(width, 10**6))))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + pixels + chunk(b"IEND", b"")


IMAGES = {
    "25 million pixels": (png(5000, 5000), "5000 x 5000, more than 16,777,216 pixels"),
    "100 million pixels, of which Pillow warns": (png(10_000, 10_000), "more than 16,777,216 pixels"),
    "400 million pixels, which Pillow refuses": (png(20_000, 20_000), "pixels"),
    "2 billion columns": (png(2**31 - 1, 1), "pixels"),
    "a text of 100 MB": (png(4, 5, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8)))), "too large"),
    "a colour profile of 100 MB": (png(4, 5, chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(10**8)))), ""),
    "a chunk of 4 GB": (b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR" + bytes(20), ""),
    "PostScript, for which Pillow starts a program": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 5\n%%EndComments\n(x) (w) file\n",
        "cannot identify",
    ),
    "no bytes": (b"", ""),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_a_hostile_image_is_refused_by_name(root, kind, monkeypatch, refusal):
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)
    content, reason = IMAGES[kind]
    (root / "data/mine/train/cat/0.png").write_bytes(content)
    sentences = [error_of(action, "folder:mine", root / "data") for action in (datasets.info, datasets.load)]
    for sentence in [*sentences, refusal("plan", "digits", "--dataset", "folder:mine", "--data", root / "data")]:
        assert "train/cat/0.png cannot be read as a PNG or JPEG image" in sentence
        assert reason in sentence


def test_images_that_do_not_fit_into_memory_are_refused_before_they_are_decoded(monkeypatch):
    """A million small files of four million pixels each."""
    image = np.zeros((2000, 2000, 3), np.uint8)
    files = [image_files.ImageFile("mine/train/cat/0.png", "train/cat/0.png", 0, 20_000, 0, 0)] * 1_000_000
    sentence = error_of(image_folder.check_memory, files, image)
    assert "mine/train: 1,000,000 images of 2000 x 2000 need 12,000 GB" in sentence


# ---- CIFAR
class Exploit:
    """Pickled, it writes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_other_than_the_official_one_is_not_read(tmp_path, refusal, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / FOLDER).mkdir()
    for name in ("train", "test", "meta"):
        (tmp_path / FOLDER / name).write_bytes(pickle.dumps(Exploit(tmp_path / "stolen")))
    assert "truncated or altered" in error_of(datasets.load, "cifar100", tmp_path)
    assert "truncated or altered" in refusal("run", "mini", "-m", "ce", "--data", tmp_path, "--device", "cpu")
    assert not (tmp_path / "stolen").exists()


def test_cifar_files_that_are_pipes_are_not_waited_for(tmp_path):
    (tmp_path / FOLDER).mkdir()
    for name in ("train", "test", "meta"):
        os.mkfifo(tmp_path / FOLDER / name)
    assert "pipe or a device" in error_of(datasets.load, "cifar100", tmp_path)


def member(name, kind=tarfile.REGTYPE, target="", size=3):
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, target, size if kind == tarfile.REGTYPE else 0
    return found


MEMBERS = {
    "a path upwards": member("../stolen"),
    "a path up from the folder": member(f"{FOLDER}/../stolen"),
    "a path of dots": member(f"{FOLDER}/.."),
    "a whole path": member("/tmp/stolen-by-a-test"),
    "a folder within": member(f"{FOLDER}/sub/file"),
    "another folder": member("stolen", tarfile.DIRTYPE),
    "a link": member(f"{FOLDER}/test", tarfile.SYMTYPE, "/etc/passwd"),
    "a link out of the folder": member(FOLDER, tarfile.SYMTYPE, "/tmp"),
    "a hard link": member(f"{FOLDER}/test", tarfile.LNKTYPE, "../../secret"),
    "a device": member(f"{FOLDER}/test", tarfile.CHRTYPE),
    "a pipe": member(f"{FOLDER}/test", tarfile.FIFOTYPE),
    "a name twice": member(f"{FOLDER}/train"),
}


def write_archive(path, members):
    with tarfile.open(path, "w:gz") as file:
        for each in members:
            file.addfile(each, io.BytesIO(b"abc") if each.isreg() else None)


@pytest.mark.parametrize("kind", MEMBERS)
def test_a_hostile_archive_is_refused_and_nothing_is_left_of_it(tmp_path, monkeypatch, kind):
    """Even if somebody has found one with the official checksum."""
    place = tmp_path / "data" / "here"
    place.mkdir(parents=True)
    write_archive(place / ARCHIVE, [member(FOLDER, tarfile.DIRTYPE), member(f"{FOLDER}/train"), MEMBERS[kind]])
    monkeypatch.setattr(CIFAR100, "tgz_md5", hashlib.md5((place / ARCHIVE).read_bytes()).hexdigest())
    sentence = error_of(datasets.load, "cifar100", place)
    assert f"{ARCHIVE} cannot be unpacked" in sentence
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "here", ARCHIVE]
    assert not os.path.exists("/tmp/stolen-by-a-test")


def test_an_archive_of_the_official_checksum_only_is_unpacked(tmp_path):
    write_archive(tmp_path / ARCHIVE, [member(f"{FOLDER}/train")])
    assert "truncated or altered" in error_of(datasets.load, "cifar100", tmp_path)
    assert not (tmp_path / FOLDER).exists()


def test_an_archive_of_absurd_size_is_refused_before_it_fills_the_disk(tmp_path):
    """A header that announces 8 TB, and a small archive of files that are larger together than the limit."""
    with gzip.open(tmp_path / ARCHIVE, "wb") as file:
        file.write(member(f"{FOLDER}/train", size=8 * 10**12).tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    sentence = error_of(archives.unpack, tmp_path / ARCHIVE, FOLDER)
    assert "more than 2,000,000,000 bytes" in sentence
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"x" * 99, mtime=0), gzip.compress(b"x" * 999, mtime=0)]
)
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / ARCHIVE).write_bytes(content)
    assert f"{ARCHIVE} cannot be unpacked" in error_of(archives.unpack, tmp_path / ARCHIVE, FOLDER)
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]


def test_a_truncated_archive_is_refused_and_nothing_is_left_of_it(tmp_path):
    with tarfile.open(tmp_path / ARCHIVE, "w:gz") as file:
        file.addfile(member(f"{FOLDER}/train", size=100_000), io.BytesIO(os.urandom(100_000)))
    (tmp_path / ARCHIVE).write_bytes((tmp_path / ARCHIVE).read_bytes()[:50_000])
    assert f"{ARCHIVE} cannot be unpacked" in error_of(archives.unpack, tmp_path / ARCHIVE, FOLDER)
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]
