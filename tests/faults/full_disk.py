"""A disk that is full from the n-th file on: half of that file is written, then the system reports an error."""

import errno
import io
import os
from pathlib import Path

OPEN = Path.open  # as Python has it


class HalfFile(io.FileIO):
    """A file that takes half of what is written to it."""

    def write(self, data):
        super().write(bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDisk:
    """Stands for `Path.open`: the files opened for writing are counted, and from the n-th on the disk is full.

    once: the n-th write alone fails, as where somebody frees some space.
    """

    def __init__(self, n, once=False):
        self.n, self.once, self.count = n, once, 0

    def install(self, patch):
        disk = self
        patch.setattr(Path, "open", lambda path, mode="r", *rest, **more: disk.open(path, mode, *rest, **more))
        return self

    def open(self, path, mode, *rest, **more):
        if mode not in ("wb", "xb"):
            return OPEN(path, mode, *rest, **more)
        self.count += 1
        full = self.count == self.n if self.once else self.count >= self.n
        return HalfFile(path, mode) if full else OPEN(path, mode, *rest, **more)

    @property
    def was_full(self):
        """Whether a write has failed."""
        return self.count >= self.n
