"""What a table is made of: its columns (pairs), its rows (methods), its cells (runs), and the protocol they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from benchmark.experiment.run import Run
from benchmark.report.formatting import JUDGES
from benchmark.report.records.entries import Entry, Where
from benchmark.report.statistics import Summary, summarise

Terms = tuple[tuple[str, str], ...]  # what a run was done under, in words


@dataclass(frozen=True, slots=True)
class Pair:
    """A column.  One training of the teacher, one network as student, one learning rate."""

    teacher_id: str
    student: str
    rate: float | None
    teacher: Run | None = field(compare=False)
    label: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """As the command line takes it; "" without a teacher."""
        return f"{self.teacher.student}-{self.student}" if self.teacher else ""


@dataclass(frozen=True, slots=True)
class Row:
    """The teacher, a student without teacher, or a method at one setting of its knobs."""

    kind: Literal["teacher", "student", "method"]
    method: str = ""
    knobs: str = ""  # all of them, JSON
    label: str = field(default="teacher", compare=False)
    varied: tuple[str, ...] = field(default=(), compare=False)  # knobs that tell it from other rows of its method


@dataclass(frozen=True, slots=True)
class Cell:
    """A row's runs on one pair, in order of seed."""

    row: Row
    pair: Pair
    entries: tuple[Entry, ...] = ()
    reported_top1: float | None = None  # top-1 of a teacher without a record, as its students' records say
    refusal: str = ""  # why its scores do not belong in this table

    @property
    def scored(self) -> tuple[Entry, ...]:
        """The runs whose numbers count."""
        return () if self.refusal else tuple(entry for entry in self.entries if entry.state == "done")

    @property
    def lacking(self) -> dict[str, int]:
        """state -> how many runs have no number for that reason."""
        return dict(sorted(Counter(entry.state for entry in self.entries if entry.state != "done").items()))

    @property
    def records(self) -> tuple[str, ...]:
        """Names of all records behind the cell, those of failures too."""
        return tuple(entry.name for entry in self.entries if entry.record)

    def summary(self, read: Callable[[Entry], float | None] = lambda entry: entry.score("top1")) -> Summary | None:
        """Over the scored runs that have the number."""
        return summarise(value for value in map(read, self.scored) if value is not None)


@dataclass(frozen=True)  # without slots: what is derived is kept
class Protocol:
    """One table's worth of runs."""

    label: str
    slug: str
    terms: Terms  # of the students
    teacher_terms: Terms
    pairs: tuple[Pair, ...]
    rows: tuple[Row, ...]
    cells: dict[tuple[Row, Pair], Cell]

    @property
    def judge(self) -> str:
        """On which images the scores were read."""
        return JUDGES.get(dict(self.terms)["judge"], dict(self.terms)["judge"])

    def students(self, pair: Pair) -> list[Cell]:
        """The cells of a pair that have a score, the teacher's apart."""
        cells = [self.cells[row, pair] for row in self.rows if row.kind != "teacher"]
        return [cell for cell in cells if cell.scored]

    @cached_property
    def entries(self) -> list[Entry]:
        """Every run of the protocol once."""
        found = {entry.run.id: entry for cell in self.cells.values() for entry in cell.entries}
        return [found[id] for id in sorted(found)]

    @cached_property
    def places(self) -> tuple[Where, ...]:
        """Where steps like those of its runs were measured alone; first the place of the newest measurement."""
        prices = {price.name: price for entry in self.entries for price in entry.costs}
        newest = sorted(prices.values(), key=lambda price: (price.ended, price.name), reverse=True)
        return tuple(dict.fromkeys(price.where for price in newest))
