"""The committed table of simulated error rates; `python -m benchmark.report.error_rates` writes it anew."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from itertools import groupby
from pathlib import Path

import pandas as pd

from benchmark.files import write_atomic
from benchmark.report.formatting import MISSING
from benchmark.report.statistics.equivalence import MARGIN
from benchmark.report.statistics.simulation import COUNTS, RESIDUAL, ROWS, SEED_EFFECT, STUDIES, ErrorRate, error_rates
from benchmark.report.tables.table import Table, TableCell, TableLine

FILE = Path(__file__).with_name("error_rates.csv")
CAPTION = (
    f"Percent of {STUDIES:,} simulated studies: {ROWS} rows, normal errors with sd {100 * RESIDUAL:g} points and "
    f"{100 * SEED_EFFECT:g} of the seed; all rows equal, or the last better by the true difference. TOST: against a "
    f"number that far away, margin {100 * MARGIN:g} points. {MISSING}: it says nothing."
)


def write_error_rates(file: Path = FILE) -> None:
    """Simulate, and write the file; equal versions of numpy and scipy give equal bytes."""
    frame = pd.DataFrame([asdict(rate) for rate in error_rates()])
    write_atomic(file, frame.to_csv(index=False, float_format="%.4f", lineterminator="\n").encode())


def read_error_rates(file: Path = FILE) -> list[ErrorRate]:
    """The rates of the committed file."""
    with file.open(newline="", encoding="utf-8") as opened:
        return [parse(line) for line in csv.DictReader(opened)]


def parse(line: dict[str, str]) -> ErrorRate:
    """A line of the file."""
    rate = float(line["rate"]) if line["rate"] else None
    return ErrorRate(line["rule"], line["event"], line["wrong"] == "True", int(line["n"]), float(line["effect"]), rate)


def error_rates_table() -> Table:
    """The table: a line for each rule, event and true difference, a column for each number of seeds."""
    rates = sorted(read_error_rates(), key=lambda rate: RULES.index(rate.rule))
    order = {key: place for place, key in enumerate(dict.fromkeys(map(line_key, rates)))}
    rates.sort(key=lambda rate: order[line_key(rate)])
    lines = [rate_line(*key, list(group)) for key, group in groupby(rates, key=line_key)]
    tidy = pd.DataFrame([asdict(rate) for rate in rates], columns=[field.name for field in fields(ErrorRate)])
    heads = ("what it says", "an error", "true difference", *(f"n = {n}" for n in COUNTS))
    return Table("error-rates", "Error rates, simulated", CAPTION, heads, tuple(lines), tidy, head="rule")


RULES = ("Dunnett", "paired t, uncorrected", "Hsu", "TOST")


def line_key(rate: ErrorRate) -> tuple[str, str, bool, float]:
    """What the rates of one line have in common."""
    return rate.rule, rate.event, rate.wrong, rate.effect


def rate_line(rule: str, event: str, wrong: bool, effect: float, rates: list[ErrorRate]) -> TableLine:
    """A line of the table; rates in percent."""
    by_n = {rate.n: rate.rate for rate in rates}
    texts = [MISSING if by_n[n] is None else f"{100 * by_n[n]:.1f}" for n in COUNTS]
    error = TableCell("yes" if wrong else "no")
    return TableLine(rule, (TableCell(event), error, TableCell(f"{100 * effect:g}"), *map(TableCell, texts)))


if __name__ == "__main__":
    write_error_rates()
