"""Atomic writing of files, and whether one can be read."""

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class WriteError(OSError):
    """A file could not be written, as on a full disk: the fault of the place, and of no run.  Names the final path."""

    def __str__(self) -> str:
        return (
            f"{self.filename} could not be written ({self.strerror}): make room there, then run the same command again"
        )


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """In this block every OSError becomes a WriteError about `path`."""
    try:
        yield
    except OSError as fault:
        raise WriteError(fault.errno, fault.strerror or str(fault), str(path)) from fault


def write_atomic(path: Path, data: bytes, fresh: bool = False) -> Path:
    """Write a file atomically: readers see all of it or nothing.  fresh: raise FileExistsError if it exists.

    Raises WriteError; then nothing has been written under this name.
    """
    temporary, written = path.with_name(f".{path.name}.{uuid.uuid4().hex}"), True
    with write_errors(path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if fresh:
                written = link(temporary, path, data)
            else:
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    if not written:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    return path


def link(temporary: Path, path: Path, data: bytes) -> bool:
    """Give a complete file the name `path` as well, or write it there; False if there is a file of that name."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links here: never overwrites, but readers may see a part of it
        return write_new(path, data)
    return True


def write_new(path: Path, data: bytes) -> bool:
    """Write a file that must not exist; False if it does.  A part of it does not stay."""
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def file_problem(path: Path, most: int | None = None) -> str:
    """Why `path` cannot be read as a file of at most `most` bytes, as the end of a sentence; "" if it can.

    Nothing is opened: to open a pipe would wait for a writer.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such file"
    except (OSError, ValueError) as fault:  # a name that is too long, a link to itself, a null byte, no permission
        return f"it cannot be opened ({getattr(fault, 'strerror', None) or 'it has a null byte'})"
    if not stat.S_ISREG(found.st_mode):
        return f"it is a {'folder' if stat.S_ISDIR(found.st_mode) else 'pipe or a device'}, not a file"
    if most is not None and found.st_size > most:
        return f"it has {found.st_size:,} bytes, and at most {most:,} are read"
    return "" if os.access(path, os.R_OK) else "its permissions do not let this user read it"
