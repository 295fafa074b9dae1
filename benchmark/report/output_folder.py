"""Write a report's files to its folder: replace and remove only files that a report wrote, and leave all others."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from benchmark.files import write_atomic

MANIFEST, PAPER = "manifest.txt", "paper"
REPORT_FOLDERS = ("tables", "figures")
FOLDERS = (*REPORT_FOLDERS, PAPER)


def publish(
    out: Path, files: dict[str, bytes], formats: Collection[str], folders: Collection[str] = REPORT_FOLDERS
) -> None:
    """Write the files in the given order, then remove obsolete ones: written by an earlier report, not by this one.

    files: path below `out` -> contents; formats, folders: the suffixes and places of obsolete files to be removed.
    """
    for folder in folders:
        (out / folder).mkdir(parents=True, exist_ok=True)
    earlier = read_manifest(out)
    places = {name: PurePosixPath(name) for name in earlier - set(files)}
    obsolete = {name for name, at in places.items() if at.suffix[1:] in formats and at.parts[0] in folders}
    # Listed before they are written: an interrupted report leaves no file that the next one does not know.
    write_atomic(out / MANIFEST, file_list(earlier | set(files)))
    for name, data in files.items():
        write_atomic(out / name, data)
    for name in obsolete:
        (out / name).unlink(missing_ok=True)
    write_atomic(out / MANIFEST, file_list((earlier | set(files)) - obsolete))


def read_manifest(out: Path) -> set[str]:
    """The files that earlier reports wrote, as listed in the manifest; only paths inside FOLDERS count."""
    path = out / MANIFEST
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    paths = [PurePosixPath(line) for line in lines]
    return {str(path) for path in paths if len(path.parts) == 2 and path.parts[0] in FOLDERS and path.name != ".."}


def file_list(names: set[str]) -> bytes:
    """The contents of the manifest: one name per line, sorted."""
    return "".join(f"{name}\n" for name in sorted(names)).encode()
