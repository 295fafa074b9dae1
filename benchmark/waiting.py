"""Says what a program is doing where a user would otherwise wait without a word."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

PATIENCE_S = 3.0  # what takes less needs no word
PREFIX = "working: "


@contextmanager
def say_if_slow(what: str, seconds: float | None = None) -> Iterator[None]:
    """Context that prints one line to stderr if it lasts for more than `seconds`, by default PATIENCE_S."""
    wait = PATIENCE_S if seconds is None else seconds
    timer = Timer(wait, lambda: print(f"{PREFIX}{what} …", file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
