"""Tests of the published numbers: the file, the matching with cells, and the verdicts."""

import ast
import csv
import io
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from test_report import a_record, a_run, a_store

from benchmark.experiment.suite import make_recipe, read_suite
from benchmark.models import NETWORKS
from benchmark.report.published import PROTOCOLS, match_published, published
from benchmark.report.records.entries import load_entries
from benchmark.report.records.protocols import protocols
from benchmark.report.tables.accuracy import accuracy_table
from benchmark.report.tables.reproduced import reproduced_table, summary
from benchmark.report.tables.text_formats import to_csv, to_markdown
from methods import registry

REPORT = Path(__file__).parents[2] / "benchmark" / "report"
CRD = make_recipe("crd240")
KD = {"alpha": 0.9, "temperature": 4.0}
FOREIGN = {  # methods of other papers that this suite does not have
    *("fkd", "fkd w.o. fr", "wcord", "itrd", "ctkd", "mlkd", "kd+dot", "kd+ls", "ctkd+ls", "dkd+ls", "mlkd+ls"),
    *("kd++", "dist++", "dkd++", "reviewkd++"),
    *("maxout", "network in network", "deeply-supervised networks", "deeply-supervised networks (19 layers)"),
    *("mimic single 54m", "mimic single 70m", "mimic ensemble 70m", "hints", "no hints", "kda combo (both)"),
    *("kd, no 3s in transfer set", "kd, no 3s, bias of class 3 +3.5"),
}


OTHER_NETWORKS = {  # of papers, that this suite does not have
    *("7-layer, 107M mult", "WRN 28-4", "WRN 28-2", "WRN 16-4", "WRN 16-2", "ResNet 56", "Pyramid-200", "Pyramid-110"),
}


def published_value(method, pair, paper="CRD (1910.10699)", dataset="cifar100"):
    """The only number of a paper for a method on a pair, in percent."""
    found = [
        one.value
        for one in published()
        if (one.paper, one.dataset, one.method, f"{one.teacher}-{one.student}") == (paper, dataset, method, pair)
    ]
    (value,) = found
    return float(value)


def kd_run(seed=0, recipe=CRD, teacher="resnet56", **changes):
    """A run of kd; it and its teacher have the CRD recipe by default."""
    if isinstance(teacher, str):
        teacher = a_run("ce", 0, teacher, None, recipe=recipe)
    return a_run("kd", seed, teacher=teacher, recipe=recipe, **{"knobs": KD} | changes)


def matches_of_runs(tmp_path, runs, top1=0.7066):
    """(Protocol, matches of its students' cells) of runs that all have the same score."""
    entries, _ = load_entries(a_store(tmp_path, [a_record(run, top1) for run in runs]))
    (protocol,) = protocols(entries)
    return protocol, [one for one in match_published(protocol) if one.cell.row.kind != "teacher"]


def kd_match(tmp_path, *values):
    """(Protocol, match of kd) on resnet56-resnet20; values: top-1 by seed."""
    entries, _ = load_entries(a_store(tmp_path, [a_record(kd_run(seed), value) for seed, value in enumerate(values)]))
    (protocol,) = protocols(entries)
    (one,) = [one for one in match_published(protocol) if one.cell.row.kind == "method"]
    return protocol, one


# ---- the file
def test_every_number_has_paper_source_and_confidence():
    assert len(published()) == 583
    for one in published():
        assert one.paper and one.table and one.source and one.confidence and float(one.value) > 0, one
        assert isinstance(json.loads(one.knobs or "{}"), dict)
        assert one.protocol in ("", *PROTOCOLS) and one.epoch in ("", "last", "best")


def test_networks_and_methods_have_this_suites_names_or_are_declared_foreign():
    for one in published():
        names = set(one.method.split("+"))
        assert names <= {"teacher", *registry.names()} or one.method in FOREIGN, one.method
        if one.dataset in ("cifar10", "cifar100"):
            assert {one.teacher, one.student} <= {"", *OTHER_NETWORKS, *NETWORKS}, one
    assert {one.method for one in published()} >= FOREIGN


def test_knobs_are_those_that_our_methods_have():
    for one in published():
        known = registry.knobs(one.method) if one.knobs else {}
        assert set(json.loads(one.knobs or "{}")) <= set(known), one


def test_numbers_equal_those_printed_in_the_papers():
    assert published_value("kd", "resnet56-resnet20") == 70.66
    assert published_value("ce", "resnet56-resnet20") == 69.06
    assert published_value("teacher", "resnet56-resnet20") == 72.34
    assert published_value("sp", "resnet32x4-ShuffleV2") == 74.56
    assert published_value("hint", "ResNet50-MobileNetV2") == 63.16
    assert published_value("sp", "wrn_16_8-wrn_40_2", "SP (1907.09682)", "cifar10") == 95.45
    crd = [one for one in published() if one.paper == "CRD (1910.10699)"]
    assert Counter(one.method for one in crd)["kd"] == 13 and {one.protocol for one in crd} == {"crd240"}


def test_accuracies_computed_from_errors_have_a_note():
    (one,) = [
        one for one in published() if (one.dataset, one.method, one.student) == ("mnist", "fitnets", "FitNet 30K")
    ]
    assert (one.metric, one.value) == ("top1", "99.49") and "printed as 0.51 % misclassification" in one.note


def test_learning_rates_equal_those_of_the_suite_of_the_same_protocol():
    assert PROTOCOLS["crd240"] == read_suite("crd").lr
    for suite, name in {"kda": "kda120", "sp": "sp200", "lp": "fitnets"}.items():
        assert (read_suite(suite).recipe, read_suite(suite).lr) == (make_recipe(name), PROTOCOLS[name])


# ---- verdicts
def test_the_interval_of_a_difference_has_the_pairs_spread_between_seeds(tmp_path):
    _, one = kd_match(tmp_path, 0.70, 0.71, 0.705)
    found = one.comparison
    low, high = stats.t.interval(0.90, df=2, loc=0.705 - 0.7066, scale=0.005 / math.sqrt(3))
    assert (found.difference, found.low, found.high) == pytest.approx((0.705 - 0.7066, low, high))
    assert (one.verdict, one.departures, one.spread_of) == ("inconclusive", (), "this pair’s students")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.7066, 0.7076, 0.7056), "PASS"),
        ((0.7166, 0.7176, 0.7156), "FAIL"),
        ((0.6966, 0.6976, 0.6956), "FAIL"),
        ((0.70, 0.715, 0.70), "inconclusive"),
    ],
)
def test_a_number_is_reproduced_if_the_interval_lies_within_seven_tenths_of_a_point(tmp_path, values, expected):
    protocol, one = kd_match(tmp_path, *values)
    assert one.verdict == expected
    text = to_markdown(reproduced_table(protocol, [one]))
    assert ("would settle it" in text) == (expected == "inconclusive")


def test_one_run_borrows_the_spread_of_the_pairs_other_rows_and_the_table_says_so(tmp_path):
    teacher = a_run("ce", 0, "resnet56", None, recipe=CRD)
    records = [a_record(kd_run(), 0.7066)]
    records += [a_record(a_run("sp", seed, teacher=teacher, recipe=CRD), 0.69 + seed / 1000) for seed in range(3)]
    entries, _ = load_entries(a_store(tmp_path, records))
    (protocol,) = protocols(entries)
    (one,) = [match for match in match_published(protocol) if match.cell.row.method == "kd"]
    assert one.spread.sd == pytest.approx(0.001) and one.verdict == "PASS"
    assert "sd 0.10, 2 df, of this pair’s students" in to_markdown(reproduced_table(protocol, [one]))


def test_one_run_of_a_pair_without_a_spread_borrows_that_of_all_pairs(tmp_path):
    records = [a_record(kd_run(), 0.7066)]
    records += [
        a_record(kd_run(seed, student="resnet8x4", teacher="resnet32x4"), 0.73 + seed / 500) for seed in range(2)
    ]
    entries, _ = load_entries(a_store(tmp_path, records))
    (protocol,) = protocols(entries)
    found = {one.spread_of for one in match_published(protocol) if one.cell.pair.student == "resnet20"}
    assert found == {"all pairs’ students"}


def test_where_variances_differ_a_cell_has_the_spread_of_its_own_runs(tmp_path):
    teacher = a_run("ce", 0, "resnet56", None, recipe=CRD)
    noise = (1, -4, 3, 2, -3, 1)
    records = [a_record(kd_run(seed), 0.7066 + each / 100) for seed, each in enumerate(noise)]
    for place, method in enumerate(("sp", "hint", "lp", "lsh", "kda", "fitnets")):
        values = [0.69 + (((5 * seed + 3 * place) % 7) - 3) / 10_000 for seed in range(6)]
        records += [a_record(a_run(method, s, teacher=teacher, recipe=CRD), v) for s, v in enumerate(values)]
    entries, _ = load_entries(a_store(tmp_path, records))
    (protocol,) = protocols(entries)
    (one,) = [match for match in match_published(protocol) if match.cell.row.method == "kd"]
    assert protocol.models[one.cell.pair].unequal
    assert (one.spread.sd, one.spread.degrees) == (pytest.approx(np.std(noise, ddof=1) / 100), 5)
    assert one.spread_of == "its own runs"


def test_without_any_spread_there_is_no_verdict_however_small_the_difference(tmp_path):
    protocol, one = kd_match(tmp_path, 0.7066)
    assert (one.verdict, one.reason) == ("inconclusive", "no spread is known")
    assert "inconclusive: no spread is known" in to_markdown(reproduced_table(protocol, [one]))


def test_a_published_spread_counts_where_its_number_of_runs_is_printed(tmp_path):
    runs = [kd_run(seed, student="resnet8x4", teacher="resnet32x4") for seed in range(2)]
    entries, _ = load_entries(a_store(tmp_path, [a_record(run, 0.73 + run.seed / 500) for run in runs]))
    (protocol,) = protocols(entries)
    found = {one.quoted.value: one for one in match_published(protocol) if one.cell.row.method == "kd"}
    printed, exact = found["73.174"], found["73.33"]
    assert (printed.quoted.spread, printed.quoted.runs) == ("0.206", "5") and exact.quoted.standard_error is None
    assert printed.quoted.standard_error.sd == pytest.approx(0.00206 / math.sqrt(5))
    assert printed.comparison.high - printed.comparison.low != pytest.approx(
        exact.comparison.high - exact.comparison.low
    )


# ---- protocols
def test_another_number_of_epochs_is_another_protocol(tmp_path):
    short = CRD.with_epochs(12)
    protocol, (one,) = matches_of_runs(tmp_path, [kd_run(seed, recipe=short) for seed in range(2)])
    assert (one.verdict, one.departures[0]) == ("different protocol", "12 epochs, not 240")
    assert "different protocol: 12 epochs, not 240" in to_markdown(reproduced_table(protocol, [one]))


def test_every_term_of_the_recipes_of_student_and_teacher_is_compared(tmp_path):
    other_recipe = CRD.model_copy(update={"weight_decay": 1e-4})
    _, (one,) = matches_of_runs(
        tmp_path / "own", [kd_run(recipe=other_recipe, teacher=a_run("ce", 0, "resnet56", None, recipe=CRD))]
    )
    assert one.departures == ("weight_decay 0.0001, not 0.0005",)
    _, (one,) = matches_of_runs(
        tmp_path / "teacher", [kd_run(teacher=a_run("ce", 0, "resnet56", None, recipe=other_recipe))]
    )
    assert one.departures == ("teacher: weight_decay 0.0001, not 0.0005",)


def test_the_learning_rate_is_that_of_the_network(tmp_path):
    slow = CRD.model_copy(update={"lr": 0.01})
    networks = {"student": "ShuffleV1", "teacher": a_run("ce", 0, "resnet32x4", None, recipe=CRD)}
    _, found = matches_of_runs(tmp_path / "slow", [kd_run(recipe=slow, **networks)])
    assert {one.departures for one in found} == {()}
    _, found = matches_of_runs(tmp_path / "fast", [kd_run(**networks)])
    assert {one.departures for one in found} == {("lr 0.05, not 0.01",)}


def test_numbers_judged_on_test_are_not_compared_with_holdout(tmp_path):
    assert matches_of_runs(tmp_path, [kd_run(judge="holdout")])[1] == []


def test_a_best_epoch_is_not_compared_with_a_last_one(tmp_path):
    runs = [a_run("ce", seed, "resnet8x4", None, recipe=CRD) for seed in range(2)]
    runs.append(kd_run(student="resnet8x4", teacher="resnet32x4"))
    _, found = matches_of_runs(tmp_path, runs, 0.725)
    verdicts = {one.quoted.value: one.verdict for one in found if one.cell.row.kind == "student"}
    assert verdicts == {"72.50": "PASS", "72.488": "PASS", "72.22": "PASS", "72.69": "different protocol"}


def test_a_difference_outside_the_recipe_prevents_a_verdict_on_fitnets_numbers(tmp_path):
    shared = {"recipe": make_recipe("fitnets"), "dataset": "cifar10"}
    teacher = a_run("ce", 0, "maxout", None, **shared)
    runs = [a_run("fitnets", seed, "fitnet1", teacher, **shared) for seed in range(2)]
    _, (one,) = matches_of_runs(tmp_path, runs, 0.8901)
    assert one.departures == ("images whitened there (GCN, ZCA), not here",)


def test_variants_of_a_method_have_their_own_numbers(tmp_path):
    recipe = make_recipe("kda120")
    runs = [
        a_run("kda", 0, "ResNet18", "ResNet34", recipe=recipe, knobs={"at": at, "landmarks": how})
        for at, how in (("embedding", "centres"), ("classifier", "centres"), ("embedding", "random"))
    ]
    _, found = matches_of_runs(tmp_path, runs)
    values = {(json.loads(one.cell.row.knobs)["at"], one.quoted.value) for one in found}
    assert values == {("embedding", "79.6"), ("classifier", "79.4")} and len(found) == 2


def test_another_setting_of_a_method_has_no_published_number(tmp_path):
    assert matches_of_runs(tmp_path, [kd_run(knobs={"alpha": 0.5, "temperature": 4.0})])[1] == []


def test_several_numbers_of_a_cell_are_all_listed_and_the_cell_counts_once(tmp_path):
    runs = [kd_run(seed, student="resnet8x4", teacher="resnet32x4") for seed in range(2)]
    _, found = matches_of_runs(tmp_path, runs, 0.7333)
    papers = ["CRD (1910.10699)", "FKD (later paper quoting CRD)", "third-party re-run of CRD benchmark"]
    assert [one.quoted.paper for one in found] == papers
    assert summary(found).startswith("1 cell with a published number: 1 PASS, 0 FAIL, 0 inconclusive")


# ---- tables
def test_a_quoted_number_is_in_italics_and_names_its_source(tmp_path):
    protocol, one = kd_match(tmp_path, 0.70, 0.71)
    table = reproduced_table(protocol, [one])
    text = to_markdown(table)
    assert "*70.66*" in text and "CRD (1910.10699), table 1 (repository README)" in text
    (line,) = csv.DictReader(io.StringIO(to_csv(table)))
    assert (line["published_percent"], line["n"], line["verdict"]) == ("70.66", "2", "inconclusive")
    assert "RepDistiller" in line["source"] and len(line["records"].split()) == 2


def test_quoted_numbers_enter_no_other_table(tmp_path):
    readers = {"benchmark.report.published", "benchmark.report.tables.reproduced"}
    records, tables = ("entries", "cells", "protocols"), ("accuracy", "comparisons", "long", "measures")
    files = [f"statistics/{path.stem}" for path in (REPORT / "statistics").glob("*.py")]
    files += [*(f"records/{name}" for name in records), *(f"tables/{name}" for name in tables)]
    for name in files:
        tree = ast.parse((REPORT / f"{name}.py").read_text())
        assert not readers & {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}, name
    protocol, _ = kd_match(tmp_path, 0.70, 0.71)
    assert "70.66" not in to_markdown(accuracy_table(protocol))


def test_the_summary_counts_cells_by_verdict(tmp_path):
    teacher = a_run("ce", 0, "resnet56", None, recipe=CRD)
    runs = [(teacher, 0.7234), (a_run("hint", 0, teacher=teacher, recipe=CRD), 0.6991)]
    for method, top1, knobs in (("kd", 0.7066, KD), ("sp", 0.6767, {"gamma": 3000.0})):
        values = [top1 - 0.001, top1 + 0.001, top1]
        runs += [(a_run(method, seed, teacher=teacher, recipe=CRD, knobs=knobs), v) for seed, v in enumerate(values)]
    entries, _ = load_entries(a_store(tmp_path, [a_record(run, top1) for run, top1 in runs]))
    (protocol,) = protocols(entries)
    matches = [match for match in match_published(protocol) if match.cell.row.kind != "teacher"]
    assert summary(matches) == (
        "3 cells with a published number: 1 PASS, 1 FAIL, 1 inconclusive, 0 under a different protocol."
    )
    assert summary([]) == "No cell has a published number beside it."


def test_a_teacher_or_plain_student_of_several_pairs_is_counted_once(tmp_path):
    teacher = a_run("ce", 0, "resnet110", None, recipe=CRD)
    records = [a_record(teacher, 0.7431), a_record(a_run("ce", 0, "resnet20", None, recipe=CRD), 0.69)]
    pairs = [("resnet20", teacher), ("resnet32", teacher), ("resnet20", a_run("ce", 0, "resnet56", None, recipe=CRD))]
    records += [a_record(kd_run(student=student, teacher=own), 0.7) for student, own in pairs]
    entries, _ = load_entries(a_store(tmp_path, records))
    (protocol,) = protocols(entries)
    matches = match_published(protocol)
    assert Counter(match.cell.row.kind for match in matches)["teacher"] == 3
    assert Counter(match.cell.row.kind for match in matches)["student"] == 2
    assert summary(matches).startswith("6 cells")  # two teachers, a plain student, three of kd
