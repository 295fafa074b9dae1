"""The figures of a protocol.

protocol_figures(protocol, styles)     the rendered figures, without those that have no data
"""

from __future__ import annotations

from benchmark.report.figures.curves import CURVES
from benchmark.report.figures.forest import BASELINE, forest_figures
from benchmark.report.figures.gap import gap_figures
from benchmark.report.figures.losses import loss_figures
from benchmark.report.figures.panels import RenderedFigure, Style, draw_figure
from benchmark.report.figures.ranks import rank_figure
from benchmark.report.figures.step_time import STEP_TIME
from benchmark.report.figures.tradeoff import tradeoff_figures
from benchmark.report.records.cells import Protocol, Row


def protocol_figures(protocol: Protocol, styles: dict[Row, Style], baseline: str = BASELINE) -> list[RenderedFigure]:
    """The figures of a protocol that have data; baseline: the method that the others are compared with."""
    specs = [
        *gap_figures(protocol),
        *forest_figures(protocol, baseline),
        *tradeoff_figures(protocol),
        STEP_TIME,
        CURVES,
        *loss_figures(protocol),
    ]
    drawn = [draw_figure(spec, protocol, styles) for spec in specs]
    return [figure for figure in (*drawn, rank_figure(protocol, styles)) if figure]
