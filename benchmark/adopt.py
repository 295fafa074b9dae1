"""Somebody else's weights as a teacher of ours: read, kept, measured, recorded."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark import datasets, made, score, size, teacher, weights
from benchmark.accelerate import Machine, machine
from benchmark.data import splits
from benchmark.errors import BadInput
from benchmark.models import imports
from benchmark.run import Run
from benchmark.store import Record, Store


def adopt(file: Path, network: str, dataset: str, data: Path, results: Path, device: str, download: bool) -> str:
    """Keep published weights under an id of their own; returns what to say.  Raises BadInput.

    Their accuracy is measured here, from the kept file, where the data set is at hand; it is never believed.
    """
    facts = datasets.facts(dataset, data)
    net = imports.load(file, network, facts.classes)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    run = Run(dataset=dataset, student=network, method="imported", knobs={"file_sha256": sha256}, recipe=None)
    store, here = Store(results), machine(device)
    store.keep_weights(run.id, weights.pack(net))
    scores, said = measured(run, store, here, data, download)
    record = Record(
        id=run.id,
        status="done",
        run=run.model_dump(mode="json"),
        score=scores,
        size={"student": size.parameters(net), "macs": size.macs(net, facts.height, facts.width)},
        made=made.made(here) | {"file": file.name, "ended": made.now()},
        about=f"Weights imported from {file.name}, SHA-256 {sha256}.",
    )
    store.keep_teacher(store.add(record))
    return f"{network} on {dataset}: {said}\nlearn from it with --teacher {network}={run.id}"


def measured(run: Run, store: Store, here: Machine, data: Path, download: bool) -> tuple[dict | None, str]:
    """The scores of kept weights on the test images, and a sentence; None without the data set."""
    try:
        found = datasets.load(run.dataset, data, download)
    except BadInput as fault:
        return None, f"accuracy not measured: {fault}"
    judged = splits(found, "test", here.device)[1]
    kept = teacher.load(run, store, here, len(found.classes), judged)
    scores = score.score(kept.logits, judged.y.cpu())
    return scores, f"{scores['top1']:.2%} of the test images"
