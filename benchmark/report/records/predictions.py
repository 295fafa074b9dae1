"""Which judged images each run gets right, as the store keeps it beside the records."""

from __future__ import annotations

from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from benchmark.store import Store


class Predictions:
    """Reads each run's file once; what cannot be read goes to `complaints`."""

    def __init__(self, store: Store):
        self.folder = store.root / "predictions"
        self.complaints: list[str] = []
        self.known: dict[str, NDArray[np.bool_] | None] = {}

    def right(self, id: str) -> NDArray[np.bool_] | None:
        """Whether the run gets each image right; None without a file, and for files of before this was kept."""
        if id not in self.known:
            self.known[id] = self._read(id)
        return self.known[id]

    def _read(self, id: str) -> NDArray[np.bool_] | None:
        path = self.folder / f"{id}.npz"
        try:
            with np.load(path, allow_pickle=False) as kept:
                return kept["right"].astype(bool) if "right" in kept else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError, BadZipFile) as fault:
            why = " ".join(str(fault).split())
            self.complaints.append(f"{path}: no predictions, left out of the tests on images ({why})")
            return None
