"""The style of figures, and their rendering as SVG and PDF; equal figures give equal bytes.

Lines differ in colour (palette of Okabe & Ito) and in marker, to be legible with colour blindness and in greyscale.
Text stays text, so that it can be searched and copied; Verdana has nearly the same widths where DejaVu Sans is missing.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import matplotlib
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from benchmark.report.figures.drawing.cache import NO_CACHE, FigureCache
from benchmark.report.figures.drawing.tags import resolve_tags
from benchmark.store import no_garbage_collection

FONTS = "'DejaVu Sans', Verdana, sans-serif"
FOREGROUND, BACKGROUND = "#1a1b1e", "#fffffe"  # replaced by the page's own colours in the inline SVG
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
TEXT, TITLE = 8.5, 9.5  # font sizes in points
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "axes.titlesize": TITLE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.unicode_minus": True,
    "grid.color": "#9aa0a8",
    "grid.alpha": 0.35,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "figure.facecolor": BACKGROUND,
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), FOREGROUND),
}


Compose = Callable[[], Figure | None]


@dataclass(frozen=True, slots=True)
class RenderedFigure:
    """A figure as SVG and, drawn when it is asked for, as PDF."""

    name: str  # of its files, without suffix
    title: str
    caption: str
    svg: str
    compose: Compose

    @property
    def pdf(self) -> bytes:
        """The figure as PDF."""
        return draw(self.name, self.compose, "pdf")

    @property
    def width(self) -> int:
        """The natural width in pixels."""
        return round(float(re.search(r'width="([\d.]+)pt"', self.svg)[1]) * 4 / 3)

    def inline(self) -> str:
        """The SVG for embedding in the page: ids prefixed with the name, colours taken from the page."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
        body = re.sub(r' width="[\d.]+pt" height="[\d.]+pt"', "", body, count=1)
        body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", body)
        body = body.replace(FOREGROUND, "currentColor").replace(f"fill: {BACKGROUND}", "fill: none")
        return body.replace("<svg", '<svg role="img" focusable="false"', 1)


def render_figure(
    name: str, title: str, caption: str, compose: Compose, kept: FigureCache = NO_CACHE
) -> RenderedFigure | None:
    """Render the figure that `compose` returns; None if it returns None.  kept: figures drawn for earlier reports."""
    svg = kept.svg(name, lambda: finish_svg(draw(name, compose, "svg").decode()))
    return RenderedFigure(name, title, caption, svg, compose) if svg else None


def draw(name: str, compose: Compose, suffix: str) -> bytes:
    """The file of a figure, "svg" or "pdf"; empty if `compose` returns None."""
    date = {"svg": "Date", "pdf": "CreationDate"}[suffix]
    with matplotlib.rc_context(), warnings.catch_warnings(), no_garbage_collection():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": name})
        figure, file = compose(), io.BytesIO()
        if figure:
            figure.savefig(file, format=suffix, metadata={date: None})
    return file.getvalue()


def finish_svg(svg: str) -> str:
    """The SVG with shorter positions, the names of its marks, and fonts to fall back to."""
    return resolve_tags(round_coordinates(svg)).replace("'DejaVu Sans'", FONTS)


def round_coordinates(svg: str) -> str:
    """The SVG with path data and positions truncated to hundredths of a point."""
    return re.sub(r' (?:d|x|y)="[^"]*"', lambda match: re.sub(r"(?<=\.\d\d)\d+", "", match[0]), svg)


@cache
def text_width(text: str, size: float = TEXT) -> float:
    """The width of a text as drawn at a font size in points; in inches."""
    return max((TextPath((0, 0), line, size).get_extents().width for line in text.split("\n") if line), default=0) / 72
