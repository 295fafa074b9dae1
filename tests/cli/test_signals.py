"""Ctrl-C and SIGTERM end a command with a sentence and a code of their own, and lose nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_sweeps import draw

from benchmark.interrupts import SENTENCE
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
    assert SENTENCE in err
    assert "Traceback" not in err and list(Store(tmp_path / "r").records()) == []
    assert not list((tmp_path / "r" / "claims").glob("*.lock"))


def wait_for_handlers(process):
    """Wait until a process handles SIGTERM, which Python by itself leaves to the system."""
    status, bit = Path(f"/proc/{process.pid}/status"), 1 << (signal.SIGTERM - 1)
    while True:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) & bit:
            return
        time.sleep(0.001)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="handlers are looked up in /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 1.8, 2.5])
def test_a_signal_at_any_moment_after_the_first_import_ends_with_its_code_and_the_sentence(
    tmp_path, number, code, seconds
):
    process = start(tmp_path, *ARGUMENTS)
    wait_for_handlers(process)
    time.sleep(seconds)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert err.count(SENTENCE) == 1 and "Traceback" not in err


@pytest.mark.parametrize("seconds", [0.0, 0.02])
def test_a_signal_before_the_first_import_is_pythons_own_or_ours_and_no_traceback(tmp_path, seconds):
    process = start(tmp_path, *ARGUMENTS)
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode in (143, -signal.SIGTERM), err
    assert "Traceback" not in err


PROGRAM = """
import os, sys, time
from benchmark.interrupts import run_interruptible

def strike():
    os.kill(os.getpid(), int(sys.argv[1]))
    time.sleep(1)

class Destroyed:
    def __del__(self):
        strike()

def work():
    print("unwritten until the end")
    {what}
    time.sleep(60)

if __name__ == "__main__":
    run_interruptible(work)
"""
SWALLOWING = """
import __main__
try:
    __main__.strike()
except BaseException:
    raise ImportError("as a library that loads another") from None
"""
DEEDS = {
    "in exec, after which Python would end with SIGINT": "exec('strike()')",
    "in an import that makes another exception of it": "import swallowing",
    "in a destructor, where exceptions are dropped": "Destroyed()",
}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("deed", DEEDS)
def test_where_python_or_a_library_would_lose_the_exception_the_code_and_the_sentence_are_the_same(
    tmp_path, number, code, deed
):
    (tmp_path / "program.py").write_text(PROGRAM.format(what=DEEDS[deed]))
    (tmp_path / "swallowing.py").write_text(SWALLOWING)
    done = subprocess.run(
        [sys.executable, "-m", "program", str(int(number))],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "unwritten until the end\n", f"{SENTENCE}\n")
