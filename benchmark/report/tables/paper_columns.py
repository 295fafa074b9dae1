"""The columns of the table that a paper prints: pairs of networks by family, and means over them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.report.formatting import MISSING, format_percent, format_points
from benchmark.report.published import PublishedMatch, match_published
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.statistics.families import leading_rows, top_two

BEST, SECOND = "best", "second"  # standing of a number in its column
SAME, ACROSS = "Same family", "Across families"  # of networks
AVERAGE, OVERALL = "Average", "All pairs"


@dataclass(frozen=True, slots=True)
class PaperColumn:
    """A column: a pair of networks, or a mean over pairs."""

    heads: tuple[str, str]  # teacher's and student's network; of a mean "" and its name
    means: Mapping[Row, float]  # fractions, of the rows that have one
    best: frozenset[Row] = frozenset()
    second: frozenset[Row] = frozenset()
    published: Mapping[Row, PublishedMatch] = field(default_factory=dict)
    pair: Pair | None = None  # None: a mean

    def text(self, row: Row) -> str:
        """The row's mean in percent."""
        return format_percent(self.means[row]) if row in self.means else MISSING

    def standing(self, row: Row) -> str:
        """BEST, SECOND or ""."""
        return BEST if row in self.best else SECOND if row in self.second else ""

    def difference(self, row: Row) -> str:
        """The row's mean minus the published number, in points; "" without one."""
        return format_points(self.published[row].comparison.difference) if row in self.published else ""


@dataclass(frozen=True, slots=True)
class PaperBlock:
    """Columns that stand side by side; title: "" if it is the only block."""

    title: str
    columns: tuple[PaperColumn, ...]


def make_blocks(protocol: Protocol, pairs: Sequence[Pair], rows: Sequence[Row]) -> tuple[PaperBlock, ...]:
    """The pairs of one family, then those across families, each with their mean; at last the mean over all pairs."""
    published = first_published(protocol)
    columns = [pair_column(protocol, pair, rows, published) for pair in pairs]
    same = [column for column in columns if family(column.pair.teacher.student) == family(column.pair.student)]
    groups = {SAME: same, ACROSS: [column for column in columns if column not in same]}
    groups = {title: own for title, own in groups.items() if own}
    blocks = []
    for title, own in groups.items():
        last = len(groups) > 1 and title == ACROSS
        means = [average(AVERAGE, own)] * (len(own) > 1) + [average(OVERALL, columns)] * last
        blocks.append(PaperBlock(title if len(groups) > 1 else "", (*own, *means)))
    return tuple(blocks)


def family(network: str) -> str:
    """The family of a network, by its name: resnet56 -> resnet."""
    name = network.rpartition(":")[2].lower()
    return re.match(r"[a-z]*", name)[0] or name


def first_published(protocol: Protocol) -> dict[tuple[Row, Pair], PublishedMatch]:
    """(Row, pair) -> the first published number of the same protocol."""
    found: dict[tuple[Row, Pair], PublishedMatch] = {}
    for match in match_published(protocol):
        if not match.departures:
            found.setdefault((match.cell.row, match.cell.pair), match)
    return found


def pair_column(
    protocol: Protocol, pair: Pair, rows: Sequence[Row], published: Mapping[tuple[Row, Pair], PublishedMatch]
) -> PaperColumn:
    """The column of a pair; the best two means are those of the pair's model."""
    means = {row: value for row in rows if (value := mean_of(protocol.cells[row, pair])) is not None}
    best, second = leading_rows(protocol.models[pair], means)
    heads = pair.teacher.student, pair.label.removeprefix(f"{pair.teacher.student}-")
    own = {row: published[row, pair] for row in means if (row, pair) in published}
    return PaperColumn(heads, means, frozenset(best), frozenset(second), own, pair)


def mean_of(cell: Cell) -> float | None:
    """The mean of a cell's runs or the score of a teacher without a record, a fraction; None without any."""
    summary = cell.summary()
    return summary.mean if summary else None if cell.exclusion_reason else cell.reported_top1


def average(name: str, columns: Sequence[PaperColumn]) -> PaperColumn:
    """The mean over columns, of the rows that have a number in each; the best two where each column has its best."""
    rows = [row for row in columns[0].means if all(row in column.means for column in columns)]
    means = {row: sum(column.means[row] for column in columns) / len(columns) for row in rows}
    students = {row: value for row, value in means.items() if row.kind != "teacher"}
    best, second = top_two(students) if all(column.best for column in columns) else (set(), set())
    return PaperColumn(("", name), means, frozenset(best), frozenset(second))
