"""Atomic writing of files, and whether one can be read."""

import os
import stat
import uuid
from pathlib import Path


def write_atomic(path: Path, data: bytes, fresh: bool = False) -> Path:
    """Write a file atomically: readers see all of it or nothing.  fresh: raise FileExistsError if it exists."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not fresh:
            temporary.replace(path)
            return path
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # no hard links here: never overwrites, but readers may see a part of it
            with path.open("xb") as file:
                file.write(data)
    finally:
        temporary.unlink(missing_ok=True)
    return path


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
