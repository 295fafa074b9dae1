"""Checks of what goes wrong on a GPU while steps are recorded: it must not disturb anything else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmark.acceleration.cuda_graphs import Recorder, allocator_is_stuck
from benchmark.doctor.finding import Finding
from benchmark.doctor.gpu_training import BUG, METHOD, SAME, as_alone, comparison, learners, replay
from benchmark.doctor.workload import Workload, state, unlike, with_recorder
from benchmark.training.context import Context
from benchmark.training.lane import Lane
from benchmark.training.loop import steps, train

RECORDERS = 40  # more than the 32 streams that torch has: some are shared


class FailingRecorder:
    """A recorder whose first recordings fail in `fault`, which runs while CUDA records; `left`: how many, shared."""

    def __init__(self, recorder: Recorder, fault: Callable[[], Any], left: list[int]):
        self._recorder, self._fault, self._left = recorder, fault, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._recorder, name)

    def capture(self, action: Callable[[], Any]) -> Any:
        """As Recorder's."""
        if not self._left[0]:
            return self._recorder.capture(action)
        self._left[0] -= 1

        def failing() -> Any:
            result = action()
            self._fault()
            return result

        return self._recorder.capture(failing)


def wait_for(device: torch.device) -> None:
    """Wait for the device, which CUDA cannot record."""
    torch.ones((), device=device).item()


def exhaust(device: torch.device) -> None:
    """Ask for more memory than any device has: a petabyte."""
    torch.empty(1 << 50, dtype=torch.uint8, device=device)


def failed_recording(work: Workload) -> Finding:
    """Whether everything goes on after two recordings that had to fail: in the lanes, and beside and after them."""
    left = [2]

    here = work.machine("fp32")
    here = with_recorder(here, lambda recorder: FailingRecorder(recorder, partial(wait_for, here.device), left))
    lanes = work.train_together(here, learners(4))
    found = as_alone("failed recording", work, lanes, "fp32")
    reasons = [lane.graphed_step.reason for lane in lanes if lane.graphed_step.reason]
    value = f"{len(reasons)} of {len(lanes)} lanes not recorded: {'; '.join(sorted(set(reasons)))}; {found.value}"
    after = replay(work, METHOD, "fp32")
    ok = found.ok and left == [0] and (after.ok or allocator_is_stuck())
    advice = "use torch 2.13 or newer: older ones record nothing after a recording that failed"
    return Finding(found.name, f"{value}; afterwards: {after.value}", ok, "" if after.ok else advice if ok else BUG)


def memory_runs_out(work: Workload) -> Finding:
    """Whether a cohort whose memory runs out while a step is recorded is halved, ends, and leaves the right weights."""
    left = [1]

    cohort, here = [work.run(method) for method in learners(4)], work.machine("fp32")
    here = with_recorder(here, lambda recorder: FailingRecorder(recorder, partial(exhaust, here.device), left))
    disturbed, plain = work.context(here), work.context(work.machine("fp32", graphs=False))
    records = train(cohort, disturbed)
    train(cohort, plain)
    ended = sorted({record.status for record in records})
    odd = [run.method for run in cohort if weight_bytes(disturbed, run.id) != weight_bytes(plain, run.id)]
    ok = ended == ["done"] and not odd and left == [0]
    value = f"lanes {', '.join(ended)}; {SAME if not odd else 'other weights: ' + ', '.join(odd)} as launched"
    return Finding("memory runs out", value, ok, "" if ok else BUG)


def weight_bytes(context: Context, id: str) -> bytes | None:
    """The file of weights that a run has left; None if there is none."""
    path = context.store.weights(id)
    return path and path.read_bytes()


# ---- many recorders
def many_recorders(work: Workload) -> Finding:
    """Whether a lane that replays is not disturbed by forty recorders that are made, used and given up beside it."""
    here, method, used = work.machine("fp32"), METHOD, 0
    lane = Lane(work.run(method), work.context(here))
    lane.setup()
    total = torch.zeros((), device=here.device)
    for epoch in range(lane.epochs):
        lane.begin_epoch(epoch)
        for _ in steps([lane], epoch):
            if used < RECORDERS and lane.graphed_step.recorded:
                record_once(here.recorder(), total)
                used += 1
        lane.end_epoch(1.0, 1)
    alone, _ = work.train(work.machine("fp32", graphs=False), method)
    odd = unlike(state(lane), state(alone))
    value = f"{used} recorders beside a lane: {comparison(odd)}; their sum is {total.item():.0f}"
    ok = not odd and used == RECORDERS and total.item() == RECORDERS
    return Finding("many recorders", value, ok, "" if ok else BUG)


def record_once(recorder: Recorder, total: torch.Tensor) -> None:
    """Record the addition of 1 to `total`, replay it once, and give the recorder up."""
    with recorder.on_own_stream():
        replay_addition, _ = recorder.capture(lambda: total.add_(1))
        replay_addition()
    recorder.join()
    del replay_addition  # the graph, before the stream that it was recorded on
    recorder.close()
