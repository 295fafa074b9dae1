"""The files of an image folder, DIR/{train,test}/<class>/*.png|jpg: listed, checked, hashed; none is decoded.

Nothing outside the folder is read, and nothing but regular files: to open a pipe would wait for a writer.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import BadInput
from benchmark.files import file_problem, write_atomic

ENDINGS = {".png", ".jpg", ".jpeg"}
SPLITS = ("train", "test")
MAX_BYTES = 100_000_000  # of a file
SETTLED = 2.0  # seconds after which a change of a file certainly changes its times, whose steps may be coarse


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A regular file of an image folder, and what tells that it has not changed.  Text: Path takes long for 60,000."""

    path: str
    name: str  # below the folder: train/cat/1.png
    label: int
    size: int  # bytes
    modified: int  # nanoseconds
    changed: int  # nanoseconds; unlike `modified`, no program can set it


def class_names(folder: Path) -> tuple[str, ...]:
    """The classes, which must be the same in train/ and test/.  Raises BadInput."""
    found = {}
    for split in SPLITS:
        if not (folder / split).is_dir():
            raise BadInput(
                f"{folder / split} does not exist: an image folder holds {{train,test}}/<class>/*.png or *.jpg"
            )
        check_place(folder, folder / split, (folder / split).is_symlink())
        found[split] = set()
        for entry in entries(folder / split):
            if entry.is_dir() and not entry.name.startswith("."):
                check_place(folder, entry.path, entry.is_symlink())
                found[split].add(entry.name)
    unmatched = sorted(found["train"] ^ found["test"])
    if unmatched:
        where = "train" if unmatched[0] in found["train"] else "test"
        raise BadInput(f"{folder}: class {unmatched[0]!r} is in {where}/ only; train/ and test/ need the same classes")
    if len(found["train"]) < 2:
        raise BadInput(f"{folder / 'train'} holds {len(found['train'])} class folders; a classifier needs two or more")
    return tuple(sorted(found["train"]))


def list_images(folder: Path, split: str, classes: tuple[str, ...]) -> list[ImageFile]:
    """Every image of a split, in order of class and name.  Raises BadInput if a class has none, or for an odd file."""
    files = []
    for label, name in enumerate(classes):
        place = folder / split / name
        own = [entry for entry in entries(place) if os.path.splitext(entry.name)[1].lower() in ENDINGS]
        if not own:
            raise BadInput(f"{place} holds no .png or .jpg: add images, or remove the class from train/ and test/")
        own.sort(key=lambda entry: entry.name)
        files.extend(image_file(folder, f"{split}/{name}/{entry.name}", entry, label) for entry in own)
    return files


def entries(folder: Path) -> list[os.DirEntry]:
    """What a folder holds, in no order.  Raises BadInput."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as fault:
        raise BadInput(f"{folder} cannot be read ({fault.strerror}): change its permissions or remove it") from fault


def image_file(folder: Path, name: str, entry: os.DirEntry, label: int) -> ImageFile:
    """The file of an entry.  Raises BadInput for a link out of the folder, for what is no file, and for a huge file."""
    if entry.is_symlink() or not entry.name.isprintable():
        check_place(folder, entry.path, entry.is_symlink())
    try:
        found = entry.stat()
    except OSError as fault:
        raise BadInput(f"{entry.path} cannot be read ({fault.strerror}); repair or remove it") from fault
    if not stat.S_ISREG(found.st_mode):
        raise BadInput(f"{entry.path} is not an image: {file_problem(Path(entry.path))}; remove it")
    if found.st_size > MAX_BYTES:
        raise BadInput(f"{entry.path} has {found.st_size:,} bytes, and at most {MAX_BYTES:,} are read; remove it")
    return ImageFile(entry.path, name, label, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def check_place(folder: Path, path: str | Path, is_link: bool) -> None:
    """Raises BadInput for a name that cannot be printed, and for a link that leads out of the folder."""
    if not os.path.basename(path).isprintable():
        raise BadInput(f"{str(path)!r} has a name with characters that cannot be printed: rename it")
    if is_link and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise BadInput(f"{path} is a link that leads out of {folder}: put a copy there instead")


# ---- content
def content_hash(folder: Path, files: Iterable[ImageFile], cache: Path) -> str:
    """SHA-256 over the names, below the folder, and the bytes of its images: 64 hex digits.  Raises BadInput.

    Not over decoded pixels: bytes are the same on every machine, whereas JPEG decoders differ, and `plan` need not
    decode anything.  Names decide on classes and on the order of the images, so they are a part.

    In the folder `cache` the hash is kept, if that can be written, with a hash of the names, sizes and times of the
    files; while these are the same, no file is read again.
    """
    files, started = list(files), time.time()
    state = hashlib.sha256(
        "".join(f"{f.name}\0{f.size} {f.modified} {f.changed}\n" for f in files).encode()
    ).hexdigest()
    index = cache / f"{folder.name}-content.json"
    known = read_index(index)
    if known.get("state") == state:
        return known["content"]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file_hash(Path(file.path)))
    content = digest.hexdigest()
    if max(file.changed for file in files) < (started - SETTLED) * 1e9:
        write_cache(index, json.dumps({"content": content, "state": state}).encode())
    return content


def file_hash(path: Path) -> bytes:
    """SHA-256 of a file's bytes.  Raises BadInput."""
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as fault:
        raise BadInput(f"{path} cannot be read ({fault.strerror}); repair or remove it") from fault


def read_index(path: Path) -> dict[str, str]:
    """The `content` and `state` of an index; empty if there is none, or a damaged one."""
    if file_problem(path, 1000):
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    is_valid = isinstance(found, dict) and re.fullmatch("[0-9a-f]{64}", str(found.get("content")))
    return found if is_valid else {}


def write_cache(path: Path, data: bytes) -> None:
    """Write a file of the cache; if that fails, the next run works out its content again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError:
        return
