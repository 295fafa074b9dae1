"""The figures of a protocol.

protocol_figures(protocol, styles)     the rendered figures, without those that have no data
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.record import Record
from benchmark.report.figures.curves import CURVES
from benchmark.report.figures.drawing.cache import NO_CACHE, FigureCache, protocol_parts
from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.forest import BASELINE, forest_figures
from benchmark.report.figures.gap import gap_figures
from benchmark.report.figures.heatmap import heatmap_figure
from benchmark.report.figures.latency import latency_figure
from benchmark.report.figures.losses import loss_figures
from benchmark.report.figures.panels import draw_figure
from benchmark.report.figures.published import published_figure
from benchmark.report.figures.ranks import rank_figure
from benchmark.report.figures.step_time import STEP_TIME
from benchmark.report.figures.style import RenderedFigure
from benchmark.report.figures.tradeoff import tradeoff_figures
from benchmark.report.published import PublishedMatch
from benchmark.report.records.cells import Protocol, Row


def protocol_figures(
    protocol: Protocol,
    styles: dict[Row, Style],
    baseline: str = BASELINE,
    matches: Sequence[PublishedMatch] = (),
    deployed: Sequence[Record] = (),
    kept: FigureCache = NO_CACHE,
) -> list[RenderedFigure]:
    """The figures of a protocol that have data.

    baseline: the method that the others are compared with; matches: published numbers for its cells; deployed: records
    of kind "deployment"; kept: figures drawn for earlier reports.
    """
    if kept.folder:
        kept = kept.of([*protocol_parts(protocol), repr([styles[row] for row in protocol.rows]), baseline])
    specs = [
        *gap_figures(protocol),
        *forest_figures(protocol, baseline),
        *tradeoff_figures(protocol),
        STEP_TIME,
        CURVES,
        *loss_figures(protocol),
    ]
    drawn = [
        published_figure(protocol, matches, styles, kept),
        heatmap_figure(protocol, kept),
        *(draw_figure(spec, protocol, styles, kept) for spec in specs),
        latency_figure(protocol, deployed, styles, kept),
        rank_figure(protocol, styles, kept),
    ]
    return [figure for figure in drawn if figure]
