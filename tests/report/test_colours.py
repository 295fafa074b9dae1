"""Tests of colours and markers: fixed by the method's name, one for each method, shades for its settings."""

import re
from colorsys import rgb_to_hls
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.colors import to_rgb

from benchmark.report.figures.drawing.colours import PALETTE, method_style, styles_of
from benchmark.report.figures.style import FOREGROUND
from benchmark.report.records.cells import Protocol, Row

OTHERS = {"__init__", "blocks", "ce", "composition", "contract", "registry", "source_hash"}
METHODS = sorted({path.stem for path in (Path(__file__).parents[2] / "methods").glob("*.py")} - OTHERS)
PAGE_STYLE = (Path(__file__).parents[2] / "benchmark/report/page/page.css").read_text()


def protocol(*rows):
    """A protocol of these rows."""
    return Protocol("p", "p", (), (), (), rows, {})


def test_no_two_methods_of_the_project_look_alike():
    assert len(METHODS) >= 21
    assert len({method_style(name)[0] for name in METHODS}) == len(METHODS)
    settings = [method_style(name, variant) for name in METHODS for variant in range(2)]
    assert len(set(settings)) == len(settings)


def luminance(colour):
    """The relative luminance, as the Web Content Accessibility Guidelines define it."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
    return sum(share * v for share, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("paper", re.findall(r"--card: (#\w+)", PAGE_STYLE))
def test_every_colour_stands_out_from_the_paper_in_light_and_in_dark(paper):
    for colour in PALETTE:
        low, high = sorted(map(luminance, (colour, paper)))
        assert (high + 0.05) / (low + 0.05) > 2, colour


def test_a_methods_colour_does_not_depend_on_the_other_rows():
    kd, sp = Row("method", "kd"), Row("method", "sp")
    both, alone = styles_of([protocol(kd, sp)]), styles_of([protocol(sp)])
    assert both[sp] == alone[sp] == method_style("sp")
    assert styles_of([protocol(sp, kd)]) == both


def test_settings_of_a_method_are_shades_of_its_colour_with_markers_of_their_own():
    rows = [Row("method", "kd", f'{{"alpha": {n}}}') for n in range(5)]
    styles = styles_of([protocol(*rows)])
    hues = [rgb_to_hls(*to_rgb(styles[row][0]))[0] for row in rows]
    assert hues == pytest.approx([hues[0]] * 5, abs=0.02)
    assert len(set(styles.values())) == 5 and len({marker for _, marker in styles.values()}) == 5


def test_an_unknown_name_always_has_the_same_colour_and_a_composed_one_that_of_its_first_part():
    assert method_style("somebody's") == method_style("somebody's") and method_style("somebody's")[0].upper() in PALETTE
    assert method_style("sp+kd")[0] == method_style("sp")[0] and method_style("sp+kd") != method_style("sp")


def test_teacher_and_plain_student_have_the_colour_of_text():
    styles = styles_of([protocol(Row("teacher"), Row("student", "ce"))])
    assert {colour for colour, _ in styles.values()} == {FOREGROUND}


def seen_without_red_cones(colour):
    """The colour as seen with protanopia: Viénot, Brettel and Mollon's matrix on linear RGB."""
    r, g, b = (((v + 0.055) / 1.055) ** 2.4 if v > 0.04 else v / 12.92 for v in to_rgb(colour))
    return 0.11238 * r + 0.88762 * g, 0.11238 * r + 0.88762 * g, 0.00401 * r - 0.00401 * g + b


def test_colours_are_told_apart_without_red_cones_or_by_the_marker():
    for first, second in combinations(METHODS[:], 2):
        (colour, marker), (other, mark) = method_style(first), method_style(second)
        gaps = [abs(a - b) for a, b in zip(seen_without_red_cones(colour), seen_without_red_cones(other), strict=True)]
        assert max(gaps) > 0.02 or marker != mark, f"{first} and {second}"
