"""How batches, and what the teacher says of them, reach the lanes of a cohort.

The teacher is asked for a few batches at once: one image's answer does not depend on the others'.  Where steps are
recorded, every full batch and its answer are copied to the same place before they are shown, for a recording reads
from fixed addresses; teacher and lanes then run on streams of their own, the lanes side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Any

import torch
from torch import Tensor

from benchmark.graphs import Recorder, Steady
from benchmark.nature import Nature
from benchmark.outputs import cut, parts, twin
from methods.contract import Batch, Outputs

Look = Callable[[Tensor], Outputs]


class Belt:
    """Batches in; the same batches out, each beside the teacher's outputs.

    look: the teacher's forward pass, None without a teacher.  ahead: batches that it is asked for at once.
    recorder: makes one for each that works on its own; None where nothing is recorded.
    """

    def __init__(self, look: Look | None, ahead: int = 1, recorder: Callable[[], Recorder] | None = None):
        self._ahead, self._recorder = ahead, recorder
        self._workers: list[Steady] = []
        self._x: Tensor | None = None
        self._batch: Batch | None = None
        self._t: Outputs | None = None
        self._look = look and self.steady(look, Nature)

    def steady(self, action: Callable[..., Any], nature: Callable[[], Nature], never: str = "") -> Steady:
        """An action on what this belt brings, recorded where steps are; `never` says why it must not be."""
        worker = Steady(action, nature, self._recorder and self._recorder(), never)
        self._workers.append(worker)
        return worker

    def carry(self, batches: Iterable[Batch], taught: bool = True) -> Iterator[tuple[Batch, Outputs | None]]:
        """Each batch, and what the teacher shows for it; None if it is not `taught`.

        Both may be overwritten by the next, which waits until all workers have done with them.
        """
        source = iter(batches)
        while group := list(islice(source, self._ahead)):
            answers = self._answers(group) if taught and self._look else [None] * len(group)
            for batch, t in zip(group, answers, strict=True):
                self.join()
                yield self._placed(batch, t) if self._recorder else (batch, t)
        self.join()

    def bring(self, batch: Batch, taught: bool = True) -> tuple[Batch, Outputs | None]:
        """A single batch, as `carry` brings it."""
        return next(self.carry([batch], taught))

    def join(self) -> None:
        """What is done from here on comes after all that the workers were told to do."""
        for worker in self._workers:
            worker.join()

    def dismiss(self) -> None:
        """Forget all workers but the teacher: nothing here keeps them in memory."""
        self._workers = [self._look] if self._look else []

    def _answers(self, group: Sequence[Batch]) -> list[Outputs]:
        """What the teacher shows for each of some batches."""
        x = group[0].x if len(group) == 1 else torch.cat([batch.x for batch in group])
        if self._recorder:
            self.join()
            self._x = torch.clone(x) if self._x is None else self._x
            x = self._x.copy_(x) if self._x.shape == x.shape else x
        t = self._look(x)
        self.join()
        ends = list(accumulate(len(batch.y) for batch in group))
        return [cut(t, start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def _placed(self, batch: Batch, t: Outputs | None) -> tuple[Batch, Outputs | None]:
        """What is as large as the first batch, where that one lay; another as it is."""
        if self._batch is None:
            self._batch = Batch(torch.clone(batch.x), torch.clone(batch.y), torch.clone(batch.index))
        if len(batch.y) != len(self._batch.y):
            return batch, t
        copy(batch_parts(batch), batch_parts(self._batch))
        if t is None:
            return self._batch, None
        self._t = twin(t) if self._t is None else self._t
        copy(parts(t), parts(self._t))
        return self._batch, self._t


def batch_parts(batch: Batch) -> tuple[Tensor, ...]:
    """The tensors of a batch."""
    return batch.x, batch.y, batch.index


def copy(source: Iterable[Tensor], target: Iterable[Tensor]) -> None:
    """Values of one to the place of the other."""
    for values, place in zip(source, target, strict=True):
        place.copy_(values)
