"""From a lane to its record, and to the files beside it.

M judged images · K classes
"""

from __future__ import annotations

import io
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from benchmark import flight, made, score, size, weights
from benchmark.files import put
from benchmark.store import Record
from methods import registry

if TYPE_CHECKING:
    from benchmark.lane import Lane

ROOT = Path(__file__).parent.parent


def land(lane: Lane) -> Record:
    """Keep weights, predictions and logits; then the record; then forget the flight.  In this order nothing is lost."""
    setting, id = lane.setting, lane.run.id
    z = lane.logits  # (M, K)  of the last epoch
    setting.store.keep_weights(id, weights.pack(lane.student))
    top = z.argmax(1).numpy()  # (M,)
    right = top == setting.judged.y.cpu().numpy()  # (M,)
    put(
        setting.store.predictions(id),
        packed(top1=top.astype(np.uint8 if z.shape[1] <= 256 else np.uint16), right=right),
    )
    put(setting.store.logits(id), packed(logits=z.half().numpy()))
    record = setting.store.add(Record(status="done", score=result(lane, z), **described(lane)))
    flight.forget(lane)
    return record


def retire(lane: Lane, fault: BaseException) -> Record:
    """The record of a run that came to no result: its state, the reason, and what there was of a curve."""
    record = lane.setting.store.add(Record(status=lane.status, error=told(fault), **described(lane)))
    if lane.status != "failed":  # what failed may go on from its last checkpoint once the cause is mended
        flight.forget(lane)
    return record


def told(fault: BaseException) -> dict[str, str]:
    """An exception as a record holds it; paths within the project, not within a machine."""
    trace = "".join(traceback.format_exception(fault)).replace(f"{ROOT}/", "")
    return {"type": type(fault).__name__, "message": str(fault), "trace": trace}


def result(lane: Lane, z: Tensor) -> dict[str, Any]:
    """The `score` of a record: the last epoch's metrics, and the best epoch as an oracle."""
    teacher = lane.setting.teacher.logits if lane.run.teacher else None
    best = max(lane.curve["top1"])
    metrics = score.score(z, lane.setting.judged.y.cpu(), teacher)
    return metrics | {"best_top1": best, "best_epoch": lane.curve["top1"].index(best) + 1}


def described(lane: Lane) -> dict[str, Any]:
    """What a record says whatever the outcome."""
    run = lane.run
    return {
        "id": run.id,
        "run": run.model_dump(mode="json"),
        "curve": lane.curve,
        "size": measured(lane),
        "clock": timed(lane),
        "made": provenance(lane),
        "about": registry.about(run.method),
    }


def measured(lane: Lane) -> dict[str, Any]:
    """Sizes, as far as the lane was built."""
    if not hasattr(lane, "stages"):
        return {}
    teacher = lane.setting.teacher.net.net if lane.run.teacher else None
    image = tuple(lane.setting.data.train_x.shape[1:3])
    return size.sizes(lane.student, lane.run.student, lane.method, teacher, image)


def timed(lane: Lane) -> dict[str, Any]:
    """Seconds of the cohort's wall clock, the mean number of lanes that shared it, images per second of this lane."""
    epochs, clock = lane.epoch, dict(lane.clock)
    lanes = clock.pop("lanes") / epochs if epochs else None
    seen = epochs * len(lane.setting.learn)
    extra = lane.epochs - lane.run.recipe.epochs if hasattr(lane, "stages") else 0
    rate = seen / clock["train_s"] if clock["train_s"] else None
    return clock | {"epochs": epochs, "extra_epochs": extra, "lanes": lanes, "images_per_s": rate}


def provenance(lane: Lane) -> dict[str, Any]:
    """By what the result was made."""
    setting = lane.setting
    data = {
        "name": setting.data.name,
        "sha256": made.digest(setting.data),
        "train": len(setting.learn),
        "judged": len(setting.judged),
    }
    recording = lane.learning.told() if hasattr(lane, "learning") else None
    return (
        made.made(setting.machine)
        | ({"recording": recording} if recording else {})
        | ({"did_not_fit": list(setting.too_many)} if setting.too_many else {})
        | setting.words
        | {
            "origin": setting.origins.get(lane.run.id, {}),
            "source": registry.digest(lane.run.method),
            "data": data,
            "teacher": setting.teacher.made if lane.run.teacher else None,
            "started": lane.started,
            "ended": made.now(),
        }
    )


def packed(**arrays: np.ndarray) -> bytes:
    """Arrays as a compressed .npz: equal arrays, equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
