"""Image folders as data sets: DIR/{train,test}/<class>/*.png|jpg, all of one size, decoded once.

N images · H, W pixels
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.data.image_files import SPLITS, ImageFile, class_names, content_hash, list_images, write_cache
from benchmark.errors import BadInput
from benchmark.files import file_problem

FORMATS = ("PNG", "JPEG")  # of the content, whatever a file's name says: Pillow starts programs for some others
MAX_PIXELS = 4096 * 4096  # of an image
BOMB = Image.DecompressionBombWarning  # of images that `decode` refuses
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]
Files = dict[str, list[ImageFile]]  # "train", "test" -> images


def info(folder: Path) -> tuple[int, int, int]:
    """Classes, height and width, from the first image.  Raises BadInput."""
    classes = class_names(folder)
    x = decode(Path(list_images(folder, "train", classes)[0].path))
    return len(classes), x.shape[0], x.shape[1]


def content(folder: Path, cache: Path) -> str:
    """SHA-256 of the images' names and bytes, 64 hex digits: the same as long as the data set is.  Raises BadInput."""
    files = list_files(folder, class_names(folder))
    return content_hash(folder, files["train"] + files["test"], cache)


def load(folder: Path, cache: Path) -> Arrays:
    """Training images (N, H, W, 3) uint8 and labels (N,), the same for test, and the classes' names.

    Decoded arrays are cached in the folder `cache` by `content`, if it can be written.
    Raises BadInput naming what is missing, unreadable, too large or of another size.
    """
    classes = class_names(folder)
    files = list_files(folder, classes)
    cached = cache / f"{folder.name}-{content_hash(folder, files['train'] + files['test'], cache)[:16]}.npz"
    if found := read_arrays(cached, files):
        return *found, classes
    x, y = decode_all(files["train"])
    test_x, test_y = decode_all(files["test"])
    if x.shape[1:] != test_x.shape[1:]:
        raise BadInput(
            f"{folder}: images of train/ are {size(x[0])}, those of test/ {size(test_x[0])}; make them equal"
        )
    buffer = io.BytesIO()
    np.savez(buffer, x=x, y=y, test_x=test_x, test_y=test_y)
    write_cache(cached, buffer.getvalue())
    return x, y, test_x, test_y, classes


def list_files(folder: Path, classes: tuple[str, ...]) -> Files:
    """The images of each split.  Raises BadInput."""
    return {split: list_images(folder, split, classes) for split in SPLITS}


def read_arrays(path: Path, files: Files) -> tuple[np.ndarray, ...] | None:
    """The cached images and labels; None if they are not cached yet, damaged, or not of these files."""
    if file_problem(path):
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            x, y, test_x, test_y = (file[name] for name in ("x", "y", "test_x", "test_y"))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    labels = [[file.label for file in files[split]] for split in SPLITS]
    fits = np.array_equal(y, labels[0]) and np.array_equal(test_y, labels[1]) and x.dtype == test_x.dtype == np.uint8
    fits = fits and (len(x), len(test_x)) == (len(y), len(test_y)) and x.shape[1:] == test_x.shape[1:]
    return (x, y, test_x, test_y) if fits and x.ndim == 4 and x.shape[3] == 3 else None


def decode_all(files: Sequence[ImageFile]) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, 3) uint8 and labels (N,) int64.  Raises BadInput for an image of another size."""
    first = decode(Path(files[0].path))
    check_memory(files, first)
    x = np.empty((len(files), *first.shape), np.uint8)
    for position, file in enumerate(files):
        image = decode(Path(file.path))
        if image.shape != first.shape:
            raise BadInput(
                f"{file.path} is {size(image)}, {files[0].name} is {size(first)}; bring all images to one size"
            )
        x[position] = image
    return x, np.array([file.label for file in files], np.int64)


def check_memory(files: Sequence[ImageFile], image: np.ndarray) -> None:
    """Raises BadInput if images of this size do not fit into the machine's memory."""
    needed, memory = len(files) * image.nbytes, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        place = Path(files[0].path).parents[1]
        raise BadInput(
            f"{place}: {len(files):,} images of {size(image)} need {needed / 1e9:,.0f} GB of memory, and this machine "
            f"has {memory / 1e9:,.0f} GB; make them smaller"
        )


def decode(path: Path) -> np.ndarray:
    """One image as (H, W, 3) uint8.  Raises BadInput naming the file."""
    try:
        with warnings.catch_warnings(action="ignore", category=BOMB), Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it is {image.width} x {image.height}, more than {MAX_PIXELS:,} pixels")
            if image.mode.startswith(("I", "F")):
                raise ValueError(f"its pixels are {image.mode}, more than 8 bits each")  # convert() would clip them
            return np.asarray(image.convert("RGB"))
    except Exception as fault:  # whatever a decoder raises for a damaged file
        raise BadInput(f"{path} cannot be read as a PNG or JPEG image ({fault}); repair or remove it") from fault


def size(image: np.ndarray) -> str:
    """Width x height as text."""
    return f"{image.shape[1]} x {image.shape[0]}"
