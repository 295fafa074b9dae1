"""Numbers printed in papers, held against ours.  A quoted number is shown; it enters no mean and no comparison.

published.csv, one number a row; nothing in it comes from memory unless `confidence` or `note` says so:

paper, table      where it is printed                 dataset, teacher, student   in our names where they are ours
method            teacher, ce (the plain student), ours by our names, others in small letters
knobs             JSON, as far as known: a row of ours that has another value is another setting
metric, value     top1: percent, errors turned into accuracies and `note` says so; ap50, map, kernel gap: never matched
spread            what is printed after ±: `note` says if it is no standard deviation
protocol          the recipe of recipes.yaml that it was made by; empty: none, or not known
epoch             last, best; empty: not known
note, source, confidence                              what to know of it, where it was read, how sure that is
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmark.experiment.run import Recipe
from benchmark.experiment.suite import make_recipe
from benchmark.report.formatting import count_of, flatten
from benchmark.report.records.cells import Cell, Pair, Protocol, Terms
from benchmark.report.statistics import Summary

FILE = Path(__file__).with_name("published.csv")
PASS, NEAR, FAIL, FEW, OTHER = "PASS", "NEAR", "FAIL", "n too small", "different protocol"
PASSES, NEARS = 0.3, 0.7  # percentage points of difference
SLOW = dict.fromkeys(("MobileNetV2", "ShuffleV1", "ShuffleV2"), 0.01)
PROTOCOLS: dict[str, dict[str, float]] = {  # recipe -> network -> its learning rate, where not the recipe's
    "crd240": SLOW,  # RepDistiller's train_student.py
    "kda120": {},
    "sp200": {},
    "fitnets": {},
}
KNOWN = {"fitnets": "images whitened there (GCN, ZCA), not here"}  # what a recipe cannot say
ALWAYS = {"optimiser": "sgd"}  # what a recipe means that does not say it
MATCHED_ELSEWHERE = ("dataset", "judge", "precision")  # of a protocol's terms: matched apart, or not part of it


@dataclass(frozen=True, slots=True)
class Quoted:
    """A line of the file, as it stands there."""

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

    def fits(self, cell: Cell) -> bool:
        """Whether it is about the cell's networks and method, at no other setting; a teacher's, about the teacher."""
        teacher = cell.pair.teacher.student if cell.pair.teacher else self.teacher
        if self.metric != "top1" or self.teacher != teacher or self.student not in ("", cell.pair.student):
            return False
        ours = json.loads(cell.row.knobs or "{}")
        said = json.loads(self.knobs or "{}")
        return method_parts(self.method) == method_parts(cell.row.method or cell.row.kind) and all(
            ours.get(knob, value) == value for knob, value in said.items()
        )


@dataclass(frozen=True, slots=True)
class PublishedMatch:
    """A cell and a number that a paper prints for it."""

    cell: Cell
    quoted: Quoted
    departures: tuple[str, ...] = ()  # of our runs from the number's protocol

    @property
    def ours(self) -> Summary:
        """Top-1 after the last epoch, a fraction."""
        return self.cell.summary() or Summary(self.cell.reported_top1, 1)

    @property
    def difference(self) -> Summary:
        """Ours minus theirs, a fraction; the interval is ours, moved: theirs is taken as it is printed."""
        ours, theirs = self.ours, float(self.quoted.value) / 100
        inside = (None, None) if ours.low is None else (ours.low - theirs, ours.high - theirs)
        return Summary(ours.mean - theirs, ours.n, ours.sd, *inside)

    @property
    def verdict(self) -> str:
        """PASS, NEAR, FAIL, or why none of them can be said."""
        return OTHER if self.departures else verdict_of(self.difference)

    @property
    def reason(self) -> str:
        """What stands behind a verdict that is none, or a PASS that only a wide interval allows."""
        found = self.difference
        if self.departures or found.low is None:
            return "; ".join(self.departures) or f"n = {found.n}, no interval"
        half = 100 * (found.high - found.low) / 2
        wide = self.verdict == PASS and points_apart(found) > PASSES and half > NEARS
        return f"interval wider than ± {NEARS:g}" if wide else ""


def verdict_of(difference: Summary) -> str:
    """PASS: the interval contains 0 or at most 0.3 points off; NEAR: at most 0.7; FAIL: further; fractions given."""
    if difference.low is None:
        return FEW
    if difference.low <= 0 <= difference.high or points_apart(difference) <= PASSES:
        return PASS
    return NEAR if points_apart(difference) <= NEARS else FAIL


def points_apart(difference: Summary) -> float:
    """The size of a difference in points, rid of the noise of binary fractions."""
    return round(abs(100 * difference.mean), 9)


@cache
def published() -> tuple[Quoted, ...]:
    """Every line of the file."""
    with FILE.open(newline="", encoding="utf-8") as file:
        return tuple(Quoted(**line) for line in csv.DictReader(file))


def match_published(protocol: Protocol, known: Iterable[Quoted] | None = None) -> list[PublishedMatch]:
    """Every cell that has a score, with every number printed for it; none unless judged on the test images."""
    terms = dict(protocol.terms)
    if terms["judge"] != "test":
        return []
    here = [quoted for quoted in (published() if known is None else known) if quoted.dataset == terms["dataset"]]
    cells = [protocol.cells[row, pair] for pair in protocol.pairs for row in protocol.rows]
    found: dict[tuple, PublishedMatch] = {}  # a number that a paper prints twice is one
    for cell in (cell for cell in cells if cell.scored or cell.reported_top1 is not None):
        for one in (one for one in here if one.fits(cell)):
            key = (cell.pair, cell.row, one.paper, one.value, one.epoch)
            found.setdefault(key, PublishedMatch(cell, one, departures(protocol, cell, one)))
    return list(found.values())


def departures(protocol: Protocol, cell: Cell, quoted: Quoted) -> tuple[str, ...]:
    """How the cell's runs were done otherwise than the number's protocol asks, in words."""
    if quoted.protocol not in PROTOCOLS:
        return ("theirs is not known" if not quoted.protocol else f"theirs is {quoted.protocol}",)
    pair, found = cell.pair, [KNOWN[quoted.protocol]] if quoted.protocol in KNOWN else []
    if cell.row.kind != "teacher":
        found += recipe_differences(protocol.terms, pair.rate, pair.student, quoted.protocol)
    if cell.row.kind != "student" and pair.teacher and pair.teacher.recipe:
        found += [f"teacher: {difference}" for difference in teachers(protocol, pair, quoted.protocol)]
    return (*found, *(["the best epoch there, the last here"] if quoted.epoch == "best" else []))


def teachers(protocol: Protocol, pair: Pair, name: str) -> list[str]:
    """The same of the pair's teacher; one that was found, not trained, is taken for the paper's."""
    return recipe_differences(protocol.teacher_terms, pair.teacher.recipe.lr, pair.teacher.student, name)


def recipe_differences(terms: Terms, rate: float | None, network: str, name: str) -> list[str]:
    """Where terms and learning rate are not those of the recipe `name`: "12 epochs, not 240"."""
    recipe = recipe_of(name)
    asked = ALWAYS | flatten(recipe.model_dump(mode="json", exclude={"lr", "precision"}))
    own = ALWAYS | {word: value for word, value in terms if word not in MATCHED_ELSEWHERE}
    odd = [word for word in asked | own if own.get(word) != asked.get(word)]
    if "epochs" in odd:  # a schedule moves with them
        odd = [word for word in odd if not word.startswith("schedule")]
    values = {word: (own.get(word, "none"), asked.get(word, "none")) for word in odd}
    due = PROTOCOLS[name].get(network, recipe.lr)
    if rate != due:
        values["lr"] = (f"{rate:g}" if rate else "none", f"{due:g}")
    return [
        f"{count_of(int(ours), 'epoch')}, not {theirs}"
        if word == "epochs" and ours.isdigit()
        else f"{word} {ours}, not {theirs}"
        for word, (ours, theirs) in values.items()
    ]


@cache
def recipe_of(protocol: str) -> Recipe:
    """The recipe that a protocol's name means."""
    return make_recipe(protocol)


def method_parts(name: str) -> frozenset[str]:
    """The methods that a name composes, in whatever order."""
    return frozenset(name.split("+"))
