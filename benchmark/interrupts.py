"""Signals that end a command: Ctrl-C and SIGTERM, which batch systems send; the exit code and the sentence of each."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STOPPED = 130  # exit code of a command that ended early and can be continued; also what Typer makes of Ctrl-C
SENTENCE = "stopped; run the same command again to continue from the last checkpoint"


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """In this block SIGTERM acts like Ctrl-C, but its exit code is 143; both end the process with a sentence."""
    received: list[int] = []

    def terminate(number: int, _: object) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # a second one must not disturb the clean-up
        received.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        print(SENTENCE, file=sys.stderr)
        raise SystemExit(128 + received[0] if received else STOPPED) from None
