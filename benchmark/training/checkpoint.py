"""Checkpoints: the state of a run at the end of an epoch.  A run resumed from one continues bit for bit."""

from __future__ import annotations

import io
import pickle

import torch

from benchmark.files import write_atomic
from benchmark.training.state import LaneState
from methods import registry


def save(state: LaneState) -> None:
    """Write everything that the next epoch depends on, in one atomic step."""
    values = {
        "source": registry.digest(state.run.method),
        "epoch": state.epoch,
        "curve": state.curve,
        "clock": state.clock,
        "student": state.student.state_dict(),
        "method": state.method.state_dict(),
        "optimiser": state.optimiser.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(values, buffer)
    write_atomic(state.context.store.checkpoint(state.run.id), buffer.getvalue())


def load(state: LaneState) -> bool:
    """Restore a run from its checkpoint; False if there is none that fits.

    A checkpoint that is damaged, or was written by other code of the method, is ignored: the run starts anew.
    """
    path = state.context.store.checkpoint(state.run.id)
    try:
        values = torch.load(path, map_location=state.context.machine.device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return False
    if values["source"] != registry.digest(state.run.method):
        return False
    state.student.load_state_dict(values["student"])
    state.method.load_state_dict(values["method"])
    state.restore_optimiser(values["optimiser"])
    state.epoch, state.curve = values["epoch"], values["curve"]
    state.clock = values["clock"] | {"resumed": values["clock"]["resumed"] + 1}
    return True


def remove(state: LaneState) -> None:
    """Delete the checkpoint of a run that has ended."""
    state.context.store.checkpoint(state.run.id).unlink(missing_ok=True)
