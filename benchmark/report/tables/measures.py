"""The long tables' contents: how good beyond top-1, how large, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmark.report.formatting import (
    MISSING,
    format_count,
    format_percent,
    format_points,
    format_ratio,
    format_rounded,
    format_score,
    join_distinct,
)
from benchmark.report.records.cells import Protocol
from benchmark.report.records.entries import Entry, Where
from benchmark.report.tables.long import Measure, clock, long_table, score, scored, size
from benchmark.report.tables.table import Table


def optimism(entry: Entry) -> float | None:
    """What choosing the epoch by the judge adds, as a fraction."""
    last, best = entry.score("top1"), entry.score("best_top1")
    return None if last is None or best is None else best - last


def ratio(above: str, below: str) -> Callable[[Entry], float | None]:
    """Reads how many times one size the other is."""

    def read(entry: Entry) -> float | None:
        a, b = entry.size(above), entry.size(below)
        return a / b if a and b else None

    return read


def training_macs(entry: Entry) -> float | None:
    """Multiply-accumulates to learn from one image once: the student's forward three times, the teacher's once."""
    own = entry.size("macs")
    return None if own is None else 3 * own + (entry.size("teacher_macs") or 0)


def share(price: Entry) -> float | None:
    """The method's own time, as a fraction of that of the plain student's step and the teacher's forward."""
    own, plain = price.clock("method_ms"), price.clock("plain_ms")
    return own / (plain + (price.clock("teacher_ms") or 0)) if own is not None and plain else None


def measured_alone(measure: Measure, where: Where | None) -> Measure:
    """The measure, read off the cost of a step like the run's."""
    return replace(measure, read=lambda entry: (price := entry.cost(where)) and measure.read(price))


def milliseconds(value: float) -> str:
    """A time or a difference of times: −0.41, 35.2, 1,204."""
    return format_rounded(round(value, 2) or 0.0).replace("-", "−")


def shares(fraction: float) -> str:
    """A fraction in percent that noise may have made negative."""
    return f"{round(100 * fraction, 1) or 0.0:.1f}".replace("-", "−")


def megabytes(count: float) -> str:
    """Bytes in millions."""
    return format_rounded(count / 1e6)


def seconds(value: float) -> str:
    """A time of any size."""
    return format_rounded(round(value, 2) or 0.0)


QUALITY = (
    Measure("last epoch %", "top1", score("top1"), format_percent),
    Measure("oracle %", "best_top1", score("best_top1"), format_percent),
    Measure("optimism", "optimism", optimism, format_points),
    Measure("top-5 %", "top5", score("top5"), format_percent),
    Measure("agreement %", "agreement", score("agreement"), format_percent),
    Measure("KL to teacher", "kl", score("kl"), format_score),
    Measure("NLL", "nll", score("nll"), format_score),
    Measure("ECE %", "ece", score("ece"), format_percent),
)
SIZE = (
    Measure("top-1 %", "top1", score("top1"), format_percent),
    Measure("parameters", "parameters", size("student"), format_count, exact=True),
    Measure("of them added", "added", size("added"), format_count, exact=True),
    Measure("auxiliary", "auxiliary", size("auxiliary"), format_count, exact=True),
    Measure("frozen state", "buffers", size("buffers"), format_count, exact=True),
    Measure("MACs", "macs", size("macs"), format_count, exact=True),
    Measure("teacher’s parameters", "teacher_parameters", size("teacher"), format_count, exact=True),
    Measure("teacher’s MACs", "teacher_macs", size("teacher_macs"), format_count, exact=True),
    Measure("compression", "compression", ratio("teacher", "student"), format_ratio, exact=True),
    Measure("MAC ratio", "macs_ratio", ratio("teacher_macs", "macs"), format_ratio, exact=True),
    Measure("training MACs", "training_macs", training_macs, format_count, exact=True),
)
ALONE = (  # of a step measured alone
    Measure("step ms", "step_ms", clock("step_ms"), milliseconds),
    Measure("plain student ms", "plain_ms", clock("plain_ms"), milliseconds),
    Measure("teacher ms", "teacher_ms", clock("teacher_ms"), milliseconds),
    Measure("method’s own ms", "method_ms", clock("method_ms"), milliseconds),
    Measure("own share %", "method_share", share, shares),
    Measure("peak memory MB", "peak_bytes", size("peak_bytes"), megabytes),
)
TRAINED = (
    Measure("set-up s", "setup_s", clock("setup_s"), seconds),
    Measure("extra epochs", "extra_epochs", clock("extra_epochs"), format_rounded, exact=True),
    Measure("images/s per lane", "images_per_s", clock("images_per_s"), format_rounded),
    Measure("lanes", "lanes", clock("lanes"), format_rounded, exact=True),
    Measure("training s", "train_s", clock("train_s"), format_rounded),
)


def quality_table(protocol: Protocol) -> Table:
    """Last epoch beside best epoch, agreement with the teacher, calibration."""
    caption = (
        "Means over seeds. Oracle: the best epoch, chosen by the images that it is scored on, so no result; optimism: "
        "what that choice adds to the last epoch, in points. Agreement: images to which student and teacher give the "
        "same class. KL: from teacher to student, in nats. NLL: in nats. ECE: expected calibration error. "
        f"{MISSING}: not in the records, or there is no teacher."
    )
    return long_table(protocol, "quality", "Last epoch, best epoch, agreement, calibration", caption, QUALITY)


def size_table(protocol: Protocol) -> Table:
    """Parameters and compute."""
    caption = (
        "Parameters: of the network as deployed, what the method added included. Auxiliary: trained and thrown away. "
        "Frozen state: numbers that a method keeps and does not train. MACs: multiply-accumulates of convolutions and "
        "linear layers, deployed network, one image. Compression, MAC ratio: the teacher’s parameters, MACs over the "
        "student’s. Training MACs: to learn from one image once, a backward pass counted as two forward ones, so three "
        "times the student’s MACs and once the teacher’s; a method’s own arithmetic is not in them. Counts that differ "
        "between seeds are given as a range."
    )
    return long_table(protocol, "size", "Accuracy, size and compute", caption, SIZE)


def cost_table(protocol: Protocol) -> Table:
    """Time and memory: of a step measured alone, and as trained."""
    where = next(iter(protocol.places), None)
    caption = (
        f"{measured_where(protocol, where)} Step: the student’s forward and backward with the method, and the "
        "teacher’s forward. It is the sum of the plain student’s step, the teacher’s forward and the method’s own "
        "time, which may come out below 0 by noise; own share: of the other two. Peak memory: all tensors alive at "
        "once in a step, weights, gradients, momentum and activations, in millions of bytes. Set-up: before the "
        "first step. Extra epochs: beyond the recipe’s. Images per second and training seconds are as trained, with "
        f"the lanes named in company on one device: they are not the price of the method alone. {MISSING}: not "
        "measured, or there is no teacher."
    )
    measures = [*(measured_alone(measure, where) for measure in ALONE), *TRAINED]
    table = long_table(protocol, "cost", "Time and memory", caption, measures)
    prices = [[entry.cost(where) for entry in cell.scored] for cell in scored(protocol)]
    names = [" ".join(sorted({price.name for price in found if price})) for found in prices]
    return replace(table, tidy=table.tidy.assign(costs=names))


def measured_where(protocol: Protocol, where: Where | None) -> str:
    """Where the steps were measured, and how."""
    if where is None:
        return "No step was measured alone."
    device, precision = where
    others = join_distinct(" in ".join(other) for other in protocol.places[1:])
    also = f" The newest counts; there are older ones on {others}." if others else ""
    return f"Each step measured alone, in milliseconds, on {device} in {precision}; the best of several rounds.{also}"
