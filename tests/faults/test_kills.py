"""A sweep that is killed again and again ends with the results of one that nobody disturbed, bit for bit."""

import random
import subprocess
import time

import pytest
from sweeps import finish, kill, outcome, start, unfinished

LONG = (pytest.mark.long, pytest.mark.timeout(3600))


def assert_done(code, errors):
    """A sweep has ended without a fault."""
    assert code == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "kills", [pytest.param(4, id="4 kills", marks=pytest.mark.slow), pytest.param(20, id="20 kills", marks=LONG)]
)
def test_a_sweep_that_is_killed_at_random_moments_ends_as_if_undisturbed(tmp_path, kills):
    began = time.monotonic()
    assert_done(*finish(tmp_path / "undisturbed"))
    longest = time.monotonic() - began
    expected = outcome(tmp_path / "undisturbed" / "results")
    assert len(expected) == 4, "a teacher and three students"
    moments, left, number = random.Random(0), kills, 0
    while left:
        folder = tmp_path / f"killed-{number}"
        process = start(folder)
        try:
            _, errors = process.communicate(timeout=moments.uniform(0.3, 1.0) * longest)
        except subprocess.TimeoutExpired:
            kill(process)
            left -= 1
        else:  # it got to its end: a new one
            assert_done(process.returncode, errors)
            number += 1
    if folder.exists():
        assert_done(*finish(folder))
    for folder in tmp_path.glob("killed-*"):
        assert outcome(folder / "results") == expected
        assert unfinished(folder / "results") == []
        assert (folder / "reports" / "index.html").is_file()
