"""The table of networks as they are deployed, a table for each device, from the records of kind "deployment"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from benchmark.experiment.run import Run
from benchmark.record import Record
from benchmark.report.formatting import MISSING, slug
from benchmark.report.tables.table import Table, TableCell, TableLine, device_text
from benchmark.store import Store

PRECISIONS = ("fp32", "bf16")
HEADS = (
    "data set", "parameters", "MACs", "weights file, fp16",
    *(f"{what} {precision}" for precision in PRECISIONS for what in ("ms an image", "images/s")),
)  # fmt: skip


def deployment_tables(store: Store) -> list[Table]:
    """A table for each device, its networks by data set and size."""
    devices: dict[str, list[Record]] = {}
    for record in store.records("deployment"):
        devices.setdefault(str(record.provenance.get("device")), []).append(record)
    return [deployment_table(device, records) for device, records in sorted(devices.items())]


def deployment_table(device: str, records: Iterable[Record]) -> Table:
    """The table of one device."""
    ordered = sorted(records, key=lambda r: (r.run["dataset"], -r.size["student"], r.run["student"]))
    rows = [(network_label(record), *figures(record)) for record in ordered]
    return Table(
        name=f"deployment-{slug(device)}",
        title=f"Deployment · {device_text(device)}",
        caption=(
            f"{device_text(device)}. Networks as deployed: no teacher, batch norm folded where that is exact. One "
            "image at a time (latency), and batches of 256 (throughput): medians, whose spread is not recorded. "
            "Weights file: safetensors as this benchmark keeps it, in float16 whatever the network computes in, batch "
            "norm not folded."
        ),
        heads=HEADS,
        lines=tuple(TableLine(name, tuple(map(TableCell, texts(*rest)))) for name, *rest in rows),
        head="network",
        tidy=pd.DataFrame(rows, columns=["network", *HEADS]),
    ).concise("not measured")


def network_label(record: Record) -> str:
    """The network, with the method that has left a layer in it where one has."""
    left = record.provenance.get("layer")
    return f"{record.run['student']} with the layer of {record.run['method']}" if left else record.run["student"]


def figures(record: Record) -> tuple:
    """The numbers of a record in the order of HEADS; None where there is none."""
    timed: Mapping[str, Mapping[str, float]] = {name: record.clock.get(name) or {} for name in PRECISIONS}
    times = (timed[name].get(word) for name in PRECISIONS for word in ("latency_ms", "images_per_s"))
    size = record.size
    return Run.model_validate(record.run).data_label, size["student"], size["macs"], size["file_bytes"], *times


def texts(dataset: str, parameters: int, macs: int, size: int, *times: float | None) -> list[str]:
    """The numbers as text."""
    numbers = [
        MISSING if value is None else f"{value:,.2f}" if n % 2 == 0 else f"{value:,.0f}"
        for n, value in enumerate(times)
    ]
    return [dataset, f"{parameters:,}", f"{macs / 1e6:,.1f} M", f"{size / 1e6:,.2f} MB", *numbers]
