"""The command `gc`: files of a folder of results that nothing needs any more; lists them, and deletes them if asked."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmark.errors import BadInput
from benchmark.report.formatting import count_of
from benchmark.store import Record, Store

MIN_AGE_S = 3600  # a younger file may be one that a process is writing, or is about to use
OLD_S = 30 * 24 * 3600  # a checkpoint without a record that is older is of a run that nobody goes on with
FINAL = ("done", "diverged", "unfit")  # such a run is not resumed
OF_DONE_RUNS = {"weights": ".safetensors", "logits": ".npz", "predictions": ".npz"}  # folder -> suffix
ID = re.compile(r"([0-9a-f]{12})[.-].+")  # the beginning of a file's name
TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")  # as benchmark/files.py names a file that is not complete yet
TOKEN = ".shared-*"  # files by which the machines of a cluster see that they share the folder


@dataclass(frozen=True, slots=True)
class Unneeded:
    """A file that nothing needs."""

    path: Path
    size: int  # bytes
    changed: float  # seconds since 1970
    why: str


def collect(
    results: Path, in_use: Collection[str] = (), claims: Iterable[Path] = (), delete: bool = False
) -> tuple[str, int]:
    """The files with sizes and reasons as text; `delete` removes them, all but the number returned.  Raises BadInput.

    in_use: ids of the runs that are being trained; claims: files of claims whose owner is gone.
    """
    if not results.is_dir():
        raise BadInput(f"{results} is not there; name a folder of results with --results")
    found = find_unneeded(Store(results), in_use, claims)
    if not found:
        return f"{results} has no file that nothing needs", 0
    left = {file.path: reason for file in found if delete and (reason := remove(file))}
    lines = [f"{file.size / 1e6:>10,.1f} MB  {file.path}  {left.get(file.path, file.why)}" for file in found]
    total = (
        f"{count_of(len(found) - len(left), 'file')}, {sum(f.size for f in found if f.path not in left) / 1e6:,.1f} MB"
    )
    if not delete:
        return "\n".join([*lines, f"{total}; nothing was removed: --delete removes them"]), 0
    kept = f"; {count_of(len(left), 'file')} could not be removed" if left else ""
    return "\n".join([*lines, f"removed {total}{kept}"]), len(left)


def find_unneeded(store: Store, in_use: Collection[str] = (), claims: Iterable[Path] = ()) -> list[Unneeded]:
    """Every file that nothing needs, in order of path.

    Left alone: records, teachers, what git tracks, files of `in_use` runs and of runs whose record cannot be read, and
    whatever has changed within MIN_AGE_S.
    """
    latest = store.latest()
    unreadable = {id_of(path) for path in (store.root / "records").glob("*.json")} - {"", *latest}
    spared = {*in_use, *unreadable}
    named = [*orphans(store, latest), *old_checkpoints(store, latest), *lone_features(store)]
    candidates = {path: why for path, why in named if id_of(path) not in spared}
    candidates |= dict.fromkeys(temporary_files(store.root), "unfinished file of a process that ended")
    tokens = () if in_use else (store.root / "checkpoints").glob(TOKEN)
    candidates |= dict.fromkeys(tokens, "token of a sweep on a cluster that ended")
    candidates |= dict.fromkeys(claims, "claim of a process that ended")
    before, tracked = time.time() - MIN_AGE_S, tracked_files(store.root)
    found = []
    for path, why in sorted(candidates.items()):
        entry = regular_file(path)
        if entry and entry.st_mtime < before and path.resolve() not in tracked:
            found.append(Unneeded(path, entry.st_size, entry.st_mtime, why))
    return found


def remove(file: Unneeded) -> str:
    """Remove a file unless it has changed since it was found; returns why it is still there, or ""."""
    entry = regular_file(file.path)
    if entry and entry.st_mtime != file.changed:
        return "has just changed: kept"
    try:
        file.path.unlink(missing_ok=True)
    except OSError as fault:
        return f"cannot be removed ({fault.strerror})"
    return ""


# ---- candidates: (file, why it is not needed)
def orphans(store: Store, latest: dict[str, Record]) -> Iterator[tuple[Path, str]]:
    """Weights, logits and predictions of runs without a record that is done."""
    for folder, suffix in OF_DONE_RUNS.items():
        for path in (store.root / folder).glob(f"*{suffix}"):
            record = latest.get(id_of(path))
            if id_of(path) and (record is None or record.status != "done"):
                yield path, f"its run {f'is {record.status}' if record else 'has no record'}"


def old_checkpoints(store: Store, latest: dict[str, Record]) -> Iterator[tuple[Path, str]]:
    """Checkpoints, earlier and damaged ones too, of runs with a final record that is not older than they are.

    And those of runs without any record that have not changed for a long time.
    """
    long_ago = time.time() - OLD_S
    for path in (store.root / "checkpoints").glob("*.pt*"):
        record, entry = latest.get(id_of(path)), regular_file(path)
        if record and entry and record.status in FINAL and entry.st_mtime <= ended(record):  # later: of an `--again`
            yield path, f"its run is {record.status}"
        elif entry and id_of(path) and not record and entry.st_mtime < long_ago:
            yield path, f"its run has no record, and was last trained {OLD_S // 86400} days ago or earlier"


def lone_features(store: Store) -> Iterator[tuple[Path, str]]:
    """Arrays of `theory` without the numbers that belong to them, and numbers without their arrays."""
    for path in (store.root / "features").glob("[!.]*"):
        other = {".npz": ".json", ".json": ".npz"}.get(path.suffix)
        if other and not path.with_suffix(other).exists():
            yield path, f"the file with its {'numbers' if other == '.json' else 'arrays'} is missing"


def temporary_files(root: Path) -> list[Path]:
    """Files whose writing began and was not finished."""
    return [path for path in root.rglob(".*") if TEMPORARY.fullmatch(path.name)]


def id_of(path: Path) -> str:
    """The id of the run that a file belongs to; "" if its name does not begin with one."""
    match = ID.fullmatch(path.name)
    return match[1] if match else ""


def ended(record: Record) -> float:
    """When the record was written, in seconds since 1970; infinity if it does not say."""
    try:
        return datetime.fromisoformat(str(record.provenance.get("ended"))).timestamp()
    except ValueError:
        return float("inf")


def regular_file(path: Path) -> stat.stat_result | None:
    """The size and times of a file; None for what is gone, a folder, a link or a pipe."""
    try:
        entry = path.lstat()
    except OSError:
        return None
    return entry if stat.S_ISREG(entry.st_mode) else None


def tracked_files(root: Path) -> set[Path]:
    """The resolved paths of the files below `root` that git tracks; empty outside a checkout."""
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    except OSError:  # no git
        return set()
    return {(root / os.fsdecode(name)).resolve() for name in done.stdout.split(b"\0") if name}
