"""Runs under way, kept at ends of epochs so that a kill loses little.  Restored, they go on bit for bit."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING

import torch

from benchmark.files import put
from methods import registry

if TYPE_CHECKING:
    from benchmark.lane import Lane


def save(lane: Lane) -> None:
    """Keep all that the next epoch depends on, in one step."""
    state = {
        "source": registry.digest(lane.run.method),
        "epoch": lane.epoch,
        "curve": lane.curve,
        "clock": lane.clock,
        "student": lane.student.state_dict(),
        "method": lane.method.state_dict(),
        "optimiser": lane.optimiser.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    put(lane.setting.store.flight(lane.run.id), buffer.getvalue())


def resume(lane: Lane) -> bool:
    """Put a lane where its flight was left; False when there is none that fits.

    A flight that is damaged, or was flown by other code of the method, is left aside: the run starts anew.
    """
    path = lane.setting.store.flight(lane.run.id)
    try:
        state = torch.load(path, map_location=lane.setting.machine.device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return False
    if state["source"] != registry.digest(lane.run.method):
        return False
    lane.student.load_state_dict(state["student"])
    lane.method.load_state_dict(state["method"])
    lane.optimiser = lane.new_optimiser()
    lane.optimiser.load_state_dict(state["optimiser"])
    lane.epoch, lane.curve = state["epoch"], state["curve"]
    lane.clock = state["clock"] | {"resumed": state["clock"]["resumed"] + 1}
    return True


def forget(lane: Lane) -> None:
    """Remove a flight that has landed."""
    lane.setting.store.flight(lane.run.id).unlink(missing_ok=True)
