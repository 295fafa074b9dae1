"""How a picture of a protocol is drawn, one panel per pair, and written: SVG, PDF, and SVG for the page.

Colours of Okabe & Ito and a marker each, so that they survive colour blindness and a grey printer.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.report.cells import Cell, Pair, Protocol, Row
from benchmark.report.tables import setting

INK, PAPER = "#1a1b1e", "#fffffe"  # become the page's own colours where the picture stands in the page
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
LOOK = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
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
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "text.parse_math": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
Style = tuple[str, str]  # colour, marker


@dataclass(frozen=True, slots=True)
class Drawing:
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
        body = body.replace(INK, "currentColor").replace(f"fill: {PAPER}", "fill: none")
        return body.replace("<svg", '<svg role="img" focusable="false"', 1)


def styles_of(protocols: Sequence[Protocol]) -> dict[Row, Style]:
    """A colour and a marker for every row, the same in all pictures of a report."""
    rows = dict.fromkeys(row for protocol in protocols for row in protocol.rows)
    found: dict[Row, Style] = {}
    for index, row in enumerate(row for row in rows if row.kind == "method"):
        found[row] = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
    for index, row in enumerate(row for row in rows if row.kind == "student"):
        found[row] = INK, MARKERS[index % len(MARKERS)]
    return found | {row: (INK, "*") for row in rows if row.kind == "teacher"}


@dataclass(frozen=True, slots=True)
class Picture:
    """What to draw into each panel; `panel` returns the rows that it has drawn."""

    word: str  # in the names of its files
    title: str
    caption: str
    panel: Callable[[Axes, Protocol, Pair, dict[Row, Style]], list[Row]]


def draw(picture: Picture, protocol: Protocol, styles: dict[Row, Style]) -> Drawing | None:
    """The picture of a protocol; None if no panel has anything to show."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(LOOK | {"svg.hashsalt": protocol.slug})
        figure = compose(picture, protocol, styles)
        if figure is None:
            return None
        svg, pdf = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None})
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    name, title = f"{protocol.slug}-{picture.word}", f"{picture.title} · {protocol.label}"
    return Drawing(name, title, f"{setting(protocol)} {picture.caption}", svg.getvalue().decode(), pdf.getvalue())


def compose(picture: Picture, protocol: Protocol, styles: dict[Row, Style]) -> Figure | None:
    """The panels, at most three abreast, and a legend below."""
    pairs = [pair for pair in protocol.pairs if students(protocol, pair)]
    across = 2 if len(pairs) in (2, 4) else min(3, len(pairs)) or 1
    down = ceil(len(pairs) / across)
    figure = Figure(figsize=(3.2 * across + 2.2 * (across == 1), 2.7 * down + 0.7), layout="constrained")
    seen: set[Row] = set()
    for index, pair in enumerate(pairs):
        axes = figure.add_subplot(down, across, index + 1)
        axes.set_title(pair.label, loc="left")
        seen.update(picture.panel(axes, protocol, pair, styles))
        if index % across == 0:
            axes.set_ylabel("top-1 accuracy (%)")
    if not seen:
        return None
    add_legend(figure, [row for row in protocol.rows if row in seen], styles)
    return figure


def add_legend(figure: Figure, rows: Sequence[Row], styles: dict[Row, Style]) -> None:
    """Names below the panels."""
    handles = [
        Line2D([], [], color=styles[row][0], marker=styles[row][1], linestyle=line_of(row), **face(row)) for row in rows
    ]
    columns = max(2, int(figure.get_figwidth() * 11 / max(len(row.label) + 6 for row in rows)))
    figure.legend(handles, [row.label for row in rows], loc="outside lower center", ncols=columns)


def face(row: Row) -> dict[str, object]:
    """Students without a teacher have hollow markers."""
    return {
        "markersize": 8 if row.kind == "teacher" else 5,
        "markerfacecolor": PAPER if row.kind == "student" else None,
    }


def line_of(row: Row) -> str:
    """Dashed for a teacher, solid for who learns from one."""
    return "--" if row.kind == "teacher" else "-"


def students(protocol: Protocol, pair: Pair) -> list[Cell]:
    """The cells of a pair that have numbers, teacher apart."""
    cells = [protocol.cells[row, pair] for row in protocol.rows if row.kind != "teacher"]
    return [cell for cell in cells if cell.scored]
