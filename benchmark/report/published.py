"""Published numbers of papers, and their comparison with this suite's.  They enter no mean and no other comparison.

published.csv has one number per line; none is quoted from memory unless `confidence` or `note` says so:

paper, table      where it is printed                 dataset, teacher, student   this suite's names where it has them
method            teacher, ce (the plain student), this suite's name of a method, or another name in lower case
knobs             JSON, as far as known: a row with another value of one of them is not compared
metric, value     top1 in percent, with a `note` where computed from an error; ap50, map, kernel gap: never compared
spread            the number printed after ±: a `note` says if it is not a standard deviation
runs              of how many runs number and standard deviation are; empty: not printed
protocol          the recipe of recipes.yaml that corresponds to the paper's; empty: none, or not known
epoch             last, best; empty: not known
note, source, confidence                              remarks, where the number was read, how reliable that is
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmark.experiment.suite import make_recipe
from benchmark.report.formatting import count_of, flatten
from benchmark.report.records.by_pair import cell_knobs
from benchmark.report.records.cells import Cell, Pair, Protocol, Terms
from benchmark.report.statistics.equivalence import INCONCLUSIVE, Equivalence, equivalence
from benchmark.report.statistics.summary import Spread, Summary, rounded

FILE = Path(__file__).with_name("published.csv")
OTHER_PROTOCOL = "different protocol"
cached_recipe = cache(make_recipe)
LOW_RATES = dict.fromkeys(("MobileNetV2", "ShuffleV1", "ShuffleV2"), 0.01)
PROTOCOLS: dict[str, dict[str, float]] = {  # recipe -> network -> learning rate, where it is not the recipe's
    "crd240": LOW_RATES,  # RepDistiller's train_student.py
    "kda120": {},
    "sp200": {},
    "fitnets": {},
}
# Recipe -> a difference that no field of a recipe states.
UNSTATED_DIFFERENCES = {"fitnets": "images whitened there (GCN, ZCA), not here"}
RECIPE_DEFAULTS = {"optimiser": "sgd"}  # values of fields that a recipe may leave out
MATCHED_ELSEWHERE = ("dataset", "judge", "precision")  # terms that are not compared with the recipe


@dataclass(frozen=True, slots=True)
class PublishedNumber:
    """A line of published.csv."""

    paper: str
    table: str
    dataset: str
    teacher: str
    student: str
    method: str
    knobs: str
    metric: str
    value: str
    spread: str
    protocol: str
    epoch: str
    note: str
    source: str
    confidence: str
    runs: str = ""

    @property
    def standard_error(self) -> Spread | None:
        """The standard error of the number, a fraction; None where spread or number of runs is not printed."""
        count = int(self.runs or 0)
        return Spread(float(self.spread) / 100 / math.sqrt(count), count - 1) if self.spread and count > 1 else None

    def matches(self, cell: Cell) -> bool:
        """Whether it is top-1 of the cell's networks and method with no other value of a knob."""
        teacher = cell.pair.teacher.student if cell.pair.teacher else self.teacher
        if self.metric != "top1" or self.teacher != teacher or self.student not in ("", cell.pair.student):
            return False
        ours = cell_knobs(cell) if cell.row.kind == "method" else {}
        theirs = json.loads(self.knobs or "{}")
        return method_parts(self.method) == method_parts(cell.row.method or cell.row.kind) and all(
            ours.get(knob, value) == value for knob, value in theirs.items()
        )


@dataclass(frozen=True, slots=True)
class PublishedMatch:
    """A cell and a published number for it."""

    cell: Cell
    quoted: PublishedNumber
    departures: tuple[str, ...] = ()  # differences between the cell's runs and the number's protocol
    spread: Spread | None = None  # of our runs between seeds; None: no pair of the protocol has one
    spread_of: str = ""  # what it was pooled over
    independent: float | None = None  # runs that count, where runs share a teacher or a seed; None: all

    @property
    def ours(self) -> Summary:
        """The cell's top-1 after the last epoch, a fraction."""
        return self.cell.summary() or Summary(self.cell.reported_top1, 1)

    @property
    def comparison(self) -> Equivalence:
        """Ours minus the published number, fractions; its spread enters where it is printed with its number of runs."""
        difference = rounded(self.ours.mean - float(self.quoted.value) / 100)
        return equivalence(difference, self.independent or self.ours.n, self.spread, self.quoted.standard_error)

    @property
    def verdict(self) -> str:
        """PASS, FAIL or INCONCLUSIVE; OTHER_PROTOCOL where the two cannot be compared."""
        return OTHER_PROTOCOL if self.departures else self.comparison.verdict

    @property
    def reason(self) -> str:
        """Why there is no PASS or FAIL; "" where there is."""
        if self.departures:
            return "; ".join(self.departures)
        comparison = self.comparison
        if comparison.verdict != INCONCLUSIVE:
            return ""
        if comparison.low is None:
            return "no spread is known"
        needed = comparison.seeds_needed
        if self.independent:
            what = "runs, each with a teacher and seed of its own,"
            return f"{max(needed, 2)} {what} would settle it" if needed else f"more {what} would not settle it"
        return (
            f"{count_of(max(needed, self.ours.n + 1), 'seed')} would settle it"
            if needed
            else "more seeds would not settle it"
        )


@cache
def published() -> tuple[PublishedNumber, ...]:
    """All lines of published.csv."""
    with FILE.open(newline="", encoding="utf-8") as file:
        return tuple(PublishedNumber(**line) for line in csv.DictReader(file))


def match_published(protocol: Protocol, numbers: Iterable[PublishedNumber] | None = None) -> list[PublishedMatch]:
    """Match scored cells with the numbers (default: published.csv) for them; none unless judged on the test images."""
    terms = dict(protocol.terms)
    if terms["judge"] != "test":
        return []
    numbers = published() if numbers is None else numbers
    candidates = [number for number in numbers if number.dataset == terms["dataset"]]
    cells = [protocol.cells[row, pair] for pair in protocol.pairs for row in protocol.rows]
    matches: dict[tuple, PublishedMatch] = {}  # a number that a paper prints twice counts once
    for cell in (cell for cell in cells if cell.scored or cell.reported_top1 is not None):
        for number in (number for number in candidates if number.matches(cell)):
            key = (cell.pair, cell.row, number.paper, number.value, number.epoch)
            spread = protocol.spread(cell)
            matches.setdefault(key, PublishedMatch(cell, number, departures(protocol, cell, number), *spread))
    return list(matches.values())


def departures(protocol: Protocol, cell: Cell, quoted: PublishedNumber) -> tuple[str, ...]:
    """The differences between the cell's runs and the number's protocol, in words."""
    if quoted.protocol not in PROTOCOLS:
        return ("theirs is not known" if not quoted.protocol else f"theirs is {quoted.protocol}",)
    pair = cell.pair
    differences = [text for recipe, text in UNSTATED_DIFFERENCES.items() if recipe == quoted.protocol]
    if cell.row.kind != "teacher":
        differences += recipe_differences(protocol.terms, pair.lr, pair.student, quoted.protocol)
    if cell.row.kind != "student" and pair.teacher and pair.teacher.recipe:  # imported weights: assumed the paper's
        differences += [f"teacher: {difference}" for difference in teacher_differences(protocol, pair, quoted.protocol)]
    return (*differences, *(["the best epoch there, the last here"] if quoted.epoch == "best" else []))


def teacher_differences(protocol: Protocol, pair: Pair, name: str) -> list[str]:
    """The differences between the pair's teacher and the recipe `name`."""
    return recipe_differences(protocol.teacher_terms, pair.teacher.recipe.lr, pair.teacher.student, name)


def recipe_differences(terms: Terms, rate: float | None, network: str, name: str) -> list[str]:
    """The terms and the learning rate that differ from the recipe `name`, in words: "12 epochs, not 240"."""
    recipe = cached_recipe(name)
    expected = RECIPE_DEFAULTS | flatten(recipe.model_dump(mode="json", exclude={"lr", "precision"}))
    actual = RECIPE_DEFAULTS | {term: value for term, value in terms if term not in MATCHED_ELSEWHERE}
    different = [term for term in expected | actual if actual.get(term) != expected.get(term)]
    if "epochs" in different:  # the schedule follows from the epochs
        different = [term for term in different if not term.startswith("schedule")]
    values = {term: (actual.get(term, "none"), expected.get(term, "none")) for term in different}
    expected_rate = PROTOCOLS[name].get(network, recipe.lr)
    if rate != expected_rate:
        values["lr"] = (f"{rate:g}" if rate else "none", f"{expected_rate:g}")
    return [
        f"{count_of(int(ours), 'epoch')}, not {theirs}"
        if term == "epochs" and ours.isdigit()
        else f"{term} {ours}, not {theirs}"
        for term, (ours, theirs) in values.items()
    ]


def method_parts(name: str) -> frozenset[str]:
    """The methods that a composed name stands for; their order does not matter."""
    return frozenset(name.split("+"))
