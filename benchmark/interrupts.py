"""Signals that end a command: Ctrl-C and SIGTERM, which batch systems send; the exit code and the sentence of each.

A signal raises KeyboardInterrupt, so that claims are given up and other processes ended.  There are two places where
Python or a library would lose that exception, and the process ends at once there, leaving no more than kill -9 leaves:
imports, where any exception may be turned into another, and destructors, where Python drops it.

This is imported before anything else, and imports nearly nothing itself: an earlier signal ends the process without a
sentence, as Python does.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

STOPPED = 130  # exit code of a command that ended early and can be continued; also what Typer makes of Ctrl-C
SENTENCE = "stopped; run the same command again to continue from the last checkpoint"
USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}  # a background job ignores SIGINT


def run_interruptible(work: Callable[[], None]) -> None:
    """Run a command, which Ctrl-C and SIGTERM end with a sentence and the exit codes 130 and 143."""
    received: list[int] = []
    codes: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)  # a second one must not disturb the clean-up
        if is_importing(frame):
            end_now(128 + number)
        sys.unraisablehook = end_if_dropped
        raise KeyboardInterrupt

    def end_if_dropped(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            end_now(128 + received[0])
        sys.__unraisablehook__(dropped)

    # The first function that is registered is the last to be called.  Python itself would end with SIGINT once a
    # KeyboardInterrupt has been raised in `exec`, as of a dataclass, whoever caught it.
    atexit.register(lambda: leave(codes[0]) if codes else None)
    try:
        for number, usual in USUAL.items():
            if signal.getsignal(number) == usual:
                signal.signal(number, receive)
        work()
    except KeyboardInterrupt:
        for number in USUAL:
            signal.signal(number, signal.SIG_IGN)
        print(SENTENCE, file=sys.stderr)
        codes.append(128 + received[0] if received else STOPPED)
        raise SystemExit(codes[0]) from None


def is_importing(frame: FrameType | None) -> bool:
    """Whether a frame is within the import of a module."""
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def end_now(code: int) -> None:
    """End this process with the sentence, from within a signal handler, which may have interrupted a `print`."""
    os.write(2, f"{SENTENCE}\n".encode())
    leave(code)


def leave(code: int) -> None:
    """End this process without anything that Python does at its end, except that what was printed is written."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, RuntimeError, ValueError, AttributeError):  # closed, or interrupted in a `print`
            stream.flush()
    os._exit(code)
