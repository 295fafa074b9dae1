"""What a training tells those who watch it, and how they end it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.store import Record

if TYPE_CHECKING:
    from benchmark.training.lane import Lane


class Callback:
    """Receives the events of a training.  This one ignores them."""

    def on_epoch_end(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> None:
        """Called after epoch number `epoch` of `epochs`; rate: images per second of each lane."""

    def on_run_end(self, record: Record) -> None:
        """Called when a run has ended, with a result or without."""

    def reason_to_stop(self) -> str:
        """Called after each epoch: a reason ends the training there, with checkpoints; "" lets it go on."""
        return ""


class Stopped(KeyboardInterrupt):
    """A limit, not a fault, has ended a training before its last epoch; like Ctrl-C, it is no result of any run."""
