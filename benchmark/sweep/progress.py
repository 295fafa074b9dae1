"""Progress display for a running cohort: a live line in a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from benchmark.errors import printable
from benchmark.experiment.knobs import resolve_knobs
from benchmark.experiment.run import Run
from benchmark.report.formatting import count_of, format_value
from benchmark.store import Record
from benchmark.sweep.load import load_warning
from benchmark.training.lane import Lane
from benchmark.training.loop import Callback


class PlainProgress(Callback):
    """Prints one line for each epoch and one for each run that ends."""

    def __init__(self, title: str, show=lambda line: print(line, flush=True)):
        self.title, self.started, self.first_epoch = title, time.monotonic(), None
        self.show = lambda line: show(printable(line))  # messages of exceptions may hold codes of terminals

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
        scored = [lane for lane in lanes if lane.curve["top1"]]
        scores = " ".join(f"{setting(lane.run.method, lane.run.knobs)} {lane.curve['top1'][-1]:.1%}" for lane in scored)
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
    first = next((run for run in cohort if run.teacher), cohort[0])
    teacher = f"{first.teacher.student}-" if first.teacher else ""
    students = ", ".join(dict.fromkeys(run.student for run in cohort))
    title = f"{teacher}{students} {first.seed_label}"
    console = Console()
    if quiet:
        yield Callback()
    elif not console.is_terminal:
        yield PlainProgress(title)
    else:
        status = TextColumn("{task.fields[status]}", markup=False)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(20), status)
        with Progress(*columns, console=console, transient=True) as progress:
            yield LiveProgress(title, progress)


def outcome(record: Record) -> str:
    """One line about how a run ended: its accuracy, or its status and the reason."""
    method = setting(record.run["method"], record.run.get("knobs") or {})
    if record.status == "done":
        return f"{method}: {record.score['top1']:.2%} after {count_of(record.clock['epochs'], 'epoch')} ({record.id})"
    return f"{method}: {record.status}: {record.error['message']} ({record.id})"


def run_label(run: Run) -> str:
    """A run's label with the knobs that are not at their defaults, so that two settings of a method look different."""
    return f"{run.networks} {setting(run.method, run.knobs)} {run.seed_label}"


def setting(method: str, knobs: Mapping[str, Any]) -> str:
    """A method with those of its knobs that are not at their defaults: "lsh (hashes 1024)"."""
    usual = default_knobs(method)
    changed = [f"{knob} {format_value(value)}" for knob, value in knobs.items() if value != usual.get(knob)]
    return printable(f"{method} ({', '.join(changed)})" if changed else method)


@cache
def default_knobs(method: str) -> dict[str, Any]:
    """The knobs of a method at their defaults; empty for a method that is not registered in this process."""
    try:
        return resolve_knobs(method, {})
    except ValueError:
        return {}


def format_duration(seconds: float) -> str:
    """Seconds as text: 3725 -> "1 h 02 min"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
