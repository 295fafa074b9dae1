"""Ctrl-C and SIGTERM end a command with a sentence and a code of their own, and lose nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_sweeps import draw

from benchmark.store import Store

ROOT = Path(__file__).parents[2]
ARGUMENTS = ("run", "digits", "-m", "ce", "--seeds", "0", "--epochs", "400", "--precision", "fp32")


def start(tmp_path, *arguments):
    """A command in a process of its own, with signals as a shell leaves them."""
    command = [sys.executable, "-m", "benchmark", *arguments, "--results", tmp_path / "r", "--reports", tmp_path / "p"]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_while_training_ends_with_a_sentence_and_a_checkpoint_is_used_again(tmp_path, number, code):
    draw(tmp_path / "data")
    process = start(tmp_path, *ARGUMENTS, "--dataset", "folder:pets", "--data", tmp_path / "data")
    for line in process.stdout:
        if "epoch 2/" in line:
            break
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert "stopped; run the same command again to continue from the last checkpoint" in err
    assert "Traceback" not in err and list(Store(tmp_path / "r").records()) == []
    assert not list((tmp_path / "r" / "claims").glob("*.lock"))


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5])
def test_a_signal_during_start_up_is_no_traceback(tmp_path, seconds):
    process = start(tmp_path, *ARGUMENTS)
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    codes = (143, -signal.SIGTERM, -signal.SIGINT)  # the second before Python has started the program; the third
    assert process.returncode in codes, err  # after a KeyboardInterrupt in an `exec`, whatever it was turned into
    assert "Traceback" not in err
