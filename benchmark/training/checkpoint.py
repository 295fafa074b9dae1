"""Checkpoints: the state of a run at the end of an epoch.  A run resumed from one continues bit for bit.

A file begins with HEADER and the SHA-256 of the rest, which is an archive of torch without code; files of the earlier
format are the archive alone.  The checkpoint before the last one is kept beside it, for when the last is damaged.
"""

from __future__ import annotations

import hashlib
import io
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.acceleration.device import is_sticky
from benchmark.files import read_errors, write_atomic, write_errors
from benchmark.training.state import LaneState

HEADER = b"kd checkpoint 1\n"
DIGEST_BYTES = 32  # of SHA-256
ARCHIVE = b"PK\x03\x04"  # how an archive of torch begins
FIELDS = ("source", "epoch", "curve", "clock", "student", "method", "optimiser")
FOLDERS = ("checkpoints", "weights", "predictions", "logits", "records")  # where files of a run are written


class UnusableCheckpoint(ValueError):
    """A checkpoint from which its run cannot go on; the message is the end of a sentence."""


def save(state: LaneState) -> None:
    """Write everything that the next epoch depends on, in one atomic step.  Raises WriteError."""
    values = {
        "source": state.source,
        "epoch": state.epoch,
        "curve": state.curve,
        "clock": state.clock,
        "student": state.student.state_dict(),
        "method": state.method.state_dict(),
        "optimiser": state.optimiser.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(values, buffer)
    archive = buffer.getvalue()
    last, previous = files(state)
    with write_errors(previous):
        if last.exists():
            last.replace(previous)
    write_atomic(last, b"".join((HEADER, hashlib.sha256(archive).digest(), archive)))


def files(state: LaneState) -> tuple[Path, Path]:
    """Where the last checkpoint of a run is kept, and the one before it."""
    last = state.context.store.checkpoint(state.run.id)
    return last, last.with_name(f"{state.run.id}.previous.pt")


def load(state: LaneState) -> None:
    """Restore a run from its last usable checkpoint, if there is one; the lane must be set up.

    Those that are damaged, or do not fit the code as it is now, are renamed, with a sentence on stderr.
    Raises ReadError for one that may not be read: it may be whole, so nothing is renamed or trained anew.
    """
    remove_unfinished(state)
    unusable: dict[Path, str] = {}
    for path in filter(is_there, files(state)):
        try:
            restore(state, read(path, state.context.machine.device))
        except UnusableCheckpoint as fault:
            unusable[path] = str(fault)
        else:
            break
    if unusable:
        set_aside(unusable, state)


def is_there(path: Path) -> bool:
    """Whether there is a file.  Raises ReadError where that cannot be seen."""
    with read_errors(path):
        try:
            return stat.S_ISREG(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False


def read(path: Path, device: torch.device) -> Any:
    """The values in a checkpoint's file, tensors on the device.  No code in it runs.

    Raises ReadError, and UnusableCheckpoint for what is no checkpoint.
    """
    with read_errors(path):
        data = path.read_bytes()
    if data.startswith(HEADER):
        archive = data[len(HEADER) + DIGEST_BYTES :]
        if hashlib.sha256(archive).digest() != data[len(HEADER) : len(HEADER) + DIGEST_BYTES]:
            raise UnusableCheckpoint("it is incomplete, or its bytes have changed")
    elif data.startswith(ARCHIVE):
        archive = data
    else:
        raise UnusableCheckpoint("it is damaged, or was written by another version of this program")
    try:
        return torch.load(io.BytesIO(archive), map_location=device, weights_only=True)
    except Exception as fault:  # of many types, for bytes that have changed
        if isinstance(fault, torch.OutOfMemoryError) or is_sticky(fault):
            raise
        raise UnusableCheckpoint(f"torch {torch.__version__} cannot read it ({type(fault).__name__})") from fault


def restore(state: LaneState, values: Any) -> None:
    """Go on from the values of a checkpoint.  Raises UnusableCheckpoint, before anything is changed."""
    missing = [name for name in FIELDS if name not in values] if isinstance(values, dict) else list(FIELDS)
    if missing:
        raise UnusableCheckpoint(f"it has no {missing[0]!r}")
    if values["source"] != state.source:
        raise UnusableCheckpoint("the code of its method has changed since")
    compare("student", state.student.state_dict(), values["student"])
    compare("method", state.method.state_dict(), values["method"])
    epoch, curve, clock = values["epoch"], values["curve"], values["clock"]
    try:
        if not len(curve["top1"]) == epoch < state.epochs:
            raise ValueError(f"{epoch} epochs")
        clock = clock | {"resumed": clock["resumed"] + 1}
        state.restore_optimiser(values["optimiser"])
    except (KeyError, TypeError, ValueError) as fault:
        raise UnusableCheckpoint(f"its progress or optimiser is another one's ({type(fault).__name__})") from fault
    state.student.load_state_dict(values["student"])
    state.method.load_state_dict(values["method"])
    state.epoch, state.curve, state.clock = epoch, curve, clock


def compare(owner: str, own: Mapping[str, Any], other: Any) -> None:
    """Raises UnusableCheckpoint unless the tensors of a checkpoint have the names and shapes of a module's own."""
    other = other if isinstance(other, Mapping) else {}
    for name in (*own, *other):
        found, expected = shape_in(other, name), shape_in(own, name)
        if found != expected:
            raise UnusableCheckpoint(f"{owner}.{name} is {found} there and {expected} here")


def shape_in(tensors: Mapping[str, Any], name: str) -> str:
    """The shape of a tensor, "absent" if there is none of that name; what is no tensor has the shape "a value"."""
    if name not in tensors:
        return "absent"
    return str(tuple(tensors[name].shape)) if isinstance(tensors[name], Tensor) else "a value"


def set_aside(unusable: Mapping[Path, str], state: LaneState) -> None:
    """Rename checkpoints from which a run cannot go on, and say what happens instead."""
    for path in unusable:
        with write_errors(path):
            path.replace(path.with_name(f"{path.name}.damaged"))
    reasons = "; ".join(f"checkpoint {path} cannot be used: {why}" for path, why in unusable.items())
    start = f"goes on from epoch {state.epoch} of the one before" if state.epoch else "starts anew"
    print(f"{reasons}; renamed to *.damaged, and {state.run.label} {start}", file=sys.stderr)


def remove_unfinished(state: LaneState) -> None:
    """Delete the incomplete files of this run that a process left when it was killed."""
    for folder in FOLDERS:
        for path in (state.context.store.root / folder).glob(f".{state.run.id}[.-]*"):
            with write_errors(path):
                path.unlink(missing_ok=True)


def remove(state: LaneState) -> None:
    """Delete the checkpoints of a run that has ended."""
    for path in files(state):
        with write_errors(path):
            path.unlink(missing_ok=True)
