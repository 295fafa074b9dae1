"""Read the predicted class of each judged image, and which are right, from results/predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.files import UnreadableFile, read_arrays
from benchmark.report.records.entries import Entry
from benchmark.store import Store


@dataclass(frozen=True)
class Predicted:
    """A run's predictions of the judged images; None where the file has no such array."""

    classes: NDArray[np.integer] | None = None  # (N,)
    correct: NDArray[np.bool_] | None = None  # (N,)


class Predictions:
    """The prediction files of a store; each is read once, and `complaints` gets a sentence for an unreadable one."""

    def __init__(self, store: Store):
        self.folder = store.root / "predictions"
        self.complaints: list[str] = []
        self.cache: dict[str, Predicted] = {}
        self.matching: dict[tuple[str, float], bool] = {}  # (id, accuracy) -> whether the file has it

    def correct(self, entry: Entry) -> NDArray[np.bool_] | None:
        """(N,) whether the run classifies each image correctly; None if there is no file, or an old one without it.

        None too if the file is of another attempt at the run: its accuracy is not that of the entry's record.
        """
        found = self._of(entry.run.id).correct
        if found is None or (score := entry.score("top1")) is None:
            return None
        key = entry.run.id, score
        if key not in self.matching:
            self.matching[key] = same_accuracy(found, score)
        return found if self.matching[key] else None

    def missing_reason(self, entries: Iterable[Entry]) -> str:
        """Why not all of these runs have predictions: "of another attempt", "not kept"; "" if all have."""
        lacking = [entry for entry in entries if self.correct(entry) is None]
        other = any(self._of(entry.run.id).correct is not None for entry in lacking)
        return "of another attempt" if other else "not kept" if lacking else ""

    def agreement(self, entry: Entry, teacher_id: str) -> float | None:
        """The share of the images that the run and a teacher classify alike; None without the predictions of both."""
        teacher = self._of(teacher_id).classes
        own = self._of(entry.run.id).classes
        if own is None or teacher is None or own.shape != teacher.shape or self.correct(entry) is None:
            return None
        return float((own == teacher).mean())

    def _of(self, id: str) -> Predicted:
        if id not in self.cache:
            self.cache[id] = self._read(id)
        return self.cache[id]

    def _read(self, id: str) -> Predicted:
        path = self.folder / f"{id}.npz"
        try:
            arrays = read_arrays(path)
            classes, correct = one_per_image(arrays, "top1"), one_per_image(arrays, "right")
            return Predicted(classes, None if correct is None else correct.astype(bool))
        except FileNotFoundError:
            return Predicted()
        except (UnreadableFile, ValueError) as fault:
            self.complaints.append(f"{path}: no predictions, left out of the tests on images ({fault})")
            return Predicted()


def one_per_image(file: Mapping[str, NDArray], name: str) -> NDArray[np.integer | np.bool_] | None:
    """(N,) an array of predictions; None if the file has none.  Raises ValueError for another shape or type."""
    found = file.get(name)
    if found is not None and (found.ndim != 1 or not len(found) or found.dtype.kind not in "biu"):
        raise ValueError(f"{name!r} is {found.dtype} of shape {found.shape}, not a whole number for each image")
    return found


def same_accuracy(correct: NDArray[np.bool_], score: float) -> bool:
    """Whether the share of correct images is the score, as records hold it: to half an image."""
    return abs(float(correct.mean()) - score) * len(correct) < 0.5
