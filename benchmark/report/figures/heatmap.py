"""The figure of gains over the plain student, a square for each method and pair of networks."""

from __future__ import annotations

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmark.report.figures.drawing.cache import NO_CACHE, FigureCache
from benchmark.report.figures.drawing.method_axis import order_by_effect
from benchmark.report.figures.drawing.tags import tag
from benchmark.report.figures.panels import row_legend
from benchmark.report.figures.style import RenderedFigure, render_figure, text_width
from benchmark.report.formatting import format_points
from benchmark.report.records.cells import Pair, Protocol, Row
from benchmark.report.statistics.families import BETTER, WORSE, Contrast
from benchmark.report.tables.comparisons import baseline_contrasts

WIDTH, HEIGHT, MARGIN = 0.56, 0.24, 0.1  # inches: of a square; at the edges
SLANT = 0.62  # height of a slanted pair's name, as a share of its length
MARKS, DARK, LIGHT = {BETTER: "▲", WORSE: "▼"}, "#111214", "#fdfdfc"
CAPTION = (
    "Top-1 accuracy minus that of the plain student, in percentage points. ▲ better and ▼ worse by more than chance "
    "explains (Dunnett, in each pair by itself; one run: no mark). Methods in order of their mean gain. An empty place "
    "has no score."
)


def heatmap_figure(protocol: Protocol, kept: FigureCache = NO_CACHE) -> RenderedFigure | None:
    """The figure; None without gains on two pairs."""
    plain = next((row for row in protocol.rows if row.kind == "student"), None)
    gains = baseline_contrasts(protocol, plain) if plain else {}
    if len({pair for _, pair in gains}) < 2:
        return None
    name, title = f"{protocol.slug}-heatmap", f"Gain over {plain.label} · {protocol.label}"
    caption = " ".join([CAPTION, *row_legend(protocol)])
    return render_figure(name, title, caption, lambda: compose(protocol, gains), kept)


def compose(protocol: Protocol, gains: dict[tuple[Row, Pair], Contrast]) -> Figure:
    """One grid: methods down, pairs across."""
    rows = order_by_effect({key: gain.difference for key, gain in gains.items()})
    pairs = [pair for pair in protocol.pairs if any(pair == other for _, other in gains)]
    left = MARGIN + 0.1 + max(text_width(row.marked) for row in rows)
    longest = max(text_width(pair.label) for pair in pairs)
    size = (WIDTH * len(pairs), HEIGHT * len(rows))
    figure = Figure(figsize=(left + size[0] + 0.8 * longest + MARGIN, size[1] + SLANT * longest + 2.5 * MARGIN))
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, MARGIN / height, size[0] / width, size[1] / height))
    draw_squares(axes, rows, pairs, gains)
    axes.set(xlim=(-0.5, len(pairs) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(pairs)), [pair.label for pair in pairs], rotation=38, ha="left", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), [row.marked for row in rows])
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        tag(text, row.label)
    return figure


def draw_squares(axes: Axes, rows: list[Row], pairs: list[Pair], gains: dict[tuple[Row, Pair], Contrast]) -> None:
    """A coloured square with its number for each gain."""
    largest = max(abs(gain.difference) for gain in gains.values()) or 1.0
    norm, colours = TwoSlopeNorm(0.0, -largest, largest), colormaps["PuOr_r"]
    for (row, pair), gain in gains.items():
        x, y, shade = pairs.index(pair), rows.index(row), colours(norm(gain.difference))
        square = axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=to_hex(shade), edgecolor="none"))
        tag(square, row.label, f"{pair.label}, {format_points(gain.difference)} points: {gain.verdict}")
        luminance = 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2]
        text = f"{100 * gain.difference:+.1f}{MARKS.get(gain.verdict, '')}".replace("-", "−")
        colour = DARK if luminance > 0.55 else LIGHT
        axes.text(x, y, text, ha="center", va="center", fontsize=7, color=colour)
