"""The figures of loss terms over the epochs: the term that most methods share, and all other terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmark.report.figures.curves import BANDS_SENTENCE, draw_band, line_options, per_epoch
from benchmark.report.figures.drawing.colours import Style
from benchmark.report.figures.panels import FigureSpec, add_line_legend
from benchmark.report.formatting import slug
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.records.entries import Entry, finite_numbers
from benchmark.report.tables.table import run_counts, runs_per_cell

LINE_STYLES = ("-", "--", "-.", ":")  # of the first, second, third and further terms in a figure
LOG_SCALE_RATIO = 10  # a scale is logarithmic if the largest value exceeds this multiple of the smallest
SCALE = "Logarithmic where the values of a panel lie far apart and above 0; each panel has its own scale."


def loss_figures(protocol: Protocol) -> list[FigureSpec]:
    """One figure of the term that most methods have, if several have it, and one of all other terms."""
    terms = terms_of(protocol)
    counts = Counter(term for row_terms in terms.values() for term in row_terms)
    figures, described = [], f"{BANDS_SENTENCE} {SCALE} {runs_per_cell(run_counts(protocol))}."
    shared = max(counts, key=counts.get, default=None)
    if shared is not None and counts[shared] > 1:
        title = f"Loss term “{shared}” over the epochs"
        caption = f"The loss term “{shared}” in training, its weight included, mean of each epoch. {described}"
        panel = partial(draw_terms, terms={row: [shared] for row, row_terms in terms.items() if shared in row_terms})
        figures.append(FigureSpec(f"loss-{slug(shared)}", title, caption, panel, axis="loss", scored=False))
        terms = {row: [term for term in row_terms if term != shared] for row, row_terms in terms.items()}
    caption = f"The methods’ own loss terms in training, weights included, mean of each epoch. {described}"
    title, panel = "The methods’ own loss terms over the epochs", partial(draw_terms, terms=terms)
    legend = partial(add_term_legend, terms=terms)
    figures.append(FigureSpec("losses", title, caption, panel, axis="loss", legend=legend, scored=False))
    return figures


def terms_of(protocol: Protocol) -> dict[Row, list[str]]:
    """Row -> the names of its loss terms, in the order of the records."""
    names: dict[Row, dict[str, None]] = {}
    for pair in protocol.pairs:
        for cell in protocol.student_cells(pair):
            names.setdefault(cell.row, {}).update(dict.fromkeys(term for e in cell.scored for term in loss_terms(e)))
    return {row: list(names[row]) for row in protocol.rows if row in names}


def loss_terms(entry: Entry) -> dict[str, list[Any]]:
    """Loss term -> its mean in each epoch, from the record."""
    terms = entry.record.curve.get("loss") if entry.record else None
    terms = terms if isinstance(terms, dict) else {}
    return {term: values for term, values in terms.items() if isinstance(values, list)}


def draw_terms(
    axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style], terms: dict[Row, list[str]]
) -> list[Row]:
    """Draw the terms of each row over the epochs; return the drawn rows."""
    curves = [(cell, term, rank, term_curves(cell, term)) for cell in protocol.student_cells(pair)
             for rank, term in enumerate(terms.get(cell.row, ()))]  # fmt: skip
    curves = [curve for curve in curves if np.isfinite(curve[3]).any()]
    axes.set_xlabel("epoch")
    for index, (cell, _, rank, values) in enumerate(curves):
        options = line_options(cell.row, styles[cell.row]) | {"linestyle": term_line_style(rank)}
        draw_band(axes, values, options, index / len(curves), cell.row.label)
    finite = np.concatenate([values[np.isfinite(values)] for *_, values in curves]) if curves else np.ones(1)
    if finite.min() > 0 and finite.max() > LOG_SCALE_RATIO * finite.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3) if finite.max() < 300 * finite.min() else (1,), numticks=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    return list(dict.fromkeys(cell.row for cell, *_ in curves))


def term_curves(cell: Cell, term: str) -> np.ndarray:
    """The values of a term as an array (seeds, epochs)."""
    return per_epoch(finite_numbers(loss_terms(entry).get(term, ())) for entry in cell.scored)


def term_line_style(rank: int) -> str:
    """The line style of a row's term of this rank."""
    return LINE_STYLES[min(rank, len(LINE_STYLES) - 1)]


def add_term_legend(
    figure: Figure, rows: Sequence[Row], styles: dict[Row, Style], terms: dict[Row, Collection[str]]
) -> None:
    """Add a legend with row and term of each line."""
    terms_of_rows = [(row, term, rank) for row in rows for rank, term in enumerate(terms[row])]
    options = [line_options(row, styles[row]) | {"linestyle": term_line_style(rank)} for row, _, rank in terms_of_rows]
    labels = [f"{row.marked}: {term}" for row, term, _ in terms_of_rows]
    add_line_legend(figure, options, labels, [row for row, *_ in terms_of_rows])
