"""How batches, and what the teacher says of them, reach the lanes of a cohort.

Where steps are recorded, every full batch is copied to the same place before it is shown: a recording reads from
fixed addresses.  Teacher and lanes then run on streams of their own, the lanes side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmark.graphs import Nature, Recorder, Steady
from methods.contract import Batch, Outputs

Look = Callable[[Tensor], Outputs]


class Belt:
    """Batches in, and the same batches out beside the teacher's outputs.  Without a recorder it only asks the teacher.

    look: the teacher's forward pass, None without a teacher.  recorder: makes one for each that works on its own.
    """

    def __init__(self, look: Look | None, recorder: Callable[[], Recorder] | None = None):
        self._recorder = recorder
        self._workers: list[Steady] = []
        self._held: Batch | None = None
        self._look = look and self.steady(look, Nature)

    def steady(self, action: Callable[..., Any], nature: Callable[[], Nature], never: str = "") -> Steady:
        """An action on what this belt brings, recorded where steps are; `never` says why it must not be."""
        worker = Steady(action, nature, self._recorder and self._recorder(), never)
        self._workers.append(worker)
        return worker

    def bring(self, batch: Batch, taught: bool = True) -> tuple[Batch, Outputs | None]:
        """The batch, and what the teacher shows for it; None if it is not `taught`.

        Both are overwritten by the next call, which waits until all workers have done with them.
        """
        self.join()
        if self._recorder is not None:
            batch = self._placed(batch)
        if not (taught and self._look):
            return batch, None
        t = self._look(batch.x)
        if self._recorder is not None:
            self._look.recorder.join()
        return batch, t

    def join(self) -> None:
        """What is done from here on comes after all that the workers were told to do."""
        for worker in self._workers:
            if worker.recorder is not None:
                worker.recorder.join()

    def dismiss(self) -> None:
        """Forget all workers but the teacher: nothing here keeps them in memory."""
        self._workers = [self._look] if self._look else []

    def _placed(self, batch: Batch) -> Batch:
        """A batch as large as the first one, where that one lay; another as it is."""
        if self._held is None:
            self._held = Batch(torch.clone(batch.x), torch.clone(batch.y), torch.clone(batch.index))
        elif len(batch.y) == len(self._held.y):
            for place, values in zip(parts(self._held), parts(batch), strict=True):
                place.copy_(values)
        else:
            return batch
        return self._held


def parts(batch: Batch) -> tuple[Tensor, ...]:
    """The tensors of a batch."""
    return batch.x, batch.y, batch.index
