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

from benchmark.acceleration.cuda_graphs import GraphedFunction, Recorder
from benchmark.acceleration.guards import Guard
from benchmark.acceleration.output_cast import clone_outputs, output_tensors, slice_outputs
from methods.contract import Batch, Outputs

Forward = Callable[[Tensor], Outputs]


class BatchFeed:
    """Batches in; the same batches out, each beside the teacher's outputs.

    look: the teacher's forward pass, None without a teacher.  ahead: batches that it is asked for at once.
    recorder: makes one for each that works on its own; None where nothing is recorded.
    """

    def __init__(self, look: Forward | None, ahead: int = 1, recorder: Callable[[], Recorder] | None = None):
        self._ahead, self._recorder = ahead, recorder
        self._workers: list[GraphedFunction] = []
        self._x: Tensor | None = None
        self._batch: Batch | None = None
        self._t: Outputs | None = None
        self._forward = look and self.graphed(look, Guard)

    def graphed(self, action: Callable[..., Any], guard: Callable[[], Guard], never: str = "") -> GraphedFunction:
        """An action on what this belt brings, recorded where steps are; `never` says why it must not be."""
        worker = GraphedFunction(action, guard, self._recorder and self._recorder(), never)
        self._workers.append(worker)
        return worker

    def batches(self, batches: Iterable[Batch], taught: bool = True) -> Iterator[tuple[Batch, Outputs | None]]:
        """Each batch, and what the teacher shows for it; None if it is not `taught`.

        Both may be overwritten by the next, which waits until all workers have done with them.
        """
        source = iter(batches)
        while group := list(islice(source, self._ahead)):
            answers = self._teacher_outputs(group) if taught and self._forward else [None] * len(group)
            for batch, t in zip(group, answers, strict=True):
                self.join()
                yield self._in_static_memory(batch, t) if self._recorder else (batch, t)
        self.join()

    def one_batch(self, batch: Batch, taught: bool = True) -> tuple[Batch, Outputs | None]:
        """A single batch, as `carry` brings it."""
        return next(self.batches([batch], taught))

    def join(self) -> None:
        """What is done from here on comes after all that the workers were told to do."""
        for worker in self._workers:
            worker.join()

    def forget_lanes(self) -> None:
        """Forget all workers but the teacher: nothing here keeps them in memory."""
        self._workers = [self._forward] if self._forward else []

    def _teacher_outputs(self, group: Sequence[Batch]) -> list[Outputs]:
        """What the teacher shows for each of some batches."""
        x = group[0].x if len(group) == 1 else torch.cat([batch.x for batch in group])
        if self._recorder:
            self.join()
            self._x = torch.clone(x) if self._x is None else self._x
            x = self._x.copy_(x) if self._x.shape == x.shape else x
        t = self._forward(x)
        self.join()
        ends = list(accumulate(len(batch.y) for batch in group))
        return [slice_outputs(t, start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def _in_static_memory(self, batch: Batch, t: Outputs | None) -> tuple[Batch, Outputs | None]:
        """What is as large as the first batch, where that one lay; another as it is."""
        if self._batch is None:
            self._batch = Batch(torch.clone(batch.x), torch.clone(batch.y), torch.clone(batch.index))
        if len(batch.y) != len(self._batch.y):
            return batch, t
        copy_all(batch_tensors(batch), batch_tensors(self._batch))
        if t is None:
            return self._batch, None
        self._t = clone_outputs(t) if self._t is None else self._t
        copy_all(output_tensors(t), output_tensors(self._t))
        return self._batch, self._t


def batch_tensors(batch: Batch) -> tuple[Tensor, ...]:
    """The tensors of a batch."""
    return batch.x, batch.y, batch.index


def copy_all(source: Iterable[Tensor], target: Iterable[Tensor]) -> None:
    """Values of one to the place of the other."""
    for values, place in zip(source, target, strict=True):
        place.copy_(values)
