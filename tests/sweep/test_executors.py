"""Where jobs are done: here or in processes of their own; one bad job sinks no other."""

import os
from pathlib import Path

import pytest

from benchmark.sweep.executors import dispatch


def write(job):
    """Leave a file that says what this job saw."""
    path, text = job
    Path(path).write_text(text)


def act(job):
    """Write, raise or die, as the job says."""
    _, deed = job
    if deed == "raise":
        raise ValueError("the third wheel is missing")
    if deed == "die":
        os._exit(9)
    write(job)


def tell_device(job):
    Path(job).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))


@pytest.mark.parametrize("executor", ["here", "spawn"])
def test_every_job_is_done_once(executor, tmp_path):
    jobs = [(tmp_path / str(i), f"job {i}") for i in range(3)]
    assert dispatch(write, jobs, executor, ["", ""]) == [None] * 3
    assert [(tmp_path / str(i)).read_text() for i in range(3)] == ["job 0", "job 1", "job 2"]


@pytest.mark.parametrize("executor", ["here", "spawn"])
def test_a_job_that_raises_is_told_in_its_place_and_sinks_no_other(executor, tmp_path):
    jobs = [(tmp_path / "a", "write"), (tmp_path / "b", "raise"), (tmp_path / "c", "write")]
    first, second, third = dispatch(act, jobs, executor, [""])
    assert first is None
    assert third is None
    assert "the third wheel is missing" in second
    assert (tmp_path / "a").exists()
    assert (tmp_path / "c").exists()


def test_a_process_that_dies_is_told_with_its_exit_code_and_sinks_no_other(tmp_path):
    jobs = [(tmp_path / "a", "die"), (tmp_path / "b", "write")]
    first, second = dispatch(act, jobs, "spawn", [""])
    assert "9" in first
    assert second is None
    assert (tmp_path / "b").exists()


def test_a_process_sees_the_one_device_it_was_given(tmp_path):
    dispatch(tell_device, [tmp_path / "seen"], "spawn", ["3"])
    assert (tmp_path / "seen").read_text() == "3"


def test_without_jobs_nothing_is_done():
    assert dispatch(act, [], "here", [""]) == dispatch(act, [], "spawn", [""]) == []


def test_ctrl_c_is_not_taken_for_a_fault():
    def interrupt(job):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dispatch(interrupt, [1, 2], "here", [""])
