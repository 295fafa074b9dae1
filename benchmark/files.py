"""Atomic writing of files; reading of files that may be damaged, huge or no files at all."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MAX_JSON_BYTES = 100_000_000  # of a record, or another JSON file
MAX_ARRAY_BYTES = 1_000_000_000  # of the arrays of an .npz file together, unpacked
NO_FILE = "there is no such file"
DAMAGE = (  # what zipfile, its decompressors and numpy raise for changed bytes, and for what is encrypted
    OSError, ValueError, EOFError, LookupError, TypeError, SyntaxError, ArithmeticError, RuntimeError, MemoryError,
    zlib.error, zipfile.BadZipFile, TokenError,
)  # fmt: skip


class WriteError(OSError):
    """A file could not be written, as on a full disk: the fault of the place, and of no run.  Names the final path."""

    def __str__(self) -> str:
        return (
            f"{self.filename} could not be written ({self.strerror}): make room there, then run the same command again"
        )


class ReadError(WriteError):
    """A file that is needed may not or cannot be read: the fault of the place as well, and handled like it."""

    def __str__(self) -> str:
        return f"{self.filename} could not be read ({self.strerror}): mend that, then run the same command again"


class UnreadableFile(ValueError):
    """A file whose contents are not what they must be; the message is the end of a sentence, without its name."""


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """In this block every OSError becomes a ReadError about `path`."""
    with write_errors(path, ReadError):
        yield


@contextmanager
def write_errors(path: Path, kind: type[WriteError] = WriteError) -> Iterator[None]:
    """In this block every OSError becomes an error of this kind about `path`."""
    try:
        yield
    except OSError as fault:
        raise kind(fault.errno, fault.strerror or str(fault), str(path)) from fault


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


# ---- reading
def file_problem(path: Path, most: int | None = None) -> str:
    """Why `path` cannot be read as a file of at most `most` bytes, as the end of a sentence; "" if it can.

    Nothing is opened: to open a pipe would wait for a writer.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return NO_FILE
    except (OSError, ValueError) as fault:  # a name that is too long, a link to itself, a null byte, no permission
        return f"it cannot be opened ({getattr(fault, 'strerror', None) or 'it has a null byte'})"
    if not stat.S_ISREG(found.st_mode):
        return f"it is a {'folder' if stat.S_ISDIR(found.st_mode) else 'pipe or a device'}, not a file"
    if most is not None and found.st_size > most:
        return f"it has {found.st_size:,} bytes, and at most {most:,} are read"
    return "" if os.access(path, os.R_OK) else "its permissions do not let this user read it"


def read_bytes(path: Path, most: int = MAX_JSON_BYTES) -> bytes:
    """The contents of a file of at most `most` bytes.  Raises FileNotFoundError, and UnreadableFile with the reason."""
    problem = file_problem(path, most)
    if problem == NO_FILE:
        raise FileNotFoundError(errno.ENOENT, NO_FILE, str(path))
    if problem:
        raise UnreadableFile(problem)
    try:
        return path.read_bytes()
    except FileNotFoundError:  # removed at this moment
        raise
    except OSError as fault:
        raise UnreadableFile(f"it cannot be read ({fault.strerror})") from fault


def read_json(path: Path, most: int = MAX_JSON_BYTES) -> Any:
    """The value of a JSON file.  Raises FileNotFoundError, and UnreadableFile with the reason."""
    data = read_bytes(path, most)
    try:
        return json.loads(data)
    except json.JSONDecodeError as fault:
        raise UnreadableFile(f"it is not JSON: line {fault.lineno}, column {fault.colno}: {fault.msg}") from fault
    except UnicodeDecodeError as fault:
        raise UnreadableFile("it is not text in UTF-8") from fault
    except RecursionError as fault:
        raise UnreadableFile("it is nested too deep") from fault
    except ValueError as fault:  # an integer of thousands of digits
        raise UnreadableFile("a number in it is too long") from fault


def read_arrays(path: Path, most: int = MAX_ARRAY_BYTES) -> dict[str, np.ndarray]:
    """Name -> array, of an .npz file, without running code in it.  Raises FileNotFoundError and UnreadableFile.

    most: bytes of the arrays together, as the file declares them: no more than that is unpacked.
    """
    from numpy.lib import format as npy

    data, found, place = read_bytes(path, most), {}, "it"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
            if total > most:
                raise UnreadableFile(f"its arrays have {total:,} bytes, and at most {most:,} are read")
            for entry in archive.infolist():
                place = f"{entry.filename.removesuffix('.npy')!r:.60} in it"
                with archive.open(entry) as file:
                    found[entry.filename.removesuffix(".npy")] = npy.read_array(file, allow_pickle=False)
    except UnreadableFile:
        raise
    except DAMAGE as fault:
        kind = "an .npz file" if place == "it" else "an array of numbers"
        raise UnreadableFile(f"{place} is not {kind}, or its bytes have changed") from fault
    return found


def content_problem(fault: Exception) -> str:
    """What is wrong with a file whose contents made `fault`, in plain words, as the end of a sentence."""
    if isinstance(fault, UnreadableFile):
        return str(fault)
    if isinstance(fault, FileNotFoundError):
        return f"{Path(fault.filename).name} is missing" if fault.filename else NO_FILE
    if isinstance(fault, KeyError) and fault.args and isinstance(fault.args[0], str):
        return f"{fault.args[0]!r:.60} is missing in it"
    return "a value in it is not of the kind that belongs there"
