"""Image folders as data sets: DIR/{train,test}/<class>/*.png|jpg, all of one size, decoded once.

N images · H, W pixels
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from benchmark.errors import BadInput
from benchmark.files import write_atomic

ENDINGS = {".png", ".jpg", ".jpeg"}
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]


def info(folder: Path) -> tuple[int, int, int]:
    """Classes, height and width, from the first image.  Raises BadInput."""
    classes = class_names(folder)
    x = decode(list_images(folder / "train", classes)[0][0])
    return len(classes), x.shape[0], x.shape[1]


def load(folder: Path, cache: Path) -> Arrays:
    """Training images (N, H, W, 3) uint8 and labels (N,), the same for test, and the classes' names.

    Decoded arrays are cached in the folder `cache` by a hash of every file's path and bytes, if it can be written.
    Raises BadInput naming what is missing, unreadable or of another size.
    """
    classes = class_names(folder)
    files = {split: list_images(folder / split, classes) for split in ("train", "test")}
    cached = cache / f"{folder.name}-{content_hash(folder, files)}.npz"
    try:
        with cached.open("rb") as file, np.load(file) as found:
            return found["x"], found["y"], found["test_x"], found["test_y"], classes
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        pass  # not cached yet, or damaged: decode
    x, y = decode_all(files["train"])
    test_x, test_y = decode_all(files["test"])
    if x.shape[1:] != test_x.shape[1:]:
        raise BadInput(
            f"{folder}: images of train/ are {size(x[0])}, those of test/ {size(test_x[0])}; make them equal"
        )
    cache_arrays(cached, x=x, y=y, test_x=test_x, test_y=test_y)
    return x, y, test_x, test_y, classes


def class_names(folder: Path) -> tuple[str, ...]:
    """The classes, which must be the same in train/ and test/.  Raises BadInput."""
    found = {}
    for split in ("train", "test"):
        if not (folder / split).is_dir():
            raise BadInput(
                f"{folder / split} does not exist: an image folder holds {{train,test}}/<class>/*.png or *.jpg"
            )
        found[split] = {p.name for p in (folder / split).iterdir() if p.is_dir() and not p.name.startswith(".")}
    unmatched = sorted(found["train"] ^ found["test"])
    if unmatched:
        where = "train" if unmatched[0] in found["train"] else "test"
        raise BadInput(f"{folder}: class {unmatched[0]!r} is in {where}/ only; train/ and test/ need the same classes")
    if len(found["train"]) < 2:
        raise BadInput(f"{folder / 'train'} holds {len(found['train'])} class folders; a classifier needs two or more")
    return tuple(sorted(found["train"]))


def list_images(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Every image of a split with its label, in order of class and name.  Raises BadInput if a class has none."""
    files = []
    for label, name in enumerate(classes):
        own = sorted(p for p in (folder / name).iterdir() if p.suffix.lower() in ENDINGS)
        if not own:
            raise BadInput(
                f"{folder / name} holds no .png or .jpg: add images, or remove the class from train/ and test/"
            )
        files.extend((path, label) for path in own)
    return files


def content_hash(folder: Path, files: dict[str, list[tuple[Path, int]]]) -> str:
    """Hash of every file's path and bytes: 16 hex digits.  Raises BadInput."""
    digest = hashlib.sha256()
    for path, _ in files["train"] + files["test"]:
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as fault:
            raise BadInput(f"{path} cannot be read ({fault}); repair or remove it") from fault
    return digest.hexdigest()[:16]


def decode_all(files: list[tuple[Path, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, 3) uint8 and labels (N,) int64.  Raises BadInput for an image of another size."""
    first = decode(files[0][0])
    x = np.empty((len(files), *first.shape), np.uint8)
    for position, (path, _) in enumerate(files):
        image = decode(path)
        if image.shape != first.shape:
            raise BadInput(
                f"{path} is {size(image)}, {files[0][0].name} is {size(first)}; bring all images to one size"
            )
        x[position] = image
    return x, np.array([label for _, label in files], np.int64)


def decode(path: Path) -> np.ndarray:
    """One image as (H, W, 3) uint8.  Raises BadInput naming the file."""
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"its pixels are {image.mode}, more than 8 bits each")  # convert() would clip them
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as fault:
        raise BadInput(f"{path} cannot be read as an image ({fault}); repair or remove it") from fault


def size(image: np.ndarray) -> str:
    """Width x height as text."""
    return f"{image.shape[1]} x {image.shape[0]}"


def cache_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write decoded arrays to the cache; if that fails, the next run decodes the images again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        write_atomic(path, buffer.getvalue())
    except OSError:
        return
