"""The tables of quality beyond top-1, of size and compute, and of time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmark.report.formatting import (
    format_count,
    format_percent,
    format_points,
    format_ratio,
    format_rounded,
    format_score,
    join_distinct,
    natural_key,
)
from benchmark.report.records.cells import Pair, Protocol
from benchmark.report.records.entries import Entry, Platform
from benchmark.report.records.predictions import Predictions
from benchmark.report.statistics.summary import summarise
from benchmark.report.tables.long import Measure, long_table, read_clock, read_score, read_size, scored_cells
from benchmark.report.tables.table import Table, device_text


def optimism(entry: Entry) -> float | None:
    """Top-1 of the best epoch, chosen on the judged images, minus that of the last; a fraction."""
    last, best = entry.score("top1"), entry.score("best_top1")
    return None if last is None or best is None else best - last


def size_ratio(numerator: str, denominator: str) -> Callable[[Entry], float | None]:
    """A function that reads the ratio of two sizes of an entry."""

    def read(entry: Entry) -> float | None:
        a, b = entry.size(numerator), entry.size(denominator)
        return a / b if a and b else None

    return read


def training_macs(entry: Entry) -> float | None:
    """Multiply-accumulates to train on one image once: three times the student's forward plus the teacher's."""
    student = entry.size("macs")
    return None if student is None else 3 * student + (entry.size("teacher_macs") or 0)


def method_share(cost: Entry) -> float | None:
    """The method's own time over that of the plain student's step plus the teacher's forward, as a fraction."""
    method_ms, plain_ms = cost.clock("method_ms"), cost.clock("plain_ms")
    return method_ms / (plain_ms + (cost.clock("teacher_ms") or 0)) if method_ms is not None and plain_ms else None


def measured_alone(measure: Measure, platform: Platform | None) -> Measure:
    """The same measure, read from the cost of an entry's step on a platform."""
    return replace(measure, read=lambda entry: (cost := entry.cost(platform)) and measure.read(cost))


def format_milliseconds(value: float) -> str:
    """A time or a difference of times in milliseconds: −0.41, 35.2, 1,204."""
    return format_rounded(round(value, 2) or 0.0).replace("-", "−")


def format_share(fraction: float) -> str:
    """A fraction in percent, one decimal; noise may make it negative."""
    return f"{round(100 * fraction, 1) or 0.0:.1f}".replace("-", "−")


def format_megabytes(count: float) -> str:
    """A number of bytes in millions."""
    return format_rounded(count / 1e6)


def format_seconds(value: float) -> str:
    """A time in seconds."""
    return format_rounded(round(value, 2) or 0.0)


QUALITY_MEASURES = (
    Measure("last epoch %", "top1", read_score("top1"), format_percent),
    Measure("oracle %", "best_top1", read_score("best_top1"), format_percent),
    Measure("optimism", "optimism", optimism, format_points),
    Measure("top-5 %", "top5", read_score("top5"), format_percent),
    Measure("agreement %", "agreement", read_score("agreement"), format_percent, spread=True),
    Measure("KL to teacher", "kl", read_score("kl"), format_score),
    Measure("NLL", "nll", read_score("nll"), format_score),
    Measure("ECE %", "ece", read_score("ece"), format_percent),
)
SIZE_MEASURES = (
    Measure("top-1 %", "top1", read_score("top1"), format_percent),
    Measure("parameters", "parameters", read_size("student"), format_count, exact=True),
    Measure("of them added", "added", read_size("added"), format_count, exact=True),
    Measure("auxiliary", "auxiliary", read_size("auxiliary"), format_count, exact=True),
    Measure("frozen state", "buffers", read_size("buffers"), format_count, exact=True),
    Measure("MACs", "macs", read_size("macs"), format_count, exact=True),
    Measure("teacher’s parameters", "teacher_parameters", read_size("teacher"), format_count, exact=True),
    Measure("teacher’s MACs", "teacher_macs", read_size("teacher_macs"), format_count, exact=True),
    Measure("compression", "compression", size_ratio("teacher", "student"), format_ratio, exact=True),
    Measure("MAC ratio", "macs_ratio", size_ratio("teacher_macs", "macs"), format_ratio, exact=True),
    Measure("training MACs", "training_macs", training_macs, format_count, exact=True),
)
STEP_MEASURES = (  # of a training step measured alone
    Measure("step ms", "step_ms", read_clock("step_ms"), format_milliseconds),
    Measure("plain student ms", "plain_ms", read_clock("plain_ms"), format_milliseconds),
    Measure("teacher ms", "teacher_ms", read_clock("teacher_ms"), format_milliseconds),
    Measure("method’s own ms", "method_ms", read_clock("method_ms"), format_milliseconds),
    Measure("own share %", "method_share", method_share, format_share),
    Measure("peak memory MB", "peak_bytes", read_size("peak_bytes"), format_megabytes),
)
TRAINING_MEASURES = (
    Measure("set-up s", "setup_s", read_clock("setup_s"), format_seconds),
    Measure("extra epochs", "extra_epochs", read_clock("extra_epochs"), format_rounded, exact=True),
    Measure("images/s per lane", "images_per_s", read_clock("images_per_s"), format_rounded),
    Measure("lanes", "lanes", read_clock("lanes"), format_rounded, exact=True),
    Measure("training s", "train_s", read_clock("train_s"), format_rounded),
)
STEP = (
    "Step: the student’s forward and backward with the method, and the teacher’s forward. It is the sum of the plain "
    "student’s step, the teacher’s forward and the method’s own time, which may come out below 0 by noise; own share: "
    "of the other two. Peak memory: all tensors alive at once in a step, weights, gradients, momentum and activations, "
    "in millions of bytes."
)
TRAINING = (
    "Set-up: before the first step. Extra epochs: beyond the recipe’s. Images per second and training seconds are as "
    "trained, with the lanes named in company on one device: they are not the price of the method alone."
)


def quality_table(protocol: Protocol, predictions: Predictions | None = None) -> Table:
    """The table of last and best epoch, agreement with the teacher and calibration.

    predictions: from which the agreement of students that had no teacher is computed.
    """
    caption = (
        "Means over seeds. Oracle: the best epoch, chosen by the images that it is scored on, so no result; "
        "optimism: what that adds. Agreement: the share of images to which student and teacher give the same class; "
        "a student trained without a teacher is compared with the same one. KL: from teacher to student; KL, NLL: nats."
    )
    if kept := join_distinct(cell.computed_in for cell in scored_cells(protocol) if cell.computed_in):
        caption += f" Teacher: top-1 of its kept file, in {kept}; top-5, NLL and ECE at the end of its training."
    shown = with_agreement(protocol, predictions) if predictions else protocol
    title = "Last epoch, best epoch, agreement, calibration"
    return long_table(shown, "quality", title, caption, QUALITY_MEASURES).concise("not in the records")


def with_agreement(protocol: Protocol, predictions: Predictions) -> Protocol:
    """The protocol with the agreement of its plain students with each pair's teachers, from their predictions."""
    cells = dict(protocol.cells)
    for (row, pair), cell in protocol.cells.items():
        if row.kind == "student" and pair.teacher:
            found = [mean_agreement(predictions, entry, pair) for entry in cell.entries]
            pairs = zip(cell.entries, found, strict=True)
            entries = tuple(replace(e, other_scores=(*e.other_scores, ("agreement", value))) for e, value in pairs)
            cells[row, pair] = replace(cell, entries=entries)
    return replace(protocol, cells=cells)


def mean_agreement(predictions: Predictions, entry: Entry, pair: Pair) -> float | None:
    """The agreement of a run that had no teacher with those of a pair, the mean over them; None without predictions."""
    summary = summarise(
        value for teacher in pair.teachers if (value := predictions.agreement(entry, teacher.id)) is not None
    )
    return summary and summary.mean


def size_table(protocol: Protocol) -> Table:
    """The table of parameters and compute."""
    caption = (
        "Parameters: of the network as deployed, what the method added included. Auxiliary: trained and thrown away. "
        "Frozen state: numbers that a method keeps and does not train. MACs: multiply-accumulates of convolutions and "
        "linear layers, deployed network, one image. Compression, MAC ratio: the teacher’s parameters, MACs over the "
        "student’s. Training MACs: to learn from one image once, a backward pass counted as two forward ones, so three "
        "times the student’s MACs and once the teacher’s; a method’s own arithmetic is not in them. Counts that differ "
        "between seeds are given as a range."
    )
    table = long_table(protocol, "size", "Accuracy, size and compute", caption, SIZE_MEASURES)
    return table.concise("not in the records")


def cost_table(protocol: Protocol) -> Table:
    """The table of time and memory, of a step measured alone and of the training."""
    platform = next(iter(protocol.cost_platforms), None)
    measures = [*(measured_alone(measure, platform) for measure in STEP_MEASURES), *TRAINING_MEASURES]
    table = long_table(protocol, "cost", "Time and memory", "", measures)
    costs = [filter(None, [entry.cost(platform) for entry in cell.scored]) for cell in scored_cells(protocol)]
    names = [" ".join(sorted({cost.name for cost in own})) for own in costs]
    caption = " ".join([f"{protocol.label}.", *measurement_sentences(protocol, platform), TRAINING])
    found = replace(table, caption=caption, tidy=table.tidy.assign(costs=names))
    return found.concise("not measured, or there is no teacher")


def measurement_sentences(protocol: Protocol, platform: Platform | None) -> list[str]:
    """The sentences on the columns of steps measured alone: on which platform, how, and what each column is."""
    if platform is None:
        return ["No step was measured alone."]
    names = [f"{device_text(device)} in {precision}" for device, precision in protocol.cost_platforms]
    others = "; ".join(sorted(names[1:], key=natural_key))
    older = [f"The newest counts; there are older ones on {others}."] if others else []
    return [f"Each step measured alone, in milliseconds, on {names[0]}; the best of several rounds.", *older, STEP]
