"""Records of runs: made from the state of a lane and written with the files beside them.

M evaluation images · K classes
"""

from __future__ import annotations

import io
import traceback
from typing import Any

import numpy as np
from torch import Tensor

from benchmark.files import write_atomic
from benchmark.privacy import without_places
from benchmark.store import Record
from benchmark.training import checkpoint, metrics, model_size, provenance, weights
from benchmark.training.state import LaneState
from methods import registry


def write_result(state: LaneState) -> Record:
    """Write weights, predictions, logits, then the record, then delete the checkpoint.

    In this order an interruption at any point loses nothing.
    """
    context, id = state.context, state.run.id
    z = state.logits  # (M, K)  after the last epoch
    context.store.keep_weights(id, weights.to_bytes(state.student))
    top = z.argmax(1).numpy()  # (M,)
    correct = top == context.eval_split.y.cpu().numpy()  # (M,)
    write_atomic(
        context.store.predictions(id),
        npz_bytes(top1=top.astype(np.uint8 if z.shape[1] <= 256 else np.uint16), right=correct),
    )
    write_atomic(context.store.logits(id), npz_bytes(logits=z.half().numpy()))
    record = context.store.add(Record(status="done", score=score_fields(state, z), **common_fields(state)))
    checkpoint.remove(state)
    return record


def write_failure(state: LaneState, fault: BaseException) -> Record:
    """Write the record of a run without a result: its status, the error, and the curve so far."""
    record = state.context.store.add(Record(status=state.status, error=error_fields(fault), **common_fields(state)))
    if state.status != "failed":  # a failed run can resume from its checkpoint once the cause is removed
        checkpoint.remove(state)
    return record


def error_fields(fault: BaseException) -> dict[str, str]:
    """The `error` of a record: an exception, without what names the user, the host or their folders."""
    trace = "".join(traceback.format_exception(fault))
    try:
        message = str(fault)
    except Exception:  # noqa: BLE001  a plug-in's own exception
        message = "its message cannot be shown"
    return {"type": type(fault).__name__, "message": without_places(message), "trace": without_places(trace)}


def score_fields(state: LaneState, z: Tensor) -> dict[str, Any]:
    """The `score` of a record: metrics of the last epoch, and the best epoch with its accuracy (an oracle)."""
    teacher = state.context.teacher.logits if state.run.teacher else None
    best = max(state.curve["top1"])
    last_epoch = metrics.all_metrics(z, state.context.eval_split.y.cpu(), teacher)
    return last_epoch | {"best_top1": best, "best_epoch": state.curve["top1"].index(best) + 1}


def common_fields(state: LaneState) -> dict[str, Any]:
    """The fields that every record has, with a result or without."""
    run = state.run
    return {
        "id": run.id,
        "run": run.model_dump(mode="json"),
        "curve": state.curve,
        "size": lane_sizes(state),
        "clock": clock_fields(state),
        "made": provenance_fields(state),
        "about": registry.docstring(run.method),
    }


def lane_sizes(state: LaneState) -> dict[str, Any]:
    """The `size` of a record; empty if the lane was not set up, or failed with networks that cannot be counted."""
    if not state.stages:
        return {}
    teacher = (state.run.teacher.student, state.context.teacher.net.net) if state.run.teacher else None
    image = tuple(state.context.data.train_x.shape[1:3])
    try:
        return model_size.size_fields(state.student, state.run.student, state.method, teacher, image)
    except Exception:  # a method may have broken the networks before it raised
        if state.status == "done":
            raise
        return {}


def clock_fields(state: LaneState) -> dict[str, Any]:
    """The `clock` of a record: seconds of wall-clock time of the cohort, and the mean number of lanes that shared them.

    images_per_s counts the images that this run trained on, each epoch anew.
    """
    epochs, clock = state.epoch, dict(state.clock)
    lanes = clock.pop("lanes") / epochs if epochs else None
    images = epochs * len(state.context.train_split)
    extra = state.epochs - state.run.recipe.epochs if state.stages else 0
    rate = images / clock["train_s"] if clock["train_s"] else None
    return clock | {"epochs": epochs, "extra_epochs": extra, "lanes": lanes, "images_per_s": rate}


def provenance_fields(state: LaneState) -> dict[str, Any]:
    """The `made` of a record: the environment, code, data and teacher behind the result."""
    context = state.context
    data = {
        "name": context.data.name,
        "sha256": provenance.dataset_hash(context.data),
        "train": len(context.train_split),
        "judged": len(context.eval_split),
    }
    recording = state.graphed_step.summary() if state.graphed_step else None
    return (
        provenance.environment(context.machine)
        | ({"recording": recording} if recording else {})
        | ({"did_not_fit": list(context.did_not_fit)} if context.did_not_fit else {})
        | context.record_fields
        | {
            "origin": context.origins.get(state.run.id, {}),
            "source": state.source,
            "data": data,
            "teacher": context.teacher.provenance if state.run.teacher else None,
            "started": state.started,
            "ended": provenance.now(),
        }
    )


def npz_bytes(**arrays: np.ndarray) -> bytes:
    """Arrays as a compressed .npz file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
