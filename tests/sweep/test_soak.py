"""A long sweep in one process: memory, file handles and threads do not grow with the number of runs."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.data import datasets
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.store import Store
from benchmark.sweep import cohort, runner
from benchmark.sweep.options import Options

PAGE = os.sysconf("SC_PAGE_SIZE")


def make_images(folder):
    """A data set of two classes with 32 images of 16 x 16 pixels each, and 8 for testing."""
    dice = np.random.default_rng(0)
    for part, count in (("train", 32), ("test", 8)):
        for name in ("dark", "light"):
            place = folder / "tiny" / part / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = dice.integers(0, 128, (16, 16, 3)) + (128 if name == "light" else 0)
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")


def usage():
    """Memory of this process in KiB, its open files, its threads."""
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1024
    return resident, len(os.listdir("/proc/self/fd")), threading.active_count()


def soak(tmp_path, monkeypatch, seeds):
    """Train two methods with each seed, one cohort after another; the usage after each cohort, (cohorts, 3)."""
    make_images(tmp_path / "data")
    found, train_claimed = [], cohort.train_claimed

    def and_measure(*arguments):
        train_claimed(*arguments)
        found.append(usage())

    monkeypatch.setattr(cohort, "train_claimed", and_measure)
    choices = Choices(methods=("ce", "kd"), dataset="folder:tiny", seeds=f"0-{seeds - 1}", epochs=1, precision="fp32")
    runs = load_suite("digits", choices, lambda name: datasets.content(name, tmp_path / "data"))
    options = Options("digits", tmp_path / "results", tmp_path / "data", device="cpu", quiet=True)
    assert runner.run(runs, options) == []
    assert len(Store(options.results).latest()) == 2 * seeds + 1
    return np.array(found, dtype=float)


@pytest.mark.timeout(7200)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux has these counters")
@pytest.mark.parametrize(
    ("seeds", "most"),
    [(15, 400), pytest.param(1000, 8, marks=pytest.mark.long)],
)
def test_memory_handles_and_threads_do_not_grow_with_the_number_of_runs(tmp_path, monkeypatch, capsys, seeds, most):
    found = soak(tmp_path, monkeypatch, seeds)
    settled = found[len(found) // 3 :]  # after the caches have been filled
    memory, handles, threads = (np.polyfit(np.arange(len(settled)), column, 1)[0] / 2 for column in settled.T)
    with capsys.disabled():
        print(f"\n{2 * seeds} runs: {memory:.2f} KiB, {handles:.4f} handles, {threads:.4f} threads more per run")
    assert memory < most  # KiB
    assert abs(handles) < 0.01 and abs(threads) < 0.01
