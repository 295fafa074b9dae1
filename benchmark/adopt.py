"""Somebody else's weights as a teacher of ours: read, kept, measured, recorded."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark import datasets, made, score, size, teacher, weights
from benchmark.accelerate import machine
from benchmark.data import splits
from benchmark.models import imports
from benchmark.run import Run
from benchmark.store import Record, Store


def adopt(file: Path, network: str, dataset: str, data: Path, results: Path, device: str, download: bool) -> str:
    """Keep published weights under an id of their own; returns what to say.  Raises BadInput.

    The accuracy is measured here, from the kept file, not believed: the data set has to be there.
    """
    facts = datasets.facts(dataset, data)
    net = imports.load(file, network, facts.classes)
    found = datasets.load(dataset, data, download)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    run = Run(dataset=dataset, student=network, method="imported", knobs={"file_sha256": sha256}, recipe=None)
    store, here = Store(results), machine(device)
    store.keep_weights(run.id, weights.pack(net))
    judged = splits(found, "test", here.device)[1]
    kept = teacher.load(run, store, here, facts.classes, judged)
    record = Record(
        id=run.id,
        status="done",
        run=run.model_dump(mode="json"),
        score=score.score(kept.logits, judged.y.cpu()),
        size={"student": size.parameters(net), "macs": size.macs(net, facts.height, facts.width)},
        made=made.made(here) | {"file": file.name, "ended": made.now()},
        about=f"Weights imported from {file.name}, SHA-256 {sha256}.",
    )
    store.keep_teacher(store.add(record))
    top1 = record.score["top1"]
    return f"{network}: {top1:.2%} on {dataset}; learn from it with --teacher {network}={run.id}"
