"""Progress display for a running cohort: a live line in a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from benchmark.experiment.run import Run
from benchmark.store import Record
from benchmark.sweep.load import load_warning
from benchmark.training.lane import Lane
from benchmark.training.loop import Callback


class PlainProgress(Callback):
    """Prints one line for each epoch and one for each run that ends."""

    def __init__(self, title: str, show=lambda line: print(line, flush=True)):
        self.title, self.show, self.started, self.first_epoch = title, show, time.monotonic(), None

    def on_epoch_end(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> None:
        self.show(f"{self.title} · {self.describe(lanes, epoch, epochs, rate)}")
        self.show_load(lanes)

    def on_run_end(self, record: Record) -> None:
        self.show(f"{self.title} · {outcome(record)}")

    def show_load(self, lanes: list[Lane]) -> None:
        """Print once that other programs slow down the training, and what to do."""
        warning = load_warning(lanes[0].context.machine.device)
        if warning:
            self.show(f"{self.title} · {warning}")

    def describe(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> str:
        """The epoch, images per second, the latest accuracy of each lane, and the estimated time left."""
        self.first_epoch = epoch - 1 if self.first_epoch is None else self.first_epoch
        left = (time.monotonic() - self.started) / (epoch - self.first_epoch) * (epochs - epoch)
        scores = " ".join(f"{lane.run.method} {lane.curve['top1'][-1]:.1%}" for lane in lanes if lane.curve["top1"])
        return f"epoch {epoch}/{epochs} · {rate:,.0f} images/s · {scores} · {format_duration(left)} left"


class LiveProgress(PlainProgress):
    """One line with a bar, redrawn after each epoch."""

    def __init__(self, title: str, progress: Progress):
        super().__init__(title, lambda line: progress.console.print(line, markup=False, highlight=False))
        self.progress, self.task = progress, progress.add_task(title, total=None, status="starting")

    def on_epoch_end(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> None:
        status = self.describe(lanes, epoch, epochs, rate)
        self.progress.update(self.task, completed=epoch, total=epochs, status=status)
        self.show_load(lanes)


@contextmanager
def progress_display(cohort: list[Run], quiet: bool) -> Iterator[Callback]:
    """A callback that suits the output: live in a terminal, plain lines elsewhere, silent if `quiet`."""
    teacher = next((f"{run.teacher.student}-" for run in cohort if run.teacher), "")
    students = ", ".join(dict.fromkeys(run.student for run in cohort))
    title = f"{teacher}{students} seed {cohort[0].seed}"
    console = Console()
    if quiet:
        yield Callback()
    elif not console.is_terminal:
        yield PlainProgress(title)
    else:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(20), TextColumn("{task.fields[status]}"))
        with Progress(*columns, console=console, transient=True) as progress:
            yield LiveProgress(title, progress)


def outcome(record: Record) -> str:
    """One line about how a run ended: its accuracy, or its status and the reason."""
    method = record.run["method"]
    if record.status == "done":
        return f"{method}: {record.score['top1']:.2%} after {record.clock['epochs']} epochs ({record.id})"
    return f"{method}: {record.status}: {record.error['message']} ({record.id})"


def format_duration(seconds: float) -> str:
    """Seconds as text: 3725 -> "1 h 02 min"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
