"""Numerical tests of the papers' claims on features of trained networks; the command `theory`.

examine(runs, options) measures each pair of a suite and writes results/features/<dataset>-<teacher>-<student>-<6 hex>
                       .json  every number; measured times are kept apart from the others, under `clock`
                       .npz   small arrays for the report's figures
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
from benchmark.theory.measure import BASE, KERNEL_IMAGES, PLANES, Measurement, costs, measure
from benchmark.theory.pairs import Pair, file_stem, label, missing_weights_lines, pairs_of, title
from benchmark.training import provenance
from benchmark.training.record import npz_bytes

if TYPE_CHECKING:
    from benchmark.sweep.runner import Options

SCHEMA = 1


def examine(runs: Sequence[Run], options: Options) -> str:
    """Measure every pair among the runs; returns the text to print.  Raises BadInput if a teacher has no weights."""
    store = Store(options.results)
    pairs = pairs_of(runs, store)
    if not pairs:
        raise BadInput(
            "none of the selected runs has a teacher, so there is no pair to examine: select a method that needs one"
        )
    for pair in pairs:
        if store.weights(pair.teacher.id) is None:
            raise BadInput(
                f"the weights of teacher {pair.teacher.student} ({pair.teacher.id}) are not in {store.root}: "
                "train it with `run`, or import them"
            )
    here, lines = machine.machine(options.device, "fp32"), []
    for pair in pairs:
        lines.append(f"{title(pair)}: {len(pair.runs)} of {len(pair.all_runs)} students have weights")
        if pair.runs:
            lines += measure_pair(pair, store, here, options)
        lines += [f"  left out: {line}" for line in missing_weights_lines(pair, store.latest(), options)]
    return "\n".join(lines)


# ---- one pair
def measure_pair(pair: Pair, store: Store, here: machine.Machine, options: Options) -> list[str]:
    """Measure a pair and write its two files; returns the lines to print."""
    started, run = time.perf_counter(), pair.runs[0]
    data = datasets.load_for(run, options.data)
    evaluation = features.evaluation_set(store, here, make_splits(data, run.judge, here.device)[1], data)
    found = measure(pair, evaluation)
    counted, timed = costs(pair, evaluation)
    numbers = (
        fields(pair, evaluation, provenance.environment(here), provenance.dataset_hash(data))
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


def fields(pair: Pair, evaluation: features.EvaluationSet, made_by: dict[str, Any], digest: str) -> dict[str, Any]:
    """The fields of the file besides the numbers: pair, protocol, records of the networks, provenance."""
    run, latest = pair.runs[0], evaluation.store.latest()
    records = {r.id: latest[r.id].name for r in (pair.teacher, *pair.runs) if r.id in latest}
    return {
        "schema": SCHEMA,
        "dataset": run.data_label,
        "pair": {"teacher": pair.teacher.student, "student": pair.student},
        "protocol": {
            "judge": run.judge,
            "recipe": run.recipe.model_dump(mode="json"),
            "seed": run.seed,
            "precision": "fp32",
            "images": len(evaluation.eval_split),
            "images_in_kernels": min(KERNEL_IMAGES, len(evaluation.eval_split)),
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


def report_lines(pair: Pair, found: Measurement, path: Path) -> list[str]:
    """What the command prints: a line for each run, the verdicts, the bounds, and the files written."""
    names, lines = {run.id: label(run) for run in pair.runs}, []
    direction = {one["id"]: one for one in found.hashing}
    for kernel, similarity in zip(found.kernel, found.likeness, strict=True):
        own = direction[kernel["id"]]
        parts = [
            own.get("skipped") or f"mean angle to the teacher {own['angle']:.1f}°, ratio of lengths {own['ratio']:.2f}",
            f"kernel error {kernel['embedding']['raw']:.3f} before, {kernel['logits']['raw']:.3f} after the classifier",
            f"similarity error {similarity['before']:.2f} untrained, {similarity['after']:.2f} trained",
        ]
        lines.append(f"  {names[kernel['id']]}: {'; '.join(parts)}")
    for one in found.verdicts:
        for claim, text in (
            ("direction", "is closer to the teacher in direction"),
            ("length", "is farther from it in length"),
        ):
            sentence = f"{names[one['id']]} {text} than {names[one['base']]}"
            lines.append(f"  {sentence}: {one[claim]['verdict']} here")
    if not found.verdicts:
        lines.append(
            f"  the hashing term was not compared: no two of these runs differ only in `variant` ({BASE} has none)"
        )
    lines += [f"  {one}" for one in bound_lines(found)]
    return [*lines, f"  written: {path}, {path.with_suffix('.npz').name}"]


def bound_lines(found: Measurement) -> list[str]:
    """How often each version of the bound holds, with its premise and without."""
    lines = []
    for premise in (True, False):
        own = [one for one in found.bound if one["premise"] is premise]
        if own:
            printed, corrected = (sum(one[f"{version}_holds"] for one in own) for version in ("printed", "corrected"))
            state = "holds" if premise else "fails"
            lines.append(
                f"of {len(own)} bounds whose premise {state}, {printed} hold as printed and {corrected} as corrected"
            )
    return lines


def rounded(value: Any) -> Any:
    """The same value with floats rounded to six digits; further digits depend on the processor."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float | np.floating) else value
