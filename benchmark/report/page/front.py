"""The first screen of the page: leaderboard, one figure, findings as sentences, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.report.figures.style import RenderedFigure
from benchmark.report.page.findings import better_sentence, cost_sentence, gap_sentence, trust_sentence
from benchmark.report.page.leaderboard import BoardLine, board_line, full_pairs, ranked_rows
from benchmark.report.page.sections import Section
from benchmark.report.tables.comparisons import baseline_contrasts
from benchmark.report.tables.reproduced import summary

HEADLINES = ("published", "forest")  # the figure beside the leaderboard: the first of these that there is


@dataclass(frozen=True, slots=True)
class Front:
    """The first screen."""

    section: Section
    averaged: str  # what the accuracies are of: a pair, or so many pairs
    plain: str  # label of the plain student, "" without one
    lines: tuple[BoardLine, ...]
    figure: RenderedFigure | None
    findings: tuple[str, ...]
    trust: str

    @property
    def costly(self) -> bool:
        """Whether the time of steps is known."""
        return any(line.cost for line in self.lines)

    @property
    def several(self) -> bool:
        """Whether the accuracies are means over several pairs."""
        return len(full_pairs(self.section.protocol)) > 1


def front(sections: Sequence[Section]) -> Front | None:
    """The first screen, of the section with most scored cells; None without any."""
    counts = [sum(bool(cell.scored) for cell in section.protocol.cells.values()) for section in sections]
    if not any(counts):
        return None
    section = sections[counts.index(max(counts))]
    protocol, pairs = section.protocol, full_pairs(section.protocol)
    plain = next((row for row in protocol.rows if row.kind == "student"), None)
    contrasts = baseline_contrasts(protocol, plain) if plain else {}
    ranked = ranked_rows(protocol, pairs)
    quoted = [match for each in sections for match in each.quoted]
    findings = (
        better_sentence(protocol, ranked, contrasts),
        cost_sentence(protocol, pairs, ranked, plain, contrasts),
        summary(quoted) if quoted else gap_sentence(protocol, pairs, ranked),
    )
    figures = {section.part_of(figure.name): figure for figure in section.figures}
    return Front(
        section,
        pairs[0].label if len(pairs) == 1 else f"mean of {len(pairs)} pairs",
        plain.label if plain else "",
        tuple(board_line(protocol, pairs, row, plain, contrasts) for row in ranked),
        next((figures[name] for name in HEADLINES if name in figures), None),
        tuple(filter(None, findings)),
        trust_sentence(protocol),
    )
