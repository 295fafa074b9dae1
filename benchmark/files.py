"""Writing a file in one step."""

import os
import uuid
from pathlib import Path


def write_atomic(path: Path, data: bytes, fresh: bool = False) -> Path:
    """Write a file in one step: readers see all of it or nothing.  `fresh`: raises FileExistsError if it is there."""
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
        except OSError:  # a file system without hard links: new, but for a moment half seen
            with path.open("xb") as file:
                file.write(data)
    finally:
        temporary.unlink(missing_ok=True)
    return path
