"""What a person sees while a cohort trains: one live line in a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from benchmark.lane import Lane
from benchmark.run import Run
from benchmark.store import Record
from benchmark.train import Watch


class Lines(Watch):
    """Plain lines: one for each epoch, one for each run that ends."""

    def __init__(self, title: str, show=lambda line: print(line, flush=True)):
        self.title, self.show, self.started, self.first = title, show, time.monotonic(), None

    def epoch(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> None:
        self.show(f"{self.title} · {self.describe(lanes, epoch, epochs, rate)}")

    def landed(self, record: Record) -> None:
        self.show(f"{self.title} · {outcome(record)}")

    def describe(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> str:
        """Epoch, speed, the last accuracy of each lane, time left."""
        self.first = epoch - 1 if self.first is None else self.first
        left = (time.monotonic() - self.started) / (epoch - self.first) * (epochs - epoch)
        seen = " ".join(f"{lane.run.method} {lane.curve['top1'][-1]:.1%}" for lane in lanes if lane.curve["top1"])
        return f"epoch {epoch}/{epochs} · {rate:,.0f} images/s · {seen} · {clock(left)} left"


class Live(Lines):
    """One line that renews itself."""

    def __init__(self, title: str, progress: Progress):
        super().__init__(title, lambda line: progress.console.print(line, markup=False, highlight=False))
        self.progress, self.task = progress, progress.add_task(title, total=None, seen="starting")

    def epoch(self, lanes: list[Lane], epoch: int, epochs: int, rate: float) -> None:
        seen = self.describe(lanes, epoch, epochs, rate)
        self.progress.update(self.task, completed=epoch, total=epochs, seen=seen)


@contextmanager
def watch(cohort: list[Run], quiet: bool) -> Iterator[Watch]:
    """The watch that fits where the output goes."""
    teacher = next((f"{run.teacher.student}-" for run in cohort if run.teacher), "")
    students = ", ".join(dict.fromkeys(run.student for run in cohort))
    title = f"{teacher}{students} seed {cohort[0].seed}"
    console = Console()
    if quiet:
        yield Watch()
    elif not console.is_terminal:
        yield Lines(title)
    else:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(20), TextColumn("{task.fields[seen]}"))
        with Progress(*columns, console=console, transient=True) as progress:
            yield Live(title, progress)


def outcome(record: Record) -> str:
    """How a run ended, in a few words."""
    method = record.run["method"]
    if record.status == "done":
        return f"{method}: {record.score['top1']:.2%} after {record.clock['epochs']} epochs ({record.id})"
    return f"{method}: {record.status}: {record.error['message']} ({record.id})"


def clock(seconds: float) -> str:
    """3725 -> "1 h 02 min"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
