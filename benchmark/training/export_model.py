"""A trained network as one file that torch runs without this suite: `torch.export`, logits only, any batch size.

N images in a batch · K classes
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.data import datasets
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.files import file_problem, write_atomic
from benchmark.models.net import Net, fold
from benchmark.store import Record, Store
from benchmark.training import weights

SAMPLES = (1, 5)  # batch sizes for which the file's logits are compared with the network's
TOLERANCE = 1e-3  # of the largest logit; batch norm is folded into convolutions, which rounds otherwise


class Logits(nn.Module):
    """A network reduced to what is deployed: images -> logits."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), normalised -> (N, K)."""
        return self.net(x).logits


def export_model(id: str, results: Path, data: Path, out: Path | None) -> str:
    """Write the network of a run to `out`, or RUN.pt2 here; returns the text to print.

    The file has the weights in float32, batch norm folded, and a JSON text `model.json` with classes, image size and
    the statistics that images are normalised with.  Raises BadInput.
    """
    store = Store(results)
    run = find_run(id, store)
    target = out or Path(f"{run.id}.pt2")
    check_target(target)
    info = datasets.info(run.dataset, data)
    path = store.weights(run.id)
    if path is None:
        raise BadInput(f"the weights of run {run.id} are not in {results}: train it here, or copy them to weights/")
    net = weights.load_network(path, run.student, info.classes)
    facts = {"run": run.model_dump(mode="json"), "image": [3, info.height, info.width]} | normalisation(run, data)
    exported = to_bytes(net, (info.height, info.width), facts)
    difference = compare(net, exported, (info.height, info.width))
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, exported)
    return (
        f"{target}: {run.label}, {len(exported) / 1e6:.2f} MB; its logits differ from the network's by at most "
        f"{difference:.1e}\nload it with torch.export.load({str(target)!r}).module(); images (N, 3, {info.height}, "
        f"{info.width}) are normalised as its model.json says"
    )


def check_target(path: Path) -> None:
    """Raises BadInput unless a file can be written to `path`: a new one, or one in place of a file."""
    if os.path.lexists(path) and (problem := file_problem(path)):
        raise BadInput(f"--out {path}: {problem}; name another file")
    folder = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not folder.is_dir():
        raise BadInput(f"--out {path}: {folder} is not a folder; name another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(f"--out {path}: this user may not write to {folder}; name another file")


def find_run(id: str, store: Store) -> Run:
    """The finished run whose id is, or alone begins with, `id`.  Raises BadInput."""
    found: dict[str, Record] = {key: record for key, record in store.latest().items() if key.startswith(id)}
    if len(found) != 1 or not id:
        which = f"{len(found)} runs begin with {id!r}" if found else f"no run begins with {id!r}"
        raise BadInput(f"{which} in {store.root}: give the id of one, as the report and `explain` show it")
    (record,) = found.values()
    if record.status != "done":
        raise BadInput(f"run {record.id} is {record.status}, so there is no network of it to export")
    return Run.model_validate(record.run)


def normalisation(run: Run, data: Path) -> dict[str, Any]:
    """Classes, mean and sd of each channel of pixels in 0 … 1; empty, where the data set is not there."""
    try:
        images = datasets.load_for(run, data)
    except BadInput:
        return {}
    mean, sd = images.statistics
    return {"classes": list(images.classes), "mean": list(mean), "sd": list(sd)}


@torch.no_grad()
def to_bytes(net: nn.Module, size: tuple[int, int], facts: dict[str, Any]) -> bytes:
    """A network in eval mode as an exported file, batch norm folded; size: height and width of its images."""
    quick = fold(net) if isinstance(net, Net) else net
    batch = torch.export.Dim("batch", min=1, max=1 << 20)
    example = torch.zeros(2, 3, *size)  # one image would be taken for a constant
    program = torch.export.export(Logits(quick.eval()), (example,), dynamic_shapes={"x": {0: batch}})
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"model.json": json.dumps(facts)})
    return buffer.getvalue()


@torch.no_grad()
def compare(net: nn.Module, exported: bytes, size: tuple[int, int]) -> float:
    """The largest difference between the logits of an exported file and of the network, for random images.

    Raises BadInput if they are not the same function.
    """
    loaded, largest = torch.export.load(io.BytesIO(exported)).module(), 0.0
    for count in SAMPLES:
        x = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(count))
        expected = net(x).logits
        largest = max(largest, float((loaded(x) - expected).abs().max() / expected.abs().max()))
    if largest > TOLERANCE:
        raise BadInput(f"the exported network gives other logits ({largest:.1e} of the largest); it was not kept")
    return largest
