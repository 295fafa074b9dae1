"""Load data sets as uint8 tensors: files are verified by checksum and, if asked for, downloaded.

N images · H, W pixels · names: digits · cifar10 · cifar100 · folder:NAME
"""

from __future__ import annotations

import difflib
import hashlib
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmark.data import image_folder
from benchmark.errors import BadInput

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
    """Raises BadInput with the closest name for an unknown data set."""
    if name not in SOURCES and not (name.startswith("folder:") and name != "folder:"):
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())} and folder:NAME"
        raise BadInput(f"unknown data set {name!r}; {hint}")


def info(name: str, root: Path) -> DatasetInfo:
    """Number of classes and image size; only an image folder is read from disk.  Raises BadInput."""
    check_name(name)
    classes = {"digits": 10, "cifar10": 10, "cifar100": 100}
    if name in classes:
        return DatasetInfo(classes[name], 32, 32)
    return DatasetInfo(*image_folder.info(root / name.removeprefix("folder:")))


@cache
def load(name: str, root: Path, download: bool = False) -> Dataset:
    """A data set by name; `root` is the folder that holds the data.

    Nothing is downloaded unless `download`.  Raises BadInput naming what is missing or altered, and where.
    """
    check_name(name)
    if name in SOURCES:
        return SOURCES[name](name, root, download)
    x, y, test_x, test_y, classes = image_folder.load(root / name.removeprefix("folder:"), root / ".decoded")
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


def ensure_files(kind: type, name: str, root: Path, download: bool) -> None:
    """Ensure that `root` holds the verified files: unpack the archive, download it if allowed.  Raises BadInput."""
    folder, archive = root / kind.base_folder, root / kind.filename
    if not folder.exists() and not archive.exists() and download:
        download_archive(kind, name, root)
    if not folder.exists() and archive.exists():
        verify(archive, kind.tgz_md5)
        unpack(archive)
    if not folder.exists():
        raise BadInput(
            f"{name} is not in {root}: put the official {kind.filename}, or the folder {kind.base_folder}/ unpacked "
            f"from it, there, name another folder with --data DIR, or download it with --download"
        )
    for file, md5 in (*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])):
        verify(folder / file, md5)


def download_archive(kind: type, name: str, root: Path) -> None:
    """Download the official archive.  Raises BadInput if that fails."""
    from torchvision.datasets.utils import download_url

    try:
        download_url(kind.url, str(root), kind.filename, kind.tgz_md5)
    except (OSError, RuntimeError) as fault:
        raise BadInput(
            f"{name} could not be downloaded ({fault}); put the official {kind.filename} into {root} and run again"
        ) from fault


def unpack(archive: Path) -> None:
    """Unpack an archive into its own folder; members with paths outside it are refused.  Raises BadInput."""
    try:
        with tarfile.open(archive) as file:
            file.extraction_filter = getattr(tarfile, "data_filter", None)  # Pythons before 3.11.4 have none
            file.extractall(archive.parent)
    except (OSError, tarfile.TarError) as fault:
        raise BadInput(
            f"{archive} cannot be unpacked into its folder ({fault}); unpack it in another one and use --data DIR"
        ) from fault


def verify(path: Path, md5: str) -> None:
    """Raises BadInput unless the file exists and has this checksum."""
    if not path.is_file():
        raise BadInput(f"{path} is missing (MD5 {md5}): unpack the official archive there again")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise BadInput(
            f"{path} is truncated or altered: MD5 expected {md5}, found {found}; put the official file there"
        )


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
