"""Feeds batches, and the teacher's outputs for them, to the lanes of a cohort.

The teacher's forward pass runs on a few batches at once, because its outputs for an image do not depend on the others
(but for last bits, where a product rounds differently at another size: the groups of a device have one size).

Where steps are recorded, the teacher and each lane have a CUDA stream of their own, and recordings read from fixed
addresses.  The teacher computes the outputs for the next group of batches while the lanes train on this one; when all
have finished, its outputs are copied out of the place where it writes them.  Each full batch, with its part of the
outputs, is then copied to the place that the lanes read.  A measurement that compares the time of a step with those of
its parts asks for batches without this overlap.

What is guaranteed: on a CPU lanes train the same, bit for bit, in any company, and replayed steps (tested with a
stand-in for CUDA's recorder) equal those that are called.  On CUDA in fp32 the same kernels run with the same inputs in
either case, and deterministic ones are chosen where torch has them; operations that it lists as nondeterministic are
the exceptions.  In bf16 on CUDA nothing of this is claimed: cuDNN picks kernels by timing them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, islice
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from benchmark.acceleration.cuda_graphs import Recorder
from benchmark.acceleration.graphed_function import GraphedFunction, Guard
from benchmark.acceleration.output_cast import clone_outputs, output_tensors, slice_outputs
from methods.contract import Batch, Outputs

Forward = Callable[[Tensor], Outputs]
Group = Sequence[Batch]  # batches that the teacher's forward pass runs on at once
Pending = tuple[Tensor, Outputs]  # images of a group and the teacher's outputs, which may still be computed


class BatchFeed:
    """Batches in; the same batches out, each with the teacher's outputs.

    forward: the teacher's forward pass, None without a teacher.  ahead: batches in a group.  recorder: makes the
    recorder of the teacher and of each lane; None where nothing is recorded.
    """

    def __init__(self, forward: Forward | None, ahead: int = 1, recorder: Callable[[], Recorder] | None = None):
        self._ahead, self._recorder = ahead, recorder
        self._lanes: WeakSet[GraphedFunction] = WeakSet()
        self._x: Tensor | None = None  # where the teacher reads the images of a group
        self._group_t: Outputs | None = None  # its outputs for the group that lanes train on
        self._batch: Batch | None = None  # where lanes read a batch
        self._t: Outputs | None = None  # where lanes read the outputs for it
        self.teacher = forward and self._graphed(forward, Guard)

    def graphed(self, step: Callable[..., Any], guard: Callable[[], Guard], never: str = "") -> GraphedFunction:
        """A lane's step, recorded where steps are; `never`: why it must not be.  The feed does not keep it alive."""
        lane = self._graphed(step, guard, never)
        self._lanes.add(lane)
        return lane

    def _graphed(self, function: Callable[..., Any], guard: Callable[[], Guard], never: str = "") -> GraphedFunction:
        recorder = self._recorder and self._recorder()
        return GraphedFunction(function, guard, recorder, never, alone=partial(at_most_one_open, self._lanes))

    def batches(
        self, batches: Iterable[Batch], taught: bool = True, overlap: bool = True
    ) -> Iterator[tuple[Batch, Outputs | None]]:
        """Each batch and the teacher's outputs for it; None for these if it is not `taught`.

        Both may be overwritten when the next batch is requested, after all lanes have finished with them.
        overlap: whether the teacher computes beside the lanes where steps are recorded; elsewhere it never does.
        """
        source = iter(batches)
        groups = iter(lambda: list(islice(source, self._ahead)), [])
        taught = taught and self.teacher is not None
        if self._recorder:
            yield from (self._in_parallel if overlap else self._in_order)(groups, taught)
            return
        for group in groups:
            yield from zip(group, split(group, self.teacher(joined(group)) if taught else None), strict=True)

    def _in_parallel(self, groups: Iterator[Group], taught: bool) -> Iterator[tuple[Batch, Outputs | None]]:
        """As `batches`, the teacher being one group ahead of the lanes."""
        self._join_lanes()  # an iteration that was broken off may have left some busy
        group = next(groups, None)
        pending = self._start_teacher(group) if group and taught else None
        while group:
            outputs = split(group, self._finish_teacher(pending) if pending else None)
            following, pending = next(groups, None), None
            pending = self._start_teacher(following) if following and taught else None
            for batch, t in zip(group, outputs, strict=True):
                self._join_lanes()
                yield self._in_static_memory(batch, t)
            self._join_lanes()  # before anything that they read is freed
            group = following

    def _in_order(self, groups: Iterator[Group], taught: bool) -> Iterator[tuple[Batch, Outputs | None]]:
        """As `batches`, the teacher and the lanes never computing at the same time."""
        for group in groups:
            self._join_lanes()
            outputs = split(group, self._finish_teacher(self._start_teacher(group)) if taught else None)
            for batch, t in zip(group, outputs, strict=True):
                self._join_lanes()
                yield self._in_static_memory(batch, t)
        self._join_lanes()  # before anything that they read is freed

    def _join_lanes(self) -> None:
        """Make the current stream wait for all lanes' calls so far."""
        for lane in self._lanes:
            lane.join()

    def _start_teacher(self, group: Group) -> Pending:
        """Launch the teacher's forward pass for a group, after the one before has finished."""
        self.teacher.join()
        x = joined(group)
        self._x = torch.clone(x) if self._x is None else self._x
        x = self._x.copy_(x) if self._x.shape == x.shape else x
        return x, self.teacher(x)

    def _finish_teacher(self, pending: Pending) -> Outputs:
        """The outputs for a group, once computed, where the next forward pass does not write."""
        x, t = pending
        self.teacher.join()
        if x is not self._x:
            return t
        if self._group_t is None:
            self._group_t = clone_outputs(t)
        else:
            copy_all(output_tensors(t), output_tensors(self._group_t))
        return self._group_t

    def _in_static_memory(self, batch: Batch, t: Outputs | None) -> tuple[Batch, Outputs | None]:
        """A copy in the place that lanes read, if it is as large as the first batch; another one as it is."""
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


def at_most_one_open(lanes: Iterable[GraphedFunction]) -> bool:
    """Whether all but one of some lanes have been closed."""
    return sum(not lane.closed for lane in lanes) <= 1


def joined(group: Group) -> Tensor:
    """The images of some batches in one tensor."""
    return group[0].x if len(group) == 1 else torch.cat([batch.x for batch in group])


def split(group: Group, t: Outputs | None) -> list[Outputs | None]:
    """The outputs for each batch of a group; nothing is copied."""
    if t is None:
        return [None] * len(group)
    ends = list(accumulate(len(batch.y) for batch in group))
    return [slice_outputs(t, start, end) for start, end in zip([0, *ends], ends, strict=False)]


def batch_tensors(batch: Batch) -> tuple[Tensor, ...]:
    """The tensors of a batch."""
    return batch.x, batch.y, batch.index


def copy_all(source: Iterable[Tensor], target: Iterable[Tensor]) -> None:
    """Copy the values of some tensors to others."""
    for values, place in zip(source, target, strict=True):
        place.copy_(values)
