"""The pictures of a protocol.

drawings(protocol, styles)     those for which there are numbers
"""

from __future__ import annotations

from benchmark.report.figures.curves import CURVES
from benchmark.report.figures.forest import BASELINE, forest
from benchmark.report.figures.gap import gap
from benchmark.report.figures.losses import losses
from benchmark.report.figures.panels import RenderedFigure, Style, draw_figure
from benchmark.report.figures.step_time import SPLIT
from benchmark.report.figures.tradeoff import tradeoffs
from benchmark.report.records.cells import Protocol, Row


def drawings(protocol: Protocol, styles: dict[Row, Style], baseline: str = BASELINE) -> list[RenderedFigure]:
    """The pictures for which there are numbers; `baseline`: the method that others are compared with."""
    pictures = (*gap(protocol), *forest(protocol, baseline), *tradeoffs(protocol), SPLIT, CURVES, *losses(protocol))
    return [drawing for picture in pictures if (drawing := draw_figure(picture, protocol, styles))]
