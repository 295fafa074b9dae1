"""The data model of a table: Pair (column), Row (method), Cell (runs of a row on a pair) and Protocol (all cells)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from benchmark.experiment.run import Run
from benchmark.report.formatting import JUDGES
from benchmark.report.records.entries import Entry, Platform
from benchmark.report.statistics.model import PairModel, Spread, fit_pair, pooled
from benchmark.report.statistics.summary import Summary, summarise

Terms = tuple[tuple[str, str], ...]  # (term, value) of a run's data set, judge and recipe, as text


@dataclass(frozen=True, slots=True)
class Pair:
    """A column of a table: one trained teacher, one student network, one learning rate of the student."""

    teacher_id: str
    student: str
    lr: float | None
    teacher: Run | None = field(compare=False)
    label: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """TEACHER-STUDENT, as the command line takes it; "" without a teacher."""
        return f"{self.teacher.student}-{self.student}" if self.teacher else ""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: the teacher, a student without teacher, or a method at one setting of its knobs."""

    kind: Literal["teacher", "student", "method"]
    method: str = ""
    knobs: str = ""  # all knobs, as JSON
    label: str = field(default="teacher", compare=False)
    varied: tuple[str, ...] = field(
        default=(), compare=False
    )  # KNOB=VALUE of the knobs that differ between rows of its method


@dataclass(frozen=True)  # without slots: cached_property needs a __dict__
class Cell:
    """The runs of a row on one pair, in order of seed."""

    row: Row
    pair: Pair
    entries: tuple[Entry, ...] = ()
    reported_top1: float | None = None  # fraction, of a teacher without a record, from its students' records
    exclusion_reason: str = ""  # why its scores are left out of this table
    computed_in: str = ""  # precision that the score of a teacher's kept file was computed in

    @cached_property
    def scored(self) -> tuple[Entry, ...]:
        """The runs whose scores enter the table."""
        return () if self.exclusion_reason else tuple(entry for entry in self.entries if entry.state == "done")

    @property
    def unscored(self) -> dict[str, int]:
        """State -> the number of runs in it, for every state other than done."""
        return dict(sorted(Counter(entry.state for entry in self.entries if entry.state != "done").items()))

    @property
    def records(self) -> tuple[str, ...]:
        """The names of all records of the cell's runs, failures included."""
        return tuple(entry.name for entry in self.entries if entry.record)

    @property
    def by_seed(self) -> dict[int, float]:
        """Seed -> top-1 after the last epoch, a fraction."""
        return {entry.run.seed: entry.score("top1") for entry in self.scored}

    def summary(self, read: Callable[[Entry], float | None] = lambda entry: entry.score("top1")) -> Summary | None:
        """The summary of a number over the scored runs that have it; by default of top-1, a fraction."""
        return summarise(value for value in map(read, self.scored) if value is not None)


@dataclass(frozen=True)  # without slots: cached_property needs a __dict__
class Protocol:
    """Runs that may be compared in one table: same data set, judge and recipes of students and teachers."""

    label: str
    slug: str
    terms: Terms  # of the students' runs
    teacher_terms: Terms  # of the teachers' runs; empty without teachers
    pairs: tuple[Pair, ...]
    rows: tuple[Row, ...]
    cells: dict[tuple[Row, Pair], Cell]

    @property
    def judge(self) -> str:
        """The images that the scores are computed on, in words."""
        return JUDGES.get(dict(self.terms)["judge"], dict(self.terms)["judge"])

    def student_cells(self, pair: Pair) -> list[Cell]:
        """The cells of a pair that have a score, without the teacher's."""
        cells = [self.cells[row, pair] for row in self.rows if row.kind != "teacher"]
        return [cell for cell in cells if cell.scored]

    def baseline_row(self, named: str) -> Row | None:
        """The row of the named method (or label) with most scores or, without any, the plain student's row."""
        counts = {row: sum(len(self.cells[row, pair].scored) for pair in self.pairs) for row in self.rows}
        rows = [row for row in self.rows if row.kind == "method" and named in (row.method, row.label)]
        rows = [row for row in rows if counts[row]] or [row for row in self.rows if row.kind == "student"]
        return max(rows, key=counts.get, default=None)

    @cached_property
    def models(self) -> dict[Pair, PairModel]:
        """Pair -> the model of its students' top-1 after the last epoch, fractions."""
        return {pair: fit_pair({cell.row: cell.by_seed for cell in self.student_cells(pair)}) for pair in self.pairs}

    def spread(self, cell: Cell) -> tuple[Spread | None, str]:
        """The standard deviation between seeds of a cell, a fraction, and which runs it is from.

        Pooled over the pair's students or, where their variances differ and the cell has several runs, its own; where
        the pair has no degrees of freedom, pooled over all pairs.
        """
        model, own = self.models[cell.pair], cell.summary()
        if model.unequal and own and own.sd is not None:
            return Spread(own.sd, own.n - 1), "its own runs"
        if model.between_seeds:
            return model.between_seeds, "this pair’s students"
        return pooled(model.between_seeds for model in self.models.values()), "all pairs’ students"

    @cached_property
    def entries(self) -> list[Entry]:
        """Every run of the protocol once, in order of id."""
        by_id = {entry.run.id: entry for cell in self.cells.values() for entry in cell.entries}
        return [by_id[id] for id in sorted(by_id)]

    @cached_property
    def cost_platforms(self) -> tuple[Platform, ...]:
        """The (device, precision) that costs of its runs' steps were measured with, those of the newest cost first."""
        costs = {cost.name: cost for entry in self.entries for cost in entry.costs}
        newest = sorted(costs.values(), key=lambda cost: (cost.ended, cost.name), reverse=True)
        return tuple(dict.fromkeys(cost.platform for cost in newest))
