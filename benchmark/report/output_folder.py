"""The folder that a report is written to: its own files are replaced and removed, others are left alone."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from benchmark.files import write_atomic

MANIFEST, FOLDERS = "manifest.txt", ("tables", "figures")


def publish(out: Path, files: dict[str, bytes], formats: Collection[str]) -> None:
    """Write the files, the page last; then remove those of these formats that an earlier report wrote and this not."""
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    earlier = manifest(out)
    gone = {name for name in earlier - set(files) if PurePosixPath(name).suffix[1:] in formats}
    write_atomic(out / MANIFEST, listing(earlier | set(files)))  # whatever happens next, it is known to be ours
    for name, data in files.items():
        write_atomic(out / name, data)
    for name in gone:
        (out / name).unlink(missing_ok=True)
    write_atomic(out / MANIFEST, listing((earlier | set(files)) - gone))


def manifest(out: Path) -> set[str]:
    """The files that earlier reports wrote into the two folders."""
    path = out / MANIFEST
    lines = path.read_text().splitlines() if path.is_file() else []
    paths = [PurePosixPath(line) for line in lines]
    return {str(path) for path in paths if len(path.parts) == 2 and path.parts[0] in FOLDERS and path.name != ".."}


def listing(names: set[str]) -> bytes:
    """Names, one a line."""
    return "".join(f"{name}\n" for name in sorted(names)).encode()
