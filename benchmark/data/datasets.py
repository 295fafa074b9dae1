"""Load data sets as uint8 tensors: files are verified by checksum and, if asked for, downloaded.

N images · H, W pixels · names: digits · cifar10 · cifar100 · folder:NAME
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.data import image_folder
from benchmark.data.archives import ensure_files
from benchmark.errors import BadInput
from benchmark.experiment.run import Run

CACHE = ".decoded"  # a folder beside the image folders
Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """Number of classes and image size of a data set."""

    classes: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Decoded images and labels of a data set."""

    name: str
    classes: tuple[str, ...]
    train_x: Tensor  # (N, H, W, 3)  uint8
    train_y: Tensor  # (N,)  int64
    test_x: Tensor  # (N, H, W, 3)  uint8
    test_y: Tensor  # (N,)  int64
    statistics: Statistics  # mean and sd of each channel of the training images, pixels in 0 … 1

    def sha256(self) -> str:
        """Hash of all images and labels: 64 hex digits."""
        digest = hashlib.sha256()
        for part in (self.train_x, self.train_y, self.test_x, self.test_y):
            digest.update(str(tuple(part.shape)).encode())
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()


# Channel statistics, as published by benchmarks that use these data sets.
CHANNEL_STATISTICS: dict[str, Statistics] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),  # RepDistiller
}


def names() -> list[str]:
    """Names of the built-in data sets; an image folder is named folder:NAME."""
    return sorted(SOURCES)


def check_name(name: str) -> None:
    """Raises BadInput for an unknown data set, with the closest name, and for a folder outside the data folder."""
    kind, _, folder = name.partition(":")
    if name not in SOURCES and (kind != "folder" or not folder):
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())} and folder:NAME"
        raise BadInput(f"unknown data set {name!r}; {hint}")
    if Path(folder).is_absolute() or ".." in Path(folder).parts or not folder.isprintable():
        raise BadInput(f"{name!r} names no folder in the data folder: name that one with --data DIR, then folder:NAME")


def info(name: str, root: Path) -> DatasetInfo:
    """Number of classes and image size; only an image folder is read from disk.  Raises BadInput."""
    check_name(name)
    classes = {"digits": 10, "cifar10": 10, "cifar100": 100}
    if name in classes:
        return DatasetInfo(classes[name], 32, 32)
    return DatasetInfo(*image_folder.info(root / name.removeprefix("folder:")))


def content(name: str, root: Path) -> str:
    """Hash of the files of an image folder, a part of the ids of the runs on it; "" for official data, whose name says
    as much because they are verified.  Raises BadInput.
    """
    check_name(name)
    return "" if name in SOURCES else image_folder.content(root / name.removeprefix("folder:"), root / CACHE)


def load_for(run: Run, root: Path, download: bool = False) -> Dataset:
    """The data set of a run, as `load`.  Raises BadInput if the files of its folder are not those of the run."""
    found = content(run.dataset, root) if run.content else ""
    if found != run.content:
        raise BadInput(
            f"the images in {root / run.dataset.removeprefix('folder:')} changed after this run was planned: "
            f"their hash was {run.content:.8} and is {found:.8}; start the command again"
        )
    return load(run.dataset, root, download, found)


@cache
def load(name: str, root: Path, download: bool = False, content_hash: str = "") -> Dataset:
    """A data set by name; `root` is the folder that holds the data.

    Nothing is downloaded unless `download`.  content_hash: of an image folder, as `content` gives it, so that a folder
    that changed is loaded anew.  Raises BadInput naming what is missing or altered, and where.
    """
    check_name(name)
    if name in SOURCES:
        return SOURCES[name](name, root, download)
    x, y, test_x, test_y, classes = image_folder.load(root / name.removeprefix("folder:"), root / CACHE)
    return make_dataset(name, classes, x, y, test_x, test_y)


def digits(name: str, root: Path, download: bool) -> Dataset:
    """Scikit-learn's bundled digits (Alpaydin & Kaynak, UCI 1998): 8 x 8, scaled to 32 x 32 bilinearly, three channels.

    300 training and 1,497 test images: a stratified split with a fixed seed.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    images = np.round(found.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    large = [Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR) for image in images]
    images = np.stack([np.asarray(image.convert("RGB")) for image in large])  # (1797, 32, 32, 3)
    split = train_test_split(images, found.target, train_size=300, stratify=found.target, random_state=0)
    x, test_x, y, test_y = split
    return make_dataset(name, tuple(map(str, range(10))), x, y, test_x, test_y)


def cifar(name: str, root: Path, download: bool) -> Dataset:
    """CIFAR-10 and CIFAR-100 (Krizhevsky, 2009) in the official python version, read by torchvision."""
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    ensure_files(kind, name, root, download)
    train, test = (kind(str(root), train=part, download=False) for part in (True, False))
    return make_dataset(name, tuple(train.classes), train.data, train.targets, test.data, test.targets)


def make_dataset(name: str, classes: tuple[str, ...], x, y, test_x, test_y) -> Dataset:
    """A Dataset of arrays; channel statistics are the published ones, or else computed from the training images."""
    x, test_x = (torch.from_numpy(np.ascontiguousarray(part)) for part in (x, test_x))
    y, test_y = (torch.as_tensor(np.asarray(part), dtype=torch.int64) for part in (y, test_y))
    return Dataset(name, classes, x, y, test_x, test_y, CHANNEL_STATISTICS.get(name) or channel_statistics(x))


def channel_statistics(x: Tensor) -> Statistics:
    """Mean and standard deviation of each channel of (N, H, W, 3) uint8, pixels in 0 … 1, in double precision."""
    counts = torch.stack([torch.bincount(x[..., c].flatten(), minlength=256) for c in range(3)]).double()  # (3, 256)
    value = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum(1, keepdim=True)  # (3, 256)
    mean = share @ value  # (3,)
    sd = ((value - mean[:, None]).square() * share).sum(1).sqrt()  # (3,)
    return tuple(mean.tolist()), tuple(sd.clamp_min(1e-3).tolist())


SOURCES: dict[str, Callable[[str, Path, bool], Dataset]] = {"digits": digits, "cifar10": cifar, "cifar100": cifar}
