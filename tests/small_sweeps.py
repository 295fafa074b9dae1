"""What makes a whole sweep cheap enough for a test: few images, quick costs or none, commands in this process.

Fixtures for several folders of tests, whose conftest.py imports them; and processes that start without importing torch.
"""

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmark.waiting import PREFIX

COUNT = 40  # images for training, and as many for testing


# ---- images
def digits(name="digits", root=None, download=False):
    """Stands for the bundled digits: COUNT made-up images for training and for testing, of 32 x 32 pixels."""
    from benchmark.data.datasets import make_dataset

    dice = np.random.default_rng(0)
    y = np.arange(2 * COUNT) % 10
    x = (dice.integers(0, 128, (2 * COUNT, 32, 32, 3)) + 12 * y[:, None, None, None]).astype(np.uint8)
    return make_dataset(name, tuple(map(str, range(10))), x[:COUNT], y[:COUNT], x[COUNT:], y[COUNT:])


def use_few_digits(patch):
    """The data set `digits` of this process are the made-up ones."""
    from benchmark.data import datasets

    patch.setitem(datasets.SOURCES, "digits", digits)
    datasets.load.cache_clear()


@pytest.fixture
def few_digits(monkeypatch):
    """The data set `digits` of this process, and of no other, are made-up ones."""
    from benchmark.data import datasets

    use_few_digits(monkeypatch)
    yield
    datasets.load.cache_clear()


def draw(root, seed=0, name="pets", classes=("cat", "dog"), train=12, test=5):
    """ROOT/NAME/{train,test}/<class>/*.png with random pixels: images that every process can read."""
    dice = np.random.default_rng(seed)
    for split, count in (("train", train), ("test", test)):
        for label in classes:
            folder = root / name / split / label
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.fromarray(dice.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / f"{number}.png")


# ---- costs
def skip_costs(patch):
    """Nothing is measured at the end of a sweep."""
    from benchmark.profiling import cost, deployment

    patch.setattr(cost, "measure_or_warn", lambda *_: [])
    patch.setattr(deployment, "measure", lambda *_: [])


def hurry(patch):
    """Costs are measured once each, of small batches: figures that mean nothing, quickly."""
    from benchmark.profiling import deployment, timing

    for module, least, warmup in ((timing, 1, "WARMUP_ROUNDS"), (deployment, 1, "WARMUP")):
        patch.setattr(module, "LEAST", least)
        patch.setattr(module, "SECONDS_EACH", 0.0)
        patch.setattr(module, warmup, 1)
    patch.setattr(deployment, "BATCH", 2)


@pytest.fixture
def no_costs(monkeypatch):
    """Nothing is measured at the end of a sweep of this process."""
    skip_costs(monkeypatch)


@pytest.fixture
def quick_costs(monkeypatch):
    """Costs of this process are measured once each."""
    hurry(monkeypatch)


# ---- commands
def report_here(patch):
    """The report at the end of a command is written by this process, not by one of its own."""
    from benchmark.cli import results, tuning

    def write(found, reports):
        results.report(results=found, reports=reports)
        return 0

    for module in (results, tuning):
        patch.setattr(module, "write_report", write)


@pytest.fixture
def call(monkeypatch, capsys, isolated_registry):
    """A function: arguments -> code, out, err of the command line, as `run_cli`, but in this process."""
    import torch

    from benchmark.cli import app

    report_here(monkeypatch)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))  # one process however busy the machine is

    def run(*arguments):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            app.main()
        out, err = capsys.readouterr()
        lines = [line for line in err.splitlines(keepends=True) if not line.startswith(PREFIX)]  # of a slow machine
        return SimpleNamespace(code=end.value.code or 0, out=out, err="".join(lines))

    return run


# ---- processes
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["pytest", "benchmark.cli.app", "benchmark.sweep.runner", "benchmark.profiling.cost", "benchmark.report.build"]
)


@pytest.fixture
def forked(monkeypatch):
    """The executors' processes are forks of one that has loaded torch: as clean as new ones, and there at once.

    They do not see changes of this process's environment.  Without /proc the processes are new ones after all.
    """
    from benchmark.sweep import executors

    if not Path("/proc/self/fd").exists():
        return

    def process(target, args):
        return FORKS.Process(target=beside, args=(os.getpid(), target, args))

    context = SimpleNamespace(Pipe=FORKS.Pipe, Process=process)
    monkeypatch.setattr(executors.multiprocessing, "get_context", lambda method: context)


def beside(parent, work, arguments):
    """In the child: its texts go where its parent's go, then the work."""
    for number in (1, 2):
        os.dup2(os.open(f"/proc/{parent}/fd/{number}", os.O_WRONLY | os.O_APPEND), number)
    work(*arguments)


class Process:
    """A function in a process that leads a group of its own; what it prints is in files."""

    def __init__(self, folder, work, *arguments):
        folder.mkdir(parents=True, exist_ok=True)
        self.texts = [folder / f"{time.monotonic_ns()}.{name}" for name in ("out", "err")]
        self.process = FORKS.Process(target=in_group, args=(self.texts, work, arguments))
        self.process.start()

    def wait(self, seconds=None):
        """The exit code; None: it has not ended within so many seconds."""
        self.process.join(seconds)
        return self.process.exitcode

    def kill(self):
        """Kill it and its children as kill -9 does, whatever they are doing."""
        os.killpg(self.process.pid, signal.SIGKILL)
        return self.wait()

    @property
    def errors(self):
        return self.texts[1].read_text()


def in_group(texts, work, arguments):
    """In the child: its own group, its own texts, the work."""
    os.setsid()
    for number, path in enumerate(texts, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    work(*arguments)
