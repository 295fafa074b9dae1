"""The papers' claims, tested numerically on the features of trained networks.

examine(runs, options) measures each pair of a suite and writes results/features/<dataset>-<teacher>-<student>-<6 hex>
                       .json  every number; what the clock said stands apart, under `clock`
                       .npz   small arrays for the report's pictures
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.acceleration import machine
from benchmark.data import datasets
from benchmark.data.split import make_splits
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.files import write_atomic
from benchmark.store import Store, json_safe
from benchmark.theory import features
from benchmark.theory.measure import BASE, KERNEL, PLANES, Study, costs, measure
from benchmark.theory.pairs import Pair, file_stem, label, missing_weights_lines, pairs_of, title
from benchmark.training import provenance
from benchmark.training.record import npz_bytes

if TYPE_CHECKING:
    from benchmark.sweep.runner import Options

SCHEMA = 1


def examine(runs: Sequence[Run], options: Options) -> str:
    """Measure every pair among the runs; returns what to print.  Raises BadInput when a teacher's weights are gone."""
    store = Store(options.results)
    pairs = pairs_of(runs, store)
    if not pairs:
        raise BadInput("no run of this choice learns from a teacher: there is no pair to examine")
    for pair in pairs:
        if store.weights(pair.teacher.id) is None:
            raise BadInput(
                f"the weights of teacher {pair.teacher.student} ({pair.teacher.id}) are not in {store.root}: "
                "train it with `run`, or import them"
            )
    here, lines = machine.machine(options.device, "fp32"), []
    for pair in pairs:
        lines.append(f"{title(pair)}: {len(pair.runs)} of {len(pair.runs) + len(pair.lacking)} students have weights")
        if pair.runs:
            lines += measure_pair(pair, store, here, options)
        lines += [f"  left out: {line}" for line in missing_weights_lines(pair, store.latest(), options)]
    return "\n".join(lines)


# ---- one pair
def measure_pair(pair: Pair, store: Store, here: machine.Machine, options: Options) -> list[str]:
    """Measure a pair and write its files; returns what to print."""
    started, run = time.perf_counter(), pair.runs[0]
    data = datasets.load(run.dataset, options.data)
    where = features.evaluation_set(store, here, make_splits(data, run.judge, here.device)[1], data)
    found = measure(pair, where)
    counted, timed = costs(pair, where)
    numbers = (
        fields(pair, where, provenance.environment(here), provenance.dataset_hash(data))
        | found.numbers()
        | {"cost": counted}
    )
    numbers["clock"] = {
        "seconds": time.perf_counter() - started,
        "ended": provenance.now(),
        "about": "loss forward and backward alone, best of several, measured here on "
        f"{provenance.device_name(here.device)}",
        "losses": timed,
    }
    folder = store.root / "features"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(json_safe(rounded(numbers)), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    write_atomic(folder / f"{file_stem(pair)}.npz", npz_bytes(**found.arrays))
    return report_lines(pair, found, write_atomic(folder / f"{file_stem(pair)}.json", text.encode()))


def fields(pair: Pair, where: features.EvaluationSet, made_by: dict[str, Any], digest: str) -> dict[str, Any]:
    """What was measured, on what, by what."""
    run, latest = pair.runs[0], where.store.latest()
    records = {r.id: latest[r.id].name for r in (pair.teacher, *pair.runs) if r.id in latest}
    return {
        "schema": SCHEMA,
        "dataset": run.dataset,
        "pair": {"teacher": pair.teacher.student, "student": pair.student},
        "protocol": {
            "judge": run.judge,
            "recipe": run.recipe.model_dump(mode="json"),
            "seed": run.seed,
            "precision": "fp32",
            "images": len(where.eval_split),
            "images_in_kernels": min(KERNEL, len(where.eval_split)),
            "planes": PLANES,
            "landmarks": "class means of each network’s own features over the judged images",
            "eps": "the larger of both networks’ measured ‖K - C W⁺ Cᵀ‖_F",
            "data_sha256": digest,
        },
        "teacher": {"id": pair.teacher.id, "record": records.get(pair.teacher.id)},
        "runs": [
            {"id": r.id, "record": records.get(r.id), "label": label(r), "method": r.method, "knobs": r.knobs}
            for r in pair.runs
        ],
        "made": made_by,
    }


def report_lines(pair: Pair, found: Study, path: Path) -> list[str]:
    """A line a run, the verdicts, and where the numbers are."""
    names, lines = {run.id: label(run) for run in pair.runs}, []
    direction = {one["id"]: one for one in found.hashing}
    for one, near in zip(found.kernel, found.likeness, strict=True):
        own = direction[one["id"]]
        angle = own.get("skipped") or f"{own['angle']:.1f}° off, {own['ratio']:.2f} as long"
        kernel = f"kernel error {one['embedding']['raw']:.3f} before, {one['logits']['raw']:.3f} after the classifier"
        lines.append(f"  {names[one['id']]}: {angle}; {kernel}; likeness {near['before']:.2f} -> {near['after']:.2f}")
    for one in found.verdicts:
        for claim, word in (("direction", "mimics direction better"), ("length", "leaves length freer")):
            lines.append(f"  {names[one['id']]} {word} than {names[one['base']]}: {one[claim]['verdict']} here")
    if not found.verdicts:
        lines.append(f"  hashing beside none: not compared, no two kept runs differ in `variant` ({BASE}) alone")
    lines += [f"  {one}" for one in bound_lines(found)]
    return [*lines, f"  written: {path}, {path.with_suffix('.npz').name}"]


def bound_lines(found: Study) -> list[str]:
    """How often each reading of the bound held, with its premise and without."""
    lines = []
    for premise in (True, False):
        own = [one for one in found.bound if one["premise"] is premise]
        if own:
            held = [sum(one[f"{word}_holds"] for one in own) for word in ("printed", "corrected")]
            state = "holds" if premise else "fails"
            lines.append(f"bound where its premise {state}: as printed {held[0]}, corrected {held[1]} of {len(own)}")
    return lines


def rounded(value: Any) -> Any:
    """The same value, floats to six digits: what differs beyond is the processor's."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float | np.floating) else value
