"""The table that a paper prints: a row per method, a column per pair of networks, averages, and few words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmark.experiment.suite import Suite
from benchmark.report.docstrings import LEGEND
from benchmark.report.formatting import count_of, format_percent
from benchmark.report.records.by_pair import by_pair_sentences
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.statistics.components import TEACHER
from benchmark.report.statistics.summary import pooled
from benchmark.report.tables.comparisons import points_range
from benchmark.report.tables.paper_columns import PaperBlock, PaperColumn, make_blocks
from benchmark.report.tables.table import several_teachers

REFERENCES = ("teacher", "student")  # kinds of the rows above the methods


@dataclass(frozen=True, slots=True)
class PaperTable:
    """The table, from which LaTeX, Markdown and CSV are written."""

    name: str  # of its files, without suffix
    caption: str
    legend: tuple[str, ...]
    blocks: tuple[PaperBlock, ...]
    rows: tuple[Row, ...]  # teacher and students first
    labels: Mapping[Row, str]
    marks: Mapping[Row, str]  # of the methods whose code is not the paper's; "" for the others
    tidy: pd.DataFrame

    @property
    def has_differences(self) -> bool:
        """Whether some number has a published one beside it."""
        return any(column.published for block in self.blocks for column in block.columns)

    @property
    def row_groups(self) -> list[tuple[Row, ...]]:
        """The rows between two rules: teacher and students, then the methods."""
        groups = [tuple(row for row in self.rows if (row.kind in REFERENCES) == first) for first in (True, False)]
        return [group for group in groups if group]


def paper_table(
    protocol: Protocol, suite: str, definition: Suite | None, name: str, title: str, marks: Mapping[str, str]
) -> PaperTable | None:
    """The table of a suite's pairs and methods within a protocol; None without a pair that has a teacher and runs.

    definition: the suite's, for the order; name: of the files; title: of the caption; marks: method -> its mark.
    """
    pairs = suite_pairs(protocol, suite, definition)
    rows = [
        row
        for row in suite_rows(protocol, suite, definition)
        if any(protocol.cells[row, pair].entries or protocol.cells[row, pair].reported_top1 for pair in pairs)
    ]
    if not rows:
        return None
    blocks = make_blocks(protocol, pairs, rows)
    plain = [row for row in rows if row.kind == "student"]
    labels = {row: "student" if plain == [row] else row.label for row in rows}
    own_marks = {row: marks.get(row.method, "") if row.kind == "method" else "" for row in rows}
    return PaperTable(
        name=name,
        caption=f"{title}: top-1 (%) on the {protocol.judge}, {runs_text(protocol, pairs, rows)}.",
        legend=make_legend(protocol, blocks, own_marks.values()),
        blocks=blocks,
        rows=tuple(rows),
        labels=labels,
        marks=own_marks,
        tidy=pd.DataFrame(tidy_lines(protocol, blocks, labels, own_marks)),
    )


# ---- which pairs and rows
def suite_pairs(protocol: Protocol, suite: str, definition: Suite | None) -> list[Pair]:
    """The suite's pairs in its order, then others that it was run with."""
    order = {str(pair): place for place, pair in enumerate(definition.pairs if definition else ())}
    taught = [pair for pair in protocol.pairs if pair.teacher]
    chosen = [
        pair
        for pair in taught
        if pair.name in order or any(ran_in(protocol.cells[row, pair], suite) for row in protocol.rows)
    ]
    return sorted(chosen, key=lambda pair: order.get(pair.name, len(order)))


def suite_rows(protocol: Protocol, suite: str, definition: Suite | None) -> list[Row]:
    """Teacher, plain students and the suite's methods in its order; of a method's settings those that the suite ran."""
    methods = definition.methods if definition and definition.methods != "all" else ()
    settings: dict[tuple[str, str], list[Row]] = {}
    for row in protocol.rows:
        settings.setdefault((row.kind, row.method), []).append(row)
    rows: list[Row] = []
    for (kind, method), own in settings.items():
        ran = [row for row in own if any(ran_in(protocol.cells[row, pair], suite) for pair in protocol.pairs)]
        if ran or kind in REFERENCES or not methods or method in methods:
            rows += ran or own
    return sorted(rows, key=lambda row: row_order(row, methods))


def row_order(row: Row, methods: Sequence[str]) -> tuple[int, int]:
    """The place of a row: teacher, students, the methods in their order, others."""
    if row.kind in REFERENCES:
        return 0, REFERENCES.index(row.kind)
    return 1, methods.index(row.method) if row.method in methods else len(methods)


def ran_in(cell: Cell, suite: str) -> bool:
    """Whether a record of the cell names the suite."""
    return any(entry.provenance("suite") == suite for entry in cell.entries)


# ---- sentences and CSV
def runs_text(protocol: Protocol, pairs: Iterable[Pair], rows: Iterable[Row]) -> str:
    """What a number is the mean of: mean of 3 seeds; with several teachers, mean of 3 to 9 runs."""
    cells = [protocol.cells[row, pair] for pair in pairs for row in rows if row.kind != "teacher"]
    counts = {len(cell.scored) for cell in cells if cell.scored}
    if counts <= {1}:
        return "single runs"
    word = "run" if several_teachers(protocol) else "seed"
    return "mean of " + (count_of(max(counts), word) if len(counts) == 1 else f"{min(counts)} to {max(counts)} {word}s")


def make_legend(protocol: Protocol, blocks: Iterable[PaperBlock], marks: Iterable[str]) -> tuple[str, ...]:
    """The sentences below the table: the spread, and what bold, underline, small numbers and marks mean."""
    columns = [column for block in blocks for column in block.columns]
    spread = pooled(model.between_seeds for model in protocol.models.values())
    ranked = any(column.best for column in columns)
    papers = dict.fromkeys(match.quoted.paper for column in columns for match in column.published.values())
    marks = set(marks)
    return (
        f"After the last epoch; {teachers_per_pair(protocol)}."
        + (f" Standard deviation between seeds: {format_percent(spread.sd)}." if spread else ""),
        "Bold: best mean of a column; underlined: second."
        if ranked
        else "Nothing is bold: too few runs to tell methods apart.",
        *([f"Small: minus the number published by {', '.join(papers)}, in points."] if papers else []),
        *by_pair_sentences(protocol),
        *(text for mark, text in LEGEND.items() if mark in marks),
    )


def teachers_per_pair(protocol: Protocol) -> str:
    """The number of teachers: one teacher per pair; 3 teachers per pair, with the sd between them."""
    number = several_teachers(protocol)
    if not number:
        return "one teacher per pair"
    models = [model.components for model in protocol.models.values() if model.components]
    sds = [math.sqrt(each.variance(TEACHER)) for each in models]
    known = f", which move their students with a standard deviation of {points_range(sds)}" if sds else ""
    return f"{number} teachers per pair{known}"


def tidy_lines(
    protocol: Protocol, blocks: Iterable[PaperBlock], labels: Mapping[Row, str], marks: Mapping[Row, str]
) -> Iterable[dict[str, object]]:
    """A line of CSV for each number; accuracies in percent, differences in points."""
    for block in blocks:
        for column in block.columns:
            for row, label in labels.items():
                mark = marks[row]
                yield (
                    {"protocol": protocol.label, "families": block.title, "teacher": column.heads[0]}
                    | {"student": column.heads[1], "row": label, "mark": mark, "legend": LEGEND.get(mark, "")}
                    | column_numbers(protocol, column, row)
                )


def column_numbers(protocol: Protocol, column: PaperColumn, row: Row) -> dict[str, object]:
    """The numbers of a row in a column, and the records behind them."""
    cell = protocol.cells[row, column.pair] if column.pair else None
    summary, match = cell and cell.summary(), column.published.get(row)
    return {
        "n": summary.n if summary else None,
        "top1_percent": 100 * column.means[row] if row in column.means else None,
        "sd": 100 * summary.sd if summary and summary.sd is not None else None,
        "standing": column.standing(row),
        "published_percent": match.quoted.value if match else None,
        "difference": 100 * match.comparison.difference if match else None,
        "paper": f"{match.quoted.paper}, {match.quoted.table}" if match else "",
        "records": " ".join(cell.records) if cell else "",
    }
