"""The terms of the losses over the epochs: the one that most methods have, then each method's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmark.report.figures.curves import BANDS, draw_band, line_look, per_epoch
from benchmark.report.figures.panels import FigureSpec, Style, name_lines
from benchmark.report.formatting import slug
from benchmark.report.records.cells import Cell, Pair, Protocol, Row
from benchmark.report.records.entries import Entry, finite_number

DASHES = ("-", "--", "-.", ":")  # of a method's first, second, third and further terms
FAR = 10  # how many times the least the largest is where a scale is logarithmic
SCALE = "Logarithmic where the values of a panel lie far apart and above 0; each panel has its own scale."


def losses(protocol: Protocol) -> list[FigureSpec]:
    """A picture of the term that most methods have, and one of all others."""
    terms = terms_of(protocol)
    counts = Counter(term for own in terms.values() for term in own)
    found = []
    shared = max(counts, key=counts.get, default=None)
    if shared is not None and counts[shared] > 1:
        caption = f"The loss term “{shared}” in training, its weight included, mean of each epoch. {BANDS} {SCALE}"
        title = f"Loss term “{shared}” over the epochs"
        panel = partial(draw_terms, terms={row: [shared] for row, own in terms.items() if shared in own})
        found.append(FigureSpec(f"loss-{slug(shared)}", title, caption, panel, axis="loss"))
        terms = {row: [term for term in own if term != shared] for row, own in terms.items()}
    caption = f"The methods’ own loss terms in training, weights included, mean of each epoch. {BANDS} {SCALE}"
    title, panel = "The methods’ own loss terms over the epochs", partial(draw_terms, terms=terms)
    found.append(FigureSpec("losses", title, caption, panel, axis="loss", legend=partial(name_terms, terms=terms)))
    return found


def terms_of(protocol: Protocol) -> dict[Row, list[str]]:
    """Row -> the names of its terms, in the order of the records."""
    found: dict[Row, dict[str, None]] = {}
    for pair in protocol.pairs:
        for cell in protocol.students(pair):
            found.setdefault(cell.row, {}).update(dict.fromkeys(term for e in cell.scored for term in loss_of(e)))
    return {row: list(found[row]) for row in protocol.rows if row in found}


def loss_of(entry: Entry) -> dict[str, list[Any]]:
    """Term -> its mean in each epoch, as the record has it."""
    found = entry.record.curve.get("loss") if entry.record else None
    known = found if isinstance(found, dict) else {}
    return {term: values for term, values in known.items() if isinstance(values, list)}


def draw_terms(
    axes: Axes, protocol: Protocol, pair: Pair, styles: dict[Row, Style], terms: dict[Row, list[str]]
) -> list[Row]:
    """The terms of each row over the epochs; the rows that were drawn."""
    found = [(cell, term, rank, seen(cell, term)) for cell in protocol.students(pair)
             for rank, term in enumerate(terms.get(cell.row, ()))]  # fmt: skip
    found = [one for one in found if np.isfinite(one[3]).any()]
    axes.set_xlabel("epoch")
    for index, (cell, _, rank, values) in enumerate(found):
        draw_band(axes, values, line_look(cell.row, styles[cell.row]) | {"linestyle": dashes(rank)}, index / len(found))
    every = np.concatenate([values[np.isfinite(values)] for *_, values in found]) if found else np.ones(1)
    if every.min() > 0 and every.max() > FAR * every.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3) if every.max() < 300 * every.min() else (1,), numticks=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    return list(dict.fromkeys(cell.row for cell, *_ in found))


def seen(cell: Cell, term: str) -> np.ndarray:
    """(seeds, epochs) of a term."""
    return per_epoch(list(map(finite_number, loss_of(entry).get(term, ()))) for entry in cell.scored)


def dashes(rank: int) -> str:
    """How the line of a method's term is drawn."""
    return DASHES[min(rank, len(DASHES) - 1)]


def name_terms(
    figure: Figure, rows: Sequence[Row], styles: dict[Row, Style], terms: dict[Row, Collection[str]]
) -> None:
    """A name for each line: its row, and the term."""
    lines = [(row, term, rank) for row in rows for rank, term in enumerate(terms[row])]
    looks = [line_look(row, styles[row]) | {"linestyle": dashes(rank)} for row, _, rank in lines]
    name_lines(figure, looks, [f"{row.label}: {term}" for row, term, _ in lines])
