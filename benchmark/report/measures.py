"""The two long tables, one row per pair and method: how good beyond top-1, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.report.cells import Cell, Protocol
from benchmark.report.entries import Entry
from benchmark.report.statistics import summarise
from benchmark.report.tables import Line, Shown, Table, columns_of, setting
from benchmark.report.wording import NOTHING, amount, decimals, percent, points, times, whole


@dataclass(frozen=True, slots=True)
class Measure:
    """A column: how to read it off a run, and how to print it."""

    head: str
    column: str  # in the CSV
    read: Callable[[Entry], float | None]
    show: Callable[[float], str]
    exact: bool = False  # a count that should not depend on the seed


def score(name: str) -> Callable[[Entry], float | None]:
    """Reads a score."""
    return lambda entry: entry.score(name)


def size(name: str) -> Callable[[Entry], float | None]:
    """Reads a size."""
    return lambda entry: entry.size(name)


def clock(name: str) -> Callable[[Entry], float | None]:
    """Reads a time."""
    return lambda entry: entry.clock(name)


def optimism(entry: Entry) -> float | None:
    """What choosing the epoch by the judge adds, as a fraction."""
    last, best = entry.score("top1"), entry.score("best_top1")
    return None if last is None or best is None else best - last


def compression(entry: Entry) -> float | None:
    """Teacher's parameters over the deployed student's."""
    teacher, student = entry.size("teacher"), entry.size("student")
    return teacher / student if teacher and student else None


QUALITY = (
    Measure("last epoch %", "top1", score("top1"), percent),
    Measure("oracle %", "best_top1", score("best_top1"), percent),
    Measure("optimism", "optimism", optimism, points),
    Measure("top-5 %", "top5", score("top5"), percent),
    Measure("agreement %", "agreement", score("agreement"), percent),
    Measure("KL to teacher", "kl", score("kl"), decimals),
    Measure("NLL", "nll", score("nll"), decimals),
    Measure("ECE %", "ece", score("ece"), percent),
)
COST = (
    Measure("top-1 %", "top1", score("top1"), percent),
    Measure("parameters", "parameters", size("student"), amount, exact=True),
    Measure("of them added", "added", size("added"), amount, exact=True),
    Measure("auxiliary", "auxiliary", size("auxiliary"), amount, exact=True),
    Measure("buffers", "buffers", size("buffers"), amount, exact=True),
    Measure("MACs", "macs", size("macs"), amount, exact=True),
    Measure("teacher’s parameters", "teacher_parameters", size("teacher"), amount, exact=True),
    Measure("teacher’s MACs", "teacher_macs", size("teacher_macs"), amount, exact=True),
    Measure("compression", "compression", compression, times),
    Measure("extra epochs", "extra_epochs", clock("extra_epochs"), whole, exact=True),
    Measure("images/s per lane", "images_per_s", clock("images_per_s"), whole),
    Measure("lanes", "lanes", clock("lanes"), whole, exact=True),
    Measure("training s", "train_s", clock("train_s"), whole),
)


def quality_table(protocol: Protocol) -> Table:
    """Last epoch beside best epoch, agreement with the teacher, calibration."""
    caption = (
        "Means over seeds. Oracle: the best epoch, chosen by the images that it is scored on, so no result; optimism: "
        "what that choice adds to the last epoch, in points. Agreement: images to which student and teacher give the "
        "same class. KL: from teacher to student, in nats. NLL: in nats. ECE: expected calibration error. "
        f"{NOTHING}: not in the records, or there is no teacher."
    )
    return long_table(protocol, "quality", "Last epoch, best epoch, agreement, calibration", caption, QUALITY)


def cost_table(protocol: Protocol) -> Table:
    """Parameters, compute and time."""
    caption = (
        "Parameters: of the network as deployed, what the method added included. Auxiliary: trained and thrown away. "
        "Buffers: frozen numbers of the method. MACs: multiply-accumulates of convolutions and linear layers, deployed "
        "network, one image. Compression: teacher’s parameters over the student’s. Extra epochs: beyond the recipe’s. "
        "Images per second and training seconds are as trained, with the lanes named in company on one device: they "
        "are not the price of the method alone. Counts that differ between seeds are given as a range."
    )
    return long_table(protocol, "cost", "Accuracy, size, compute and time", caption, COST)


def long_table(protocol: Protocol, word: str, title: str, caption: str, measures: Sequence[Measure]) -> Table:
    """A table with one row per pair and method that has a score."""
    cells = [protocol.cells[row, pair] for pair in protocol.pairs for row in protocol.rows]
    cells = [cell for cell in cells if cell.scored]
    return Table(
        name=f"{protocol.slug}-{word}",
        title=f"{title} · {protocol.label}",
        caption=f"{protocol.label}. {setting(protocol)} {caption}",
        heads=("n", *(measure.head for measure in measures)),
        lines=tuple(Line(cell.row.label, shown_all(cell, measures), cell.pair.label) for cell in cells),
        tidy=pd.DataFrame([tidy_line(protocol, cell, measures) for cell in cells]),
    )


def shown_all(cell: Cell, measures: Sequence[Measure]) -> tuple[Shown, ...]:
    """n and each measure."""
    records = " ".join(entry.name for entry in cell.scored)
    old = sum(entry.stale for entry in cell.scored)
    count = Shown(str(len(cell.scored)), f"{old} stale" if old else "", records=records)
    return (count, *(shown(cell, measure) for measure in measures))


def shown(cell: Cell, measure: Measure) -> Shown:
    """The mean; for exact counts that differ, lowest to highest; how many runs have the number, if not all."""
    values = [value for value in map(measure.read, cell.scored) if value is not None]
    summary = summarise(values)
    if summary is None:
        return Shown(NOTHING)
    text = measure.show(summary.mean)
    if measure.exact and min(values) != max(values):
        text = f"{measure.show(min(values))} to {measure.show(max(values))}"
    return Shown(text, "" if summary.n == len(cell.scored) else f"n = {summary.n}")


def tidy_line(protocol: Protocol, cell: Cell, measures: Sequence[Measure]) -> dict[str, object]:
    """A cell as a line of CSV: means, fractions as fractions."""
    means = {measure.column: cell.summary(measure.read) for measure in measures}
    numbers = {name: summary and summary.mean for name, summary in means.items()}
    return columns_of(protocol, cell) | numbers | {"records": " ".join(entry.name for entry in cell.scored)}
