"""Checks of folders: may results and reports be written, how much space is free, which data sets are there."""

from __future__ import annotations

import ast
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from benchmark.data import archives, image_files
from benchmark.doctor.finding import Check, Finding
from benchmark.errors import BadInput

LEAST_SPACE = 1e9  # bytes that should be free
NO_SPACE = 50e6  # bytes that the smallest suite needs at least, with room to spare


def writable(name: str, folder: Path) -> Finding:
    """Whether files can be written in a folder, or the folder made; and the space that is free there."""
    parent = nearest_folder(folder)
    free = shutil.disk_usage(parent).free
    value = f"{folder}{'' if parent == folder else ', not there yet'}, {free / 1e9:.1f} GB free"
    try:
        with tempfile.TemporaryFile(dir=parent if parent.is_dir() else folder):
            pass
    except OSError as fault:
        reason = f"cannot be written ({fault.strerror})"
        return Finding(name, f"{value}, {reason}", False, f"name another folder with --{name} DIR", prevents=True)
    if free < LEAST_SPACE:
        advice = f"free some space, or name another folder with --{name} DIR"
        return Finding(name, value, False, advice, prevents=free < NO_SPACE)
    return Finding(name, value)


def nearest_folder(path: Path) -> Path:
    """The path if it exists, else the nearest of its parents that does."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


# ---- data sets
def data_checks(root: Path) -> Iterator[tuple[str, Check]]:
    """Names and checks of all data sets that could be in a folder, and of the image folders that are."""
    yield "digits", digits
    for name, kind in (("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")):
        yield name, partial(cifar, name, kind, root)
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if (folder / "train").is_dir() and (folder / "test").is_dir():
            yield f"folder:{folder.name}", partial(images, folder)


def digits() -> Finding:
    """The data set that comes with scikit-learn."""
    if importlib.util.find_spec("sklearn") is None:
        return Finding("digits", "scikit-learn is missing", False, "python -m pip install -r requirements.txt")
    return Finding("digits", "comes with scikit-learn")


def cifar(name: str, kind_name: str, root: Path) -> Finding:
    """The official files of a CIFAR data set: the unpacked folder, or else the archive, by their checksums."""
    kind = official_files()[kind_name]
    folder, archive = root / kind.base_folder, root / kind.filename
    try:
        if folder.exists() or not archive.exists():
            archives.ensure_files(kind, name, root, download=False)
            return Finding(name, f"{folder}, checksums right")
        archives.verify(archive, kind.tgz_md5)
    except BadInput as fault:
        if folder.exists() or archive.exists():
            return Finding(name, f"{root}: not as published", False, str(fault), prevents=True)
        advice = f"for suites on {name}: put the official {kind.filename} there, or run with --download"
        return Finding(name, f"not in {root}", False, advice)
    return Finding(name, f"{archive}, checksum right; the first run unpacks it")


def official_files() -> dict[str, SimpleNamespace]:
    """Class name -> names and checksums of the official files of CIFAR-10 and CIFAR-100, as torchvision has them.

    They are read from torchvision's source: to import it takes longer than all checks together.
    """
    package = Path(importlib.util.find_spec("torchvision").origin).parent
    tree = ast.parse((package / "datasets" / "cifar.py").read_text())
    found = {}
    for node in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        assigned = [each for each in node.body if isinstance(each, ast.Assign)]
        found[node.name] = SimpleNamespace(**{each.targets[0].id: ast.literal_eval(each.value) for each in assigned})
    return found


def images(folder: Path) -> Finding:
    """An image folder: its classes and how many images it has; none is decoded."""
    name = f"folder:{folder.name}"
    try:
        classes = image_files.class_names(folder)
        counts = [len(image_files.list_images(folder, split, classes)) for split in image_files.SPLITS]
    except BadInput as fault:
        return Finding(name, f"{folder}: cannot be used", False, str(fault))
    return Finding(name, f"{len(classes)} classes, {counts[0]:,} training and {counts[1]:,} test images")
