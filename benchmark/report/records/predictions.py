"""Read which of the judged images each run classifies correctly, from results/predictions."""

from __future__ import annotations

import zlib
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from benchmark.store import Store

# what numpy and zipfile raise for an archive with changed bytes; RuntimeError: encrypted, or of a version to come
DAMAGE = (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, zlib.error, BadZipFile)


class Predictions:
    """The prediction files of a store; each is read once, and `complaints` gets a sentence for an unreadable one."""

    def __init__(self, store: Store):
        self.folder = store.root / "predictions"
        self.complaints: list[str] = []
        self.cache: dict[str, NDArray[np.bool_] | None] = {}

    def correct(self, id: str) -> NDArray[np.bool_] | None:
        """(N,) whether the run classifies each image correctly; None if there is no file, or an old one without it."""
        if id not in self.cache:
            self.cache[id] = self._read(id)
        return self.cache[id]

    def _read(self, id: str) -> NDArray[np.bool_] | None:
        path = self.folder / f"{id}.npz"
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return file["right"].astype(bool) if "right" in file else None
        except FileNotFoundError:
            return None
        except DAMAGE as fault:
            why = " ".join(str(fault).split()) or type(fault).__name__
            self.complaints.append(f"{path}: no predictions, left out of the tests on images ({why})")
            return None
