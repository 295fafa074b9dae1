"""The warning that other programs use the processor, from counters that the tests write."""

import os
from types import SimpleNamespace

import pytest
import torch

from benchmark.sweep import load, progress
from benchmark.sweep.load import Counters, LoadWatch, read_counters

STAT = """cpu  999 9 9 9 9 9 9 9 9 9
cpu0 100 20 30 4000 500 6 7 8 50 20
cpu1 200 0 0 900 0 0 0 0 0 0
cpu2 7777 0 0 0 0 0 0 0 0 0
intr 12345
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux has these counters")
def test_the_counters_are_those_of_the_cores_that_this_process_may_use(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    (tmp_path / "stat").write_text(STAT)
    found = read_counters(tmp_path / "stat")
    assert found.busy == pytest.approx((100 + 20 + 30 + 6 + 7 + 8 + 200) / 100)  # all but idle, waiting and guests
    assert found.cores == 2


def test_where_there_are_no_counters_nothing_is_said(tmp_path):
    assert read_counters(tmp_path / "nothing") is None
    assert LoadWatch(lambda: None).warning(2) == ""


def watch(*readings, cores=2):
    """A watch that reads (wall, busy, own) in turn."""
    left = [Counters(*reading, cores) for reading in readings]
    return LoadWatch(lambda: left.pop(0))


def test_the_sentence_has_the_cores_that_others_use_and_the_remedy_and_comes_once():
    found = watch((0, 0, 0), (20, 40, 16), (40, 80, 32))
    sentence = found.warning(2)
    assert sentence.startswith("other programs use 1.2 of 2 cores")  # (40 - 16) / 20
    assert "start it again" in sentence
    assert found.warning(2) == ""


@pytest.mark.parametrize(
    ("readings", "threads", "cores"),
    [
        ([(0, 0, 0), (20, 40, 38)], 2, 2),  # this process alone is busy, others hardly
        ([(0, 0, 0), (5, 10, 2)], 2, 2),  # the time is too short to tell
        ([(0, 0, 0), (20, 40, 16)], 1, 2),  # one thread waits for no other
        ([(0, 0, 0), (20, 80, 40)], 2, 8),  # there is room for both
    ],
)
def test_nothing_is_said_without_a_reason(readings, threads, cores):
    assert watch(*readings, cores=cores).warning(threads) == ""


def test_a_short_time_is_added_to_the_next():
    found = watch((0, 0, 0), (6, 12, 3), (12, 24, 6))
    assert found.warning(2) == ""
    assert found.warning(2) != ""


@pytest.mark.parametrize(("device", "lines"), [("cpu", ["pair · others are busy"]), ("cuda", [])])
def test_the_progress_shows_the_sentence_for_a_training_on_the_cpu(monkeypatch, device, lines):
    monkeypatch.setattr(load, "load_watch", lambda: SimpleNamespace(warning=lambda threads: "others are busy"))
    machine = SimpleNamespace(device=torch.device(device))
    lane = SimpleNamespace(run=None, curve={"top1": []}, context=SimpleNamespace(machine=machine))
    shown = []
    progress.PlainProgress("pair", shown.append).on_epoch_end([lane], 1, 2, 100.0)
    assert shown[1:] == lines
