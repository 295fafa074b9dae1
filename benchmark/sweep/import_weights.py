"""Import of published weights as a teacher: read, stored, evaluated and recorded."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark.acceleration.machine import Machine, machine
from benchmark.data import datasets
from benchmark.data.split import make_splits
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.models import imports
from benchmark.store import Record, Store
from benchmark.training import metrics, model_size, provenance, teacher, weights


def import_weights(
    file: Path, network: str, dataset: str, data: Path, results: Path, device: str, download: bool
) -> str:
    """Store published weights under an id of their own; returns the text to print.  Raises BadInput.

    Their accuracy is measured here from the stored file, if the data set is available; a published number is not used.
    """
    info = datasets.info(dataset, data)
    net = imports.load(file, network, info.classes)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    knobs, content = {"file_sha256": sha256}, datasets.content(dataset, data)
    run = Run(dataset=dataset, content=content, student=network, method="imported", knobs=knobs, recipe=None)
    store, here = Store(results), machine(device)
    store.keep_weights(run.id, weights.to_bytes(net))
    scores, sentence = measure_accuracy(run, store, here, data, download)
    record = Record(
        id=run.id,
        status="done",
        run=run.model_dump(mode="json"),
        score=scores,
        size={
            "student": model_size.count_parameters(net),
            "macs": model_size.count_macs(net, info.height, info.width),
        },
        provenance=provenance.environment(here) | {"file": file.name, "ended": provenance.now()},
        about=f"Weights imported from {file.name}, SHA-256 {sha256}.",
    )
    store.keep_teacher(store.add(record))
    return f"{network} on {dataset}: {sentence}\nuse it as a teacher with --teacher {network}={run.id}"


def measure_accuracy(run: Run, store: Store, here: Machine, data: Path, download: bool) -> tuple[dict | None, str]:
    """The scores of stored weights on the test images, and a sentence about them; None without the data set."""
    try:
        images = datasets.load_for(run, data, download)
    except BadInput as fault:
        return None, f"accuracy not measured: {fault}"
    test_split = make_splits(images, "test", here.device)[1]
    stored = teacher.load(run, store, here, len(images.classes), test_split)
    scores = metrics.all_metrics(stored.logits, test_split.y.cpu())
    return scores, f"accuracy {scores['top1']:.2%} on the test images"
