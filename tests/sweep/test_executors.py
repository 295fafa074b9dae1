"""Executors run jobs here or in separate processes; a job that fails does not stop the others."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from small_sweeps import Process

from benchmark.sweep.executors import describe_exit, dispatch


def write(job):
    """Leave a file with the job's text."""
    path, text = job
    Path(path).write_text(text)


def act(job):
    """Write, raise or die, as the job says."""
    _, deed = job
    if deed == "raise":
        raise ValueError("the third wheel is missing\nand the fourth")
    if deed == "raise much":
        raise ValueError("wheel\n" * 100_000)  # more than a pipe holds
    if deed == "sticky":
        raise torch.AcceleratorError("CUDA error: device-side assert triggered\nFor debugging consider ...")
    if deed == "die":
        os._exit(9)
    if deed in ("SIGTERM", "SIGKILL"):
        os.kill(os.getpid(), signal.Signals[deed])
        time.sleep(600)
    write(job)


def tell_device(job):
    Path(job).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))


def tell_process(job):
    Path(job).write_text(str(os.getpid()))


def tell_process_and_wait(job):
    tell_process(job)
    time.sleep(600)


@pytest.mark.parametrize("executor", ["here", "spawn"])
def test_every_job_is_done_once(executor, forked, tmp_path):
    jobs = [(tmp_path / str(i), f"job {i}") for i in range(3)]
    assert dispatch(write, jobs, executor, ["", ""]) == [None] * 3
    assert [(tmp_path / str(i)).read_text() for i in range(3)] == ["job 0", "job 1", "job 2"]


@pytest.mark.parametrize("executor", ["here", "spawn"])
def test_a_job_that_raises_is_reported_in_its_place_and_stops_no_other(executor, forked, tmp_path):
    jobs = [(tmp_path / "a", "write"), (tmp_path / "b", "raise"), (tmp_path / "c", "write")]
    first, second, third = dispatch(act, jobs, executor, [""])
    assert first is None
    assert third is None
    assert (second.error["type"], second.error["message"]) == ("ValueError", "the third wheel is missing")
    assert "and the fourth" in second.error["trace"]
    assert not second.lost
    assert (tmp_path / "a").exists()
    assert (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        ("die", "its process ended with exit code 9"),
        ("SIGTERM", "its process ended with exit code 130"),
        ("SIGKILL", "its process was ended by signal SIGKILL"),
        ("sticky", "CUDA error: device-side assert triggered"),
    ],
)
def test_a_process_that_dies_or_loses_its_device_is_reported_as_lost_and_stops_no_other(
    deed, message, forked, tmp_path
):
    first, second = dispatch(act, [(tmp_path / "a", deed), (tmp_path / "b", "write")], "spawn", [""])
    assert first.error["message"].startswith(message)
    assert first.lost
    assert second is None
    assert (tmp_path / "b").exists()


def test_a_long_report_of_a_child_does_not_block_it(forked, tmp_path):
    (fault,) = dispatch(act, [(tmp_path / "a", "raise much")], "spawn", [""])
    assert fault.error["message"] == "wheel"
    assert len(fault.error["trace"]) > 500_000


def test_a_process_sees_the_one_device_it_was_given(tmp_path):
    devices = ["3", "GPU-5f8a1c"]
    dispatch(tell_device, [tmp_path / "first", tmp_path / "second"], "spawn", devices)
    assert {(tmp_path / name).read_text() for name in ("first", "second")} == set(devices)


def test_on_a_gpu_every_job_has_a_process_of_its_own_and_on_a_cpu_none_has(forked, tmp_path):
    places = [tmp_path / "a", tmp_path / "b"]
    dispatch(tell_process, places, "here", ["0"])
    assert len({path.read_text() for path in places} | {str(os.getpid())}) == 3
    dispatch(tell_process, places, "here", [""])
    assert {path.read_text() for path in places} == {str(os.getpid())}


def test_without_jobs_nothing_is_done():
    assert dispatch(act, [], "here", [""]) == dispatch(act, [], "spawn", [""]) == []


def test_ctrl_c_is_not_taken_for_a_fault():
    def interrupt(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dispatch(interrupt, [1, 2], "here", [""])


def is_running(process):
    """Whether a process of this number exists and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def be_parent(place):
    """A process with a child that waits."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it
    try:
        dispatch(tell_process_and_wait, [place], "here", ["0"])
    except KeyboardInterrupt:
        sys.exit(130)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGKILL, -9)])
def test_a_child_does_not_outlive_its_parent(number, code, tmp_path):
    parent = Process(tmp_path, be_parent, tmp_path / "child")
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        assert parent.wait(0) is None, parent.errors
        time.sleep(0.05)
    child = int((tmp_path / "child").read_text())
    assert is_running(child)
    os.kill(parent.process.pid, number)
    assert parent.wait(300) == code
    patience = time.monotonic() + 300
    while is_running(child) and time.monotonic() < patience:
        time.sleep(0.05)
    assert not is_running(child)


def test_an_exit_code_is_put_into_words():
    assert describe_exit(3) == "ended with exit code 3"
    assert describe_exit(-11) == "was ended by signal SIGSEGV"
    assert "memory" in describe_exit(-9)
    assert describe_exit(None) == "does not answer and does not end"
