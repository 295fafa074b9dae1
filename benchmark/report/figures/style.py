"""How pictures look, and how they are written: SVG, PDF, and SVG for the page; equal pictures, equal bytes.

Colours of Okabe & Ito and a marker each, so that they survive colour blindness and a grey printer.
"""

from __future__ import annotations

import gc
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import matplotlib
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

FOREGROUND, BACKGROUND = "#1a1b1e", "#fffffe"  # become the page's own colours where the picture stands in the page
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
TEXT, TITLE = 8.5, 9.5  # points
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
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), FOREGROUND),
}


@dataclass(frozen=True, slots=True)
class RenderedFigure:
    """A finished picture."""

    name: str  # of its files
    title: str
    caption: str
    svg: str
    pdf: bytes

    def inline(self) -> str:
        """The SVG for the page: its ids its own, its ink the page's."""
        body = self.svg[self.svg.index("<svg") :]
        body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
        width, height = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', body).groups()
        body = body.replace(f'width="{width}pt" height="{height}pt"', f'style="width:{float(width) * 4 / 3:.0f}px"', 1)
        body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", body)
        body = body.replace(FOREGROUND, "currentColor").replace(f"fill: {BACKGROUND}", "fill: none")
        return body.replace("<svg", '<svg role="img" focusable="false"', 1)


def render_figure(name: str, title: str, caption: str, compose: Callable[[], Figure | None]) -> RenderedFigure | None:
    """The figure that `compose` makes, as SVG and PDF; None if it makes none."""
    with matplotlib.rc_context(), warnings.catch_warnings(), without_collector():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": name})
        figure = compose()
        if figure is None:
            return None
        svg, pdf = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.set_layout_engine("none")  # it has done its work
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    return RenderedFigure(name, title, caption, shortened(svg.getvalue().decode()), pdf.getvalue())


@contextmanager
def without_collector() -> Iterator[None]:
    """A figure is a hundred thousand small objects: to look through them for garbage takes a fifth of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def shortened(svg: str) -> str:
    """The same picture with places to a hundredth of a point."""
    return re.sub(r' (?:d|x|y)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)


@cache
def width(text: str, size: float = TEXT) -> float:
    """Of a text as drawn, in inches."""
    return max((TextPath((0, 0), line, size).get_extents().width for line in text.split("\n") if line), default=0) / 72
