"""A sweep that is killed again and again ends with the results of one that nobody disturbed, bit for bit."""

import random
import time

import pytest
from sweeps import outcome, start, unfinished

LONG = (pytest.mark.long, pytest.mark.timeout(3600))


def begin(folder):
    """A sweep that is about to train or has begun to: what it will do is written down."""
    plan = folder / "results" / "checkpoints" / "plan.json"
    plan.unlink(missing_ok=True)
    process = start(folder)
    while not plan.exists() and process.wait(0) is None:
        time.sleep(0.01)
    return process


def assert_done(process):
    """A sweep has ended without a fault."""
    assert process.wait() == 0, process.errors
    assert "Traceback" not in process.errors


@pytest.mark.parametrize("kills", [pytest.param(2, id="2 kills"), pytest.param(20, id="20 kills", marks=LONG)])
def test_a_sweep_that_is_killed_at_random_moments_ends_as_if_undisturbed(tmp_path, kills):
    process = begin(tmp_path / "undisturbed")
    began = time.monotonic()
    assert_done(process)
    longest = time.monotonic() - began
    expected = outcome(tmp_path / "undisturbed" / "results")
    assert len(expected) == 4, "a teacher and three students"
    moments, left, number = random.Random(0), kills, 0
    while left:
        folder = tmp_path / f"killed-{number}"
        process = begin(folder)
        if process.wait(moments.uniform(0.1, 0.9) * longest) is None:
            process.kill()
            left -= 1
        else:  # it got to its end: a new one
            assert_done(process)
            number += 1
    if folder.exists():
        assert_done(start(folder))
    for folder in tmp_path.glob("killed-*[0-9]"):
        assert outcome(folder / "results") == expected
        assert unfinished(folder / "results") == []
        assert (folder / "reports" / "index.html").is_file()
