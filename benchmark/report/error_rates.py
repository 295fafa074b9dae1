"""The committed table of simulated error rates; `python -m benchmark.report.error_rates` writes it anew."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path

import pandas as pd

from benchmark.files import write_atomic
from benchmark.report.formatting import MISSING
from benchmark.report.statistics.equivalence import MARGIN
from benchmark.report.statistics.simulation import (
    PAIRS,
    PUBLISHED_RUNS,
    RESIDUAL,
    ROWS,
    SEED_EFFECT,
    Event,
    against_baseline,
    any_baseline,
    best_of_column,
    made_up,
    one_run_beside_others,
    over_pairs,
    reproduction,
    unequal_variances,
)
from benchmark.report.tables.table import Table, TableCell, TableLine

FILE = Path(__file__).with_name("error_rates.csv")
STUDIES = 20_000
COUNTS, EFFECTS = (1, 3, 5), (0.0, 0.005, 0.01)
CAPTION = (
    f"Percent of {STUDIES:,} simulated studies: {ROWS} rows, normal errors with sd {100 * RESIDUAL:g} points and "
    f"{100 * SEED_EFFECT:g} of the seed; all rows equal, or the last better by the true difference. Dunnett: against "
    f"one baseline. Tukey: all rows with all. One run: a row with one beside rows with n. {PAIRS} pairs: "
    f"{STUDIES // 10:,} studies of so many pairs. TOST: against a number that far away, exact or the mean of "
    f"{PUBLISHED_RUNS} runs with their spread; margin {100 * MARGIN:g} points, at which either verdict is an error. "
    f"{MISSING}: it says nothing."
)


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """How often a rule says something in simulated studies."""

    rule: str
    event: str  # what is counted
    wrong: bool  # whether it is an error
    n: int  # seeds
    effect: float  # true difference, a fraction
    rate: float | None  # share of studies; None: with this n the rule says nothing


def error_rates(studies: int = STUDIES) -> list[ErrorRate]:
    """All rates: for each number of seeds and each true difference; for reproduction also one equal to the margin."""
    return [
        ErrorRate(rule, event, wrong, n, effect, None if said is None else float(said.mean()))
        for n in COUNTS
        for effect in sorted({*EFFECTS, MARGIN})
        for rule, event, wrong, said in setting_events(n, effect, studies)
    ]


def setting_events(n: int, effect: float, studies: int) -> Iterator[Event]:
    """What the rules say with n seeds and one true difference."""
    values = made_up(n, effect, studies)
    if effect in EFFECTS:
        unequal = unequal_variances(values)
        yield from against_baseline(values, unequal, effect)
        yield from any_baseline(values, unequal, effect)
        yield from best_of_column(values, unequal, effect)
    if effect == 0:
        yield from one_run_beside_others(values)
        yield from over_pairs(made_up(n, effect, studies // 10 * PAIRS).reshape(-1, PAIRS, ROWS, n))
    yield from reproduction(values, effect)


# ---- the file
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
    heads = ("event counted", "is that an error?", "true difference", *(f"n = {n}" for n in COUNTS))
    return Table("error-rates", "Error rates, simulated", CAPTION, heads, tuple(lines), tidy, head="rule")


RULES = (
    "Dunnett", "Tukey", "paired t, uncorrected", "one run", "one run, if it were judged",
    f"{PAIRS} pairs, Holm", f"{PAIRS} pairs, each by itself", "Hsu", "TOST", "TOST, published spread",
)  # fmt: skip


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
