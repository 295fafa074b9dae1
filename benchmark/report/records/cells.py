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
from benchmark.report.records.value_origins import user_set_knobs
from benchmark.report.statistics.blocks import Block, Key, crossed_summary, seed_means
from benchmark.report.statistics.model import PairModel, fit_pair
from benchmark.report.statistics.summary import Spread, Summary, pooled, summarise

Terms = tuple[tuple[str, str], ...]  # (term, value) of a run's data set, judge and recipe, as text
Read = Callable[[Entry], float | None]


def read_top1(entry: Entry) -> float | None:
    """Top-1 after the last epoch, a fraction."""
    return entry.score("top1")


@dataclass(frozen=True, slots=True)
class Pair:
    """A column of a table: a teacher, one student network, one learning rate of the student.

    Teachers that differ in nothing but their seed are one teacher, trained several times.
    """

    teacher_id: str  # of the one with the lowest seed
    student: str
    lr: float | None
    teacher: Run | None = field(compare=False)  # the same one
    label: str = field(default="", compare=False)
    teachers: tuple[Run, ...] = field(default=(), compare=False)  # all, in order of seed

    @property
    def name(self) -> str:
        """TEACHER-STUDENT, as the command line takes it; "" without a teacher."""
        return f"{self.teacher.student}-{self.student}" if self.teacher else ""

    def key(self, run: Run) -> Key:
        """The block of one of its runs."""
        several = run.teacher and len(self.teachers) > 1
        return Block(run.teacher.seed, run.seed) if several else run.seed


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: the teacher, a student without teacher, or a method at one setting of its knobs."""

    kind: Literal["teacher", "student", "method"]
    method: str = ""
    knobs: str = ""  # all knobs, as JSON
    label: str = field(default="teacher", compare=False)
    varied: tuple[str, ...] = field(default=(), compare=False)  # KNOB=VALUE, where rows of its method differ
    mark: str = field(default="", compare=False)  # of its method's status: † adapted, ‡ re-derived

    @property
    def marked(self) -> str:
        """The label with the mark behind it, as figures write it."""
        return self.label + self.mark


@dataclass(frozen=True)  # without slots: cached_property needs a __dict__
class Cell:
    """The runs of a row on one pair, in order of the teacher's seed and their own."""

    row: Row
    pair: Pair
    entries: tuple[Entry, ...] = ()
    reported_top1: float | None = None  # fraction, of teachers without any record, from their students' records
    teacher_scores: tuple[tuple[int, float], ...] = ()  # of a teacher's cell: (seed, top-1 as a fraction) of each
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

    @cached_property
    def scored_records(self) -> str:
        """The names of the records of the runs whose scores enter the table, separated by spaces."""
        return " ".join(entry.name for entry in self.scored)

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """Seed -> top-1 after the last epoch, a fraction; its mean over teachers where there are several."""
        return seed_means(self.by_block())

    def by_block(self, read: Read = read_top1) -> dict[Key, float]:
        """Block -> a number of the scored runs that have it; by default top-1 after the last epoch, a fraction."""
        values = {self.pair.key(entry.run): read(entry) for entry in self.scored}
        return {key: value for key, value in values.items() if value is not None}

    @property
    def teacher_count(self) -> int:
        """The number of teachers that the scored runs have learned from; of a teacher's cell, of those with a score."""
        teachers = [entry.run if self.row.kind == "teacher" else entry.run.teacher for entry in self.scored]
        return len({run.id for run in teachers if run})

    @property
    def crossed(self) -> bool:
        """Whether its runs are of a pair with several teachers and have learned from them."""
        return self.row.kind == "method" and len(self.pair.teachers) > 1

    def summary(self, read: Read = read_top1) -> Summary | None:
        """The summary of a number over the scored runs that have it; its interval is over the teachers as well."""
        if self.crossed and len(values := self.by_block(read)) > 1:
            return crossed_summary(values)[0]
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
        """The scored row of a method or label, a suite's setting first, then most scores; else the plain student's."""
        scored = {row: [run for pair in self.pairs for run in self.cells[row, pair].scored] for row in self.rows}
        rows = [row for row in self.rows if row.kind == "method" and named in (row.method, row.label) and scored[row]]
        rows = rows or [row for row in self.rows if row.kind == "student"]
        by_suite = {row: any(not user_set_knobs(entry) for entry in scored[row]) for row in rows}
        return max(rows, key=lambda row: (by_suite[row], len(scored[row])), default=None)

    @cached_property
    def models(self) -> dict[Pair, PairModel]:
        """Pair -> the model of its students' top-1 after the last epoch, fractions."""
        return {pair: fit_pair({cell.row: cell.by_block() for cell in self.student_cells(pair)}) for pair in self.pairs}

    @cached_property
    def teacher_counts(self) -> set[int]:
        """The numbers of teachers that the scored students of a pair have learned from."""
        cells = {pair: self.student_cells(pair) for pair in self.pairs if pair.teacher}
        return {max(1, *(cell.teacher_count for cell in own)) for own in cells.values() if own}

    def spread(self, cell: Cell) -> tuple[Spread | None, str, float | None]:
        """The standard deviation of a cell's runs, a fraction; which runs it is from; how many independent ones count.

        Between seeds, pooled over the pair's students or, where their variances differ and the cell has several runs,
        its own; where the pair has no degrees of freedom, pooled over all pairs.  With several teachers always its own:
        runs that share a teacher or a seed count for fewer independent ones.  None: as many as there are runs.
        """
        model, own = self.models[cell.pair], cell.summary()
        if cell.crossed and own and own.sd:
            _, error, degrees = crossed_summary(cell.by_block())
            return Spread(own.sd, degrees), "its own runs", (own.sd / error) ** 2 if error else None
        several = cell.row.kind == "teacher" and own is not None and own.n > 1
        if (several or model.unequal) and own and own.sd is not None:
            return Spread(own.sd, own.n - 1), "its own runs", None
        if model.between_seeds:
            return model.between_seeds, "this pair’s students", None
        return pooled(model.between_seeds for model in self.models.values()), "all pairs’ students", None

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
