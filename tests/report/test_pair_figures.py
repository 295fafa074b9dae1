"""Tests of the figures over all pairs: gains by method and pair, published numbers, time of one image; and of marks."""

import html
import re
from functools import partial

import numpy as np
import pytest
from test_across import LEVELS, PAIRS, protocol_of, records_of_pairs
from test_deployment_table import record as deployment
from test_figures import SCORES, full_records
from test_figures import protocol_of as lone_protocol
from test_report import NASTY, a_record, a_run

from benchmark.report.figures.drawing.colours import styles_of
from benchmark.report.figures.drawing.labels import overlap, spread
from benchmark.report.figures.drawing.tags import PREFIX, resolve_tags
from benchmark.report.figures.forest import forest_figures
from benchmark.report.figures.heatmap import heatmap_figure
from benchmark.report.figures.latency import latency_figure, points
from benchmark.report.figures.panels import draw_figure
from benchmark.report.figures.published import published_figure
from benchmark.report.published import PublishedMatch, PublishedNumber


def titles(figure):
    """(Row, text) of every mark that has a title."""
    found = re.findall(r'<g data-row="([^"]*)"><title>(.*?)</title>', figure.svg)
    return [(html.unescape(row), html.unescape(text).removeprefix(f"{html.unescape(row)}: ")) for row, text in found]


# ---- gains by method and pair
def test_a_square_for_each_method_and_pair_has_the_gain_over_the_plain_student(tmp_path):
    records = records_of_pairs()
    found = titles(heatmap_figure(protocol_of(tmp_path, records)))
    methods = [method for method in LEVELS if method != "ce"]
    assert len(found) == len(methods) * len(PAIRS)
    for teacher, student in PAIRS:
        for method in methods:
            means = [
                np.mean([
                    record.score["top1"]
                    for record in records
                    if (record.run["student"], record.run["method"]) == (student, each)
                    and (each == "ce" or record.run["teacher"]["student"] == teacher)
                ])
                for each in (method, "ce")
            ]  # fmt: skip
            gain = f"{100 * (means[0] - means[1]):+.2f}".replace("-", "−")
            assert any(row == method and text.startswith(f"{teacher}-{student}, {gain} points") for row, text in found)


def test_one_pair_has_no_map(tmp_path):
    assert heatmap_figure(lone_protocol(tmp_path, full_records())) is None


# ---- published numbers
def a_number(value, method="kd"):
    """A published number of the pair of the records."""
    empty = dict.fromkeys(("table", "knobs", "spread", "note", "source", "confidence"), "")
    fields = {"paper": "a paper", "dataset": "cifar100", "teacher": "resnet56", "student": "resnet20", "metric": "top1"}
    return PublishedNumber(**empty, **fields, method=method, value=str(value), protocol="crd240", epoch="last")


def test_a_mark_is_ours_minus_published_for_numbers_of_the_same_protocol_only(tmp_path):
    protocol = lone_protocol(tmp_path, full_records())
    cells = {cell.row.label: cell for cell in protocol.student_cells(protocol.pairs[0])}
    match = partial(PublishedMatch, spread=protocol.models[protocol.pairs[0]].between_seeds)
    matches = [match(cells["kd"], a_number(69.0)), match(cells["sp"], a_number(69.0, "sp"), ("6 epochs, not 240",))]
    figure = published_figure(protocol, matches, styles_of([protocol]))
    ours = 100 * np.mean(SCORES["kd"])
    assert {row for row, _ in titles(figure)} == {"kd"}
    assert f"{ours - 69.0:+.2f} points" in titles(figure)[0][1]
    assert published_figure(protocol, matches[1:], styles_of([protocol])) is None


# ---- time of one image
def test_a_network_is_matched_by_data_architecture_and_size(tmp_path):
    protocol = lone_protocol(tmp_path, full_records())
    fast, slow = ({"latency_ms": time, "images_per_s": 1.0} for time in (1.5, 7.0))
    known = protocol.student_cells(protocol.pairs[0])[0].scored[0].size("student")
    same = deployment(1, "resnet20", "A", fp32=fast).model_copy(update={"size": {"student": known}})
    layered = deployment(2, "resnet20", "A", fp32=slow)  # another size: a method has left a layer in it
    elsewhere = same.model_copy(update={"run": same.run | {"dataset": "cifar10"}})
    found = points(protocol, [same, layered, elsewhere], "A")
    assert {cell.row.label for cell, *_ in found} == {"student (ce)", "kd", "sp"}
    assert {time for _, time, _ in found} == {1.5}
    figure = latency_figure(protocol, [same, layered], styles_of([protocol]))
    assert all(text.endswith("1.5 ms") for _, text in titles(figure)) and "A, in fp32" in figure.caption
    assert latency_figure(protocol, [layered, elsewhere], styles_of([protocol])) is None
    assert latency_figure(protocol, [], styles_of([protocol])) is None


def test_the_device_with_most_networks_of_the_protocol_is_shown(tmp_path):
    teacher = a_run("ce", 0, "resnet56", None)
    protocol = lone_protocol(tmp_path, [a_record(teacher, 0.73), a_record(a_run("kd", teacher=teacher), 0.7)])
    time = {"latency_ms": 2.0, "images_per_s": 1.0}
    size = {"size": {"student": 278_324}}
    one = [deployment(1, "resnet20", "A", fp32=time).model_copy(update=size)]
    two = [
        deployment(n, name, "B", fp32=time).model_copy(update=size) for n, name in enumerate(("resnet20", "resnet56"))
    ]
    figure = latency_figure(protocol, [*one, *two], styles_of([protocol]))
    assert "on B, in" in figure.caption and {row for row, _ in titles(figure)} == {"teacher", "kd"}


# ---- marks and labels
def test_a_dot_for_each_seed_stands_at_its_difference(tmp_path):
    protocol = lone_protocol(tmp_path, full_records())
    (spec,) = forest_figures(protocol)
    found = [text for row, text in titles(draw_figure(spec, protocol, styles_of([protocol]))) if row == "sp"]
    differences = [100 * (a - b) for a, b in zip(SCORES["sp"], SCORES["kd"], strict=True)]
    for seed, difference in enumerate(differences):
        assert f"seed {seed}: {difference:+.2f} points" in found


def test_a_row_with_one_run_is_hollow_in_the_forest_and_its_mark_says_so(tmp_path):
    records = [record for record in full_records() if (record.run["method"], record.run["seed"] > 0) != ("sp", True)]
    protocol = lone_protocol(tmp_path, records)
    (spec,) = forest_figures(protocol)
    figure = draw_figure(spec, protocol, styles_of([protocol]))
    own = [text for row, text in titles(figure) if row == "sp"]
    assert own and all(text.endswith(": one run") and " to " in text for text in own)
    assert "Hollow: one run or n too small" in spec.caption and "Tukey" in spec.caption


def test_a_name_in_a_mark_is_escaped():
    code = f'["{NASTY}", "a & b"]'.encode().hex()
    assert resolve_tags(f'<g id="{PREFIX}{code}">') == (
        '<g data-row="&lt;script&gt;alert(1)&lt;/script&gt;">'
        "<title>&lt;script&gt;alert(1)&lt;/script&gt;: a &amp; b</title>"
    )


@pytest.mark.parametrize("seed", range(8))
def test_labels_keep_their_order_and_distance_and_stay_inside_if_there_is_room(seed):
    values = np.sort(np.random.default_rng(seed).uniform(0, 1, 12) ** 3)
    found = np.array(spread(values.tolist(), 0.08))
    assert np.diff(found).min() > 0.0799 and found[0] > -1e-9 and found[-1] < 1 + 1e-9
    assert spread([0.2, 0.5, 0.9], 0.1) == [0.2, 0.5, 0.9] and spread([], 0.1) == []


def test_the_overlap_of_a_box_is_the_area_that_others_take_or_that_is_outside():
    assert overlap((1, 1, 2, 2), [(1.5, 1.5, 3, 3)], (4, 4)) == 0.25
    assert overlap((3.5, 1, 4.5, 2), [], (4, 4)) == 0.5 and overlap((1, 1, 2, 2), [], (4, 4)) == 0
