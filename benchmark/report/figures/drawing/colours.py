"""Colour and marker of every row: fixed by the method's name, so the same in every figure of every report.

The methods of this project have a colour each: Okabe and Ito's six, five more of their own lightness, and eleven that
are farthest from all before them in OKLab, with and without red or green cones, and legible on white and on black.  So
many cannot all be told apart by everybody: those most alike differ in the marker.  Settings of one method are shades.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from matplotlib.colors import to_hex, to_rgb

from benchmark.report.figures.style import COLOURS, FOREGROUND, MARKERS
from benchmark.report.records.cells import Protocol, Row

Style = tuple[str, str]  # colour, marker
PALETTE = (
    *(*COLOURS, "#A0446E", "#7B6CD9", "#8A8A2E", "#A65628", "#7F8C99"),
    *("#4339E0", "#9EB38B", "#C821B1", "#6A5243", "#3792FD", "#F94173"),
    *("#FA7ED5", "#584D8C", "#AC1922", "#2C61FE", "#6E6990"),
)
SHADES = (0.0, 0.45, -0.35, 0.65, -0.55)  # of further settings of a method: towards white, or below 0 towards black
FIXED = (  # place in the palette; a name that is not here has a place by its hash
    *("kd", "sp", "fitnets", "lp", "lsh", "kda", "hint", "at", "crd", "dkd", "reviewkd"),
    *("cc", "vid", "rkd", "pkt", "ab", "ft", "fsp", "nst", "ofd", "dist"),
)


def styles_of(protocols: Iterable[Protocol]) -> dict[Row, Style]:
    """Row -> its colour and marker."""
    rows = dict.fromkeys(row for protocol in protocols for row in protocol.rows)
    styles: dict[Row, Style] = {}
    count: dict[str, int] = {}
    for row in rows:
        if row.kind == "method":
            place = count[row.method] = count.get(row.method, -1) + 1
            styles[row] = method_style(row.method, place)
    for index, row in enumerate(row for row in rows if row.kind == "student"):
        styles[row] = FOREGROUND, MARKERS[index % len(MARKERS)]
    return styles | {row: (FOREGROUND, "*") for row in rows if row.kind == "teacher"}


def method_style(name: str, variant: int = 0) -> Style:
    """Colour and marker of a method; variant: 0 for its first setting, 1 for the second and so on."""
    first, *others = name.split("+")
    place = FIXED.index(first) if first in FIXED else int(hashlib.sha256(first.encode()).hexdigest(), 16)
    marker = place + 5 * (place // len(MARKERS)) + 3 * len(others) + variant
    return shade(PALETTE[place % len(PALETTE)], SHADES[variant % len(SHADES)]), MARKERS[marker % len(MARKERS)]


def shade(colour: str, amount: float) -> str:
    """The colour mixed with white (above 0) or with black (below 0); amount: the share of that, -1 to 1."""
    other = 1.0 if amount > 0 else 0.0
    return to_hex([part + abs(amount) * (other - part) for part in to_rgb(colour)])
