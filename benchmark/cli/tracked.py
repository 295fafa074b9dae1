"""Says that git tracks a folder into which a command has written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.errors import printable
from benchmark.report.formatting import count_of


@contextmanager
def say_if_tracked(folder: Path, option: str) -> Iterator[None]:
    """Context at whose end one line on stderr says how many files git sees as new or changed that it did not before.

    It says nothing of a folder in which git tracks no file.  option: the one that names another folder.
    """
    before = changes(folder)
    try:
        yield
    finally:
        new = changes(folder) - before
        if new:
            files = count_of(len(new), "new or changed file")
            advice = f"commit them together, or name another folder with {option}"
            print(printable(f"{folder} is tracked by git, which sees {files}: {advice}"), file=sys.stderr)


def changes(folder: Path) -> frozenset[bytes]:
    """What `git status` says about the files of a folder; empty unless git tracks one of them."""
    if not git(folder, "ls-files", "-z"):
        return frozenset()
    return frozenset(git(folder, "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", "."))


def git(folder: Path, *arguments: str) -> list[bytes]:
    """The entries that a git command prints, run in the folder; none without git, a checkout or the folder."""
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    except OSError:
        return []
    return [entry for entry in done.stdout.split(b"\0") if entry]
