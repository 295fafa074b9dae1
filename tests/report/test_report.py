"""Tests of the report: from records to tables, figures and the page."""

import csv
import json
import math
import re
import statistics as plain
import subprocess
import sys
import zlib
from base64 import b64decode
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.report.build import build
from benchmark.report.records.entries import load_entries
from benchmark.report.records.predictions import Predictions
from benchmark.report.records.protocols import protocols
from benchmark.report.statistics.summary import summarise, welch_interval
from benchmark.report.tables.table import Table, TableCell, TableLine
from benchmark.report.tables.text_formats import to_csv
from benchmark.store import Record, Store

ROOT = Path(__file__).parents[2]
RECIPE = Recipe(epochs=6, lr=0.05, schedule=Steps(at=(3, 5)))
ABOUT = """Knowledge distillation.  Hinton, Vinyals & Dean, 2014.

    L = CE + KL

Status: exact
Departures: the temperature
is <ours>.
"""
NASTY = "<script>alert(1)</script>"
SIMULATED = "error-rates.csv"  # the one table that is not made of records


# ---- synthetic records
def a_run(method="kd", seed=0, student="resnet20", teacher="resnet56", **changes):
    """A student's run; teacher: a network, a run, or None."""
    shared = {"dataset": "cifar100", "recipe": RECIPE, "judge": "test"} | changes
    if isinstance(teacher, str):
        teacher = Run(**shared | {"student": teacher, "method": "ce", "recipe": RECIPE, "knobs": {}})
    return Run(**{"student": student, "method": method, "teacher": teacher, "seed": seed} | shared)


def a_record(run, top1=0.7, status="done", **changes):
    """The record of an attempt at a run; source, ended and suite go into its provenance."""
    made = {"suite": "quick", "source": "aaaa", "commit": "abcdef1234567890", "dirty": False, "torch": "2.7.0"}
    made |= {"device": "a device", "precision": "fp32", "ended": "2026-01-02T03:04:05+00:00", "plugins": []}
    made["data"] = {"name": run.dataset, "sha256": "0123456789abcdef", "train": 50_000, "judged": 10_000}
    made["teacher"] = {"id": run.teacher.id, "top1": 0.7345} if run.teacher else None
    made |= {word: changes.pop(word) for word in ("source", "ended", "suite") if word in changes}
    found = {"error": {"type": "Diverged", "message": "the loss is not finite", "trace": "line 7"}}
    if status == "done":
        found = measured(run, top1)
    fields = {"id": run.id, "status": status, "run": run.model_dump(mode="json"), "made": made, "about": ABOUT}
    return Record.model_validate(fields | found | changes)


def measured(run, top1):
    """Score, curve, size and clock of a run that is done."""
    score = {"top1": top1, "top5": 0.9, "nll": 1.1, "ece": 0.05, "best_top1": top1 and top1 + 0.01, "best_epoch": 5}
    score |= {"agreement": 0.8, "kl": 0.3} if run.teacher else {"agreement": None, "kl": None}
    curve = [top1 and top1 * (epoch + 1) / 6 for epoch in range(6)]
    size = {"student": 278_324, "added": 0, "auxiliary": 1_000, "buffers": 0, "macs": 41_000_000}
    size |= {"teacher": 861_620, "teacher_macs": 127_000_000} if run.teacher else {"teacher": None}
    return {
        "score": score,
        "curve": {"stage": ["distill"] * 6, "lr": [0.05] * 6, "top1": curve, "loss": {"ce": [1.0] * 6}},
        "size": size,
        "clock": {"train_s": 120.5, "images_per_s": 4000.0, "epochs": 6, "extra_epochs": 0, "lanes": 3},
    }


def a_store(root, records):
    """A store with the records, written in their order."""
    store = Store(root)
    for record in records:
        store.add(record)
    return store


KD, SP, CE = (0.7012, 0.7034, 0.7051), (0.7030, 0.7021, 0.7060), (0.6899, 0.6871, 0.6880)


def varied_records():
    """Records of a pair on test with three seeds and every kind of failure, one without teacher, and one on holdout."""
    teacher = a_run("ce", 0, "resnet56", None)
    found = [a_record(teacher, 0.7345, about="Plain.  Nobody, 2000.")]
    for seed in range(3):
        found.append(a_record(a_run("ce", seed, teacher=None), CE[seed]))
        found.append(a_record(a_run("kd", seed, knobs={"alpha": 0.9, "temperature": 4.0}), KD[seed]))
        newer = {"source": "bbbb", "ended": "2026-03-04T00:00:00Z"} if seed == 2 else {}
        found.append(a_record(a_run("sp", seed), SP[seed], **newer))
        found.append(a_record(a_run("hint", seed), 0.69, "diverged" if seed == 1 else "done"))
        unfit = {"type": "Unfit", "message": "maps of 4 × 4 & 8 × 8", "trace": ""}
        found.append(a_record(a_run("fitnets", seed), status="unfit", error=unfit))
    found.append(a_record(a_run("kd", 0, knobs={"alpha": 0.5, "temperature": 4.0}), 0.7))
    found.append(a_record(a_run(NASTY), 0.6))
    found.append(a_record(a_run("nan"), None))
    found.append(a_record(a_run("kd", 0, "ShuffleV1", "resnet32x4", knobs={"alpha": 0.9, "temperature": 4.0}), 0.71))
    knobs = {"kd": {"alpha": 0.9, "temperature": 4.0}, "sp": {}}
    for method, own in knobs.items():
        run = a_run(method, judge="holdout", dataset="folder:cifar10", knobs=own)
        found.append(a_record(run, 0.8765))
    return found


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """(Folder, page) of a report of these records, a damaged file and a plan."""
    root = tmp_path_factory.mktemp("report")
    store = a_store(root / "results", varied_records())
    (root / "results/records/torn.json").write_text('{"id": "0123')
    page = build(store, root / "out", [a_run("lsh", seed) for seed in range(2)])
    return root / "out", page.read_text()


def lines_of(folder, name):
    """The lines, as dicts, of the CSV tables whose name ends with `name`."""
    paths = [path for path in sorted((folder / "tables").glob(f"*{name}.csv")) if path.name != SIMULATED]
    return [line for path in paths for line in csv.DictReader(path.read_text().splitlines())]


def csv_line(folder, row, pair="resnet56-resnet20", judge="test", name="accuracy"):
    """The only line of CSV for a row and a pair."""
    lines = lines_of(folder, name)
    (line,) = [ln for ln in lines if (ln["row"], ln["pair"], ln["judge"]) == (row, pair, judge)]
    return line


def markdown_of(folder, name="epochs"):
    """The Markdown tables whose name contains `name`."""
    return "\n".join(path.read_text() for path in sorted((folder / "tables").glob(f"*{name}*.md")))


# ---- statistics
def test_summary_is_what_the_formulas_say():
    values = [0.70, 0.72, 0.69, 0.715]
    mean = 0.0
    for value in values:
        mean += value / 4
    squares = 0.0
    for value in values:
        squares += (value - mean) ** 2
    sd = math.sqrt(squares / 3)
    low, high = stats.t.interval(0.95, df=3, loc=mean, scale=sd / 2)
    found = summarise(values)
    assert (found.mean, found.sd, found.low, found.high) == pytest.approx((mean, sd, low, high))
    assert found.sd == pytest.approx(plain.stdev(values))
    assert summarise(reversed(values)) == found


def test_one_value_has_no_spread_and_none_has_no_summary():
    assert summarise([0.7]).sd is None and summarise([0.7]).low is None
    assert summarise([]) is None
    assert welch_interval(summarise([0.7]), summarise([0.7, 0.8])) is None


def test_welch_interval_is_that_of_scipy():
    a, b = [0.70, 0.72, 0.69], [0.66, 0.68, 0.69, 0.65]
    expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert welch_interval(summarise(a), summarise(b)) == pytest.approx((expected.low, expected.high))
    same = summarise([0.5, 0.5])
    assert welch_interval(same, same) == (0, 0)


# ---- cells
def test_cells_show_mean_spread_and_n(report):
    folder, page = report
    cell = csv_line(folder, "kd, alpha 0.9")
    assert float(cell["top1_percent"]) == pytest.approx(100 * plain.mean(KD))
    assert float(cell["sd"]) == pytest.approx(100 * plain.stdev(KD))
    assert cell["n"] == "3"
    text = f"{100 * plain.mean(KD):.2f} ± {100 * plain.stdev(KD):.2f}"
    low, high = stats.t.interval(0.95, df=2, loc=100 * plain.mean(KD), scale=100 * plain.stdev(KD) / math.sqrt(3))
    assert f"{text} ≈ (n = 3; {low:.2f} to {high:.2f})" in markdown_of(folder)
    assert f'{text} <span class="mark">≈</span>' in page


def test_the_best_mean_is_bold_and_rows_not_told_from_it_are_marked(report):
    folder, _ = report
    found = {(line["row"], line["pair"]): line["standing"] for line in lines_of(folder, "quick-6-epochs-accuracy")}
    pair = "resnet56-resnet20"
    near = {"kd, alpha 0.9": "not told from the best"}  # alpha 0.5 has one run
    expected = {(row, pair): standing for row, standing in (near | {"sp": "best mean"}).items()}
    assert {key: standing for key, standing in found.items() if standing} == expected
    text = markdown_of(folder, "quick-6-epochs-")
    for sentence in ("by one-sided limits (Hsu)", "is found in 80 % of studies", "for this one teacher"):
        assert sentence in text


def test_teacher_and_plain_student_are_the_first_rows(report):
    folder, _ = report
    rows = [line["row"] for line in lines_of(folder, "quick-6-epochs-accuracy") if line["pair"] == "resnet56-resnet20"]
    assert rows[:2] == ["teacher", "student (ce)"]
    assert csv_line(folder, "teacher")["top1_percent"] == "73.45"


def test_settings_of_one_method_are_kept_apart_by_the_knobs_that_differ(report):
    folder, _ = report
    assert csv_line(folder, "kd, alpha 0.5")["n"] == "1"
    assert not any("temperature" in line["row"] for line in lines_of(folder, "accuracy"))


def test_a_method_run_once_shows_its_value_and_that_n_is_one(tmp_path):
    records = [a_record(a_run(method), 0.7) for method in ("kd", "sp")]
    page = build(a_store(tmp_path / "results", records), tmp_path / "out").read_text()
    text = markdown_of(tmp_path / "out")
    assert "70.00 (n = 1)" in text and "±" not in text.split("cifar100", 2)[1].split("Scored on")[0]
    assert "n = 1 is too small" in text and "n = 1 is too small" in page
    assert "**" not in text and "<strong>" not in page
    assert csv_line(tmp_path / "out", "kd")["sd"] == ""


def test_an_empty_cell_says_why_and_how_to_run_it_again(report):
    folder, page = report
    text = markdown_of(folder, "quick-6-epochs-")
    assert csv_line(folder, "fitnets")["lacking"] == "3 unfit"
    assert "maps of 4 × 4 &amp; 8 × 8" in text and "maps of 4 × 4 &amp; 8 × 8" in page
    command = "python -m benchmark run quick -p resnet56-resnet20 -m fitnets --seeds 0,1,2"
    assert f"`{command}`" in text and f"<code>{command}</code>" in page
    assert csv_line(folder, "nan")["lacking"] == "1 no score"


def test_failed_seeds_are_counted_beside_scored_ones(report):
    folder, _ = report
    assert "69.00 ± 0.00 (n = 2; 1 diverged; 69.00 to 69.00)" in markdown_of(folder)
    assert "the loss is not finite" in csv_line(folder, "hint")["reason"]


def test_planned_and_missing_runs_are_shown_as_not_run(report):
    folder, _ = report
    assert csv_line(folder, "lsh")["lacking"] == "2 not run"
    assert csv_line(folder, "sp", "resnet32x4-ShuffleV1")["lacking"] == "not run"


def test_the_command_that_repeats_a_setting_sets_its_knobs(tmp_path):
    knobs = [{"alpha": 0.5}, {"alpha": 0.9}]
    records = [a_record(a_run("kd", knobs=each), status="failed", suite=None) for each in knobs]
    build(a_store(tmp_path / "results", records), tmp_path / "out")
    command = "python -m benchmark run SUITE -p resnet56-resnet20 -m kd --seeds 0 --set kd.alpha=0.5"
    assert command in markdown_of(tmp_path / "out")


def test_the_score_of_a_teacher_without_a_record_comes_from_its_students_records(report):
    folder, page = report
    cell = csv_line(folder, "teacher", "resnet32x4-ShuffleV1")
    assert (cell["top1_percent"], cell["records"]) == ("73.45", "")
    assert "its own is missing" in page


# ---- protocols
def labels(tmp_path, *runs):
    """The labels of the protocols of these runs' records."""
    entries, complaints = load_entries(a_store(tmp_path, map(a_record, runs)))
    assert not complaints
    return [protocol.label for protocol in protocols(entries)]


def test_holdout_is_never_in_one_table_with_test(report):
    folder, page = report
    for path in (path for path in (folder / "tables").glob("*.csv") if path.name != SIMULATED):
        assert len({line["judge"] for line in csv.DictReader(path.read_text().splitlines())}) == 1
    assert "87.65" not in markdown_of(folder, "quick-6-epochs-") and "87.65" in markdown_of(folder, "holdout")
    assert "images held out of the training set" in page


def test_a_teacher_judged_on_other_images_has_no_score_in_the_table(tmp_path):
    teacher = a_run("ce", 0, "resnet56", None)
    records = [a_record(teacher, 0.7345), a_record(a_run("kd", 0, teacher=teacher, judge="holdout"), 0.7)]
    entries, _ = load_entries(a_store(tmp_path, records))
    found = {protocol.label: protocol for protocol in protocols(entries)}
    assert len(found) == 2
    (cell,) = [c for p in found.values() for c in p.cells.values() if c.row.kind == "teacher"]
    assert (cell.summary(), cell.reported_top1, cell.exclusion_reason) == (None, None, "judged on test of cifar100")


def test_an_image_folder_is_named_in_every_title(report):
    folder, _ = report
    titles = [line for line in markdown_of(folder, "holdout").splitlines() if line.startswith("### ")]
    assert len(titles) == 6 and all("folder:cifar10" in title for title in titles)


def test_labels_of_similar_protocols_name_what_differs(tmp_path):
    other = RECIPE.model_copy(update={"weight_decay": 0.001})
    found = labels(tmp_path, a_run(), a_run(recipe=other, teacher=a_run("ce", 0, "resnet56", None)))
    base = "quick · cifar100 · 6 epochs · batch 64 · judged on test"
    assert found == [f"{base} · weight_decay 0.0005", f"{base} · weight_decay 0.001"]


def computed(recipe_precision, precision, method="kd"):
    """A record of a run with a recipe's precision, computed in another or the same."""
    recipe = RECIPE.model_copy(update={"precision": recipe_precision})
    record = a_record(a_run(method, recipe=recipe, teacher=a_run("ce", 0, "resnet56", None)))
    return record.model_copy(update={"provenance": record.provenance | {"precision": precision}})


@pytest.mark.parametrize(
    ("auto", "names"),
    [
        ({"kd": "bf16"}, ["computed in bf16", "computed in fp32"]),
        ({"kd": "bf16", "sp": "fp32"}, ["computed in bf16 and fp32", "computed in fp32"]),
        ({"kd": "fp32"}, ["precision auto, computed in fp32", "precision fp32, computed in fp32"]),
    ],
)
def test_protocols_of_several_precisions_are_named_by_the_suite_and_by_what_was_computed(tmp_path, auto, names):
    records = [*(computed("auto", own, method) for method, own in auto.items()), computed("fp32", "fp32")]
    found = protocols(load_entries(a_store(tmp_path, records))[0])
    base = "quick · cifar100 · 6 epochs · batch 64 · judged on test"
    assert sorted(protocol.label for protocol in found) == [f"{base} · {name}" for name in names]
    assert {protocol.slug for protocol in found} == {"quick-6-epochs", "quick-6-epochs-students-fp32"}


def test_a_suite_that_is_called_as_its_data_set_is_named_once(tmp_path):
    entries, _ = load_entries(a_store(tmp_path, [a_record(a_run(dataset="digits"), suite="digits")]))
    assert [protocol.label for protocol in protocols(entries)] == ["digits · 6 epochs · batch 64 · judged on test"]


def test_learning_rates_separate_columns_but_not_protocols(tmp_path):
    slow = RECIPE.model_copy(update={"lr": 0.01})
    entries, _ = load_entries(
        a_store(tmp_path, map(a_record, [a_run(), a_run(recipe=slow), a_run(student="wrn_16_2")]))
    )
    (protocol,) = protocols(entries)
    expected = ["resnet56-resnet20 (lr 0.01)", "resnet56-resnet20 (lr 0.05)", "resnet56-wrn_16_2"]
    assert sorted(pair.label for pair in protocol.pairs) == expected


def test_a_plain_student_is_in_every_pair_with_its_network(tmp_path):
    runs = [a_run("ce", teacher=None), a_run(), a_run(teacher="resnet110")]
    entries, _ = load_entries(a_store(tmp_path, map(a_record, runs)))
    (protocol,) = protocols(entries)
    assert [len(cell.scored) for cell in protocol.cells.values() if cell.row.kind == "student"] == [1, 1]


def test_every_record_is_named_on_the_page(report):
    _, page = report
    missing = [record.name for record in varied_records() if record.name not in page]
    assert not missing


# ---- other tables
def test_the_best_epoch_is_called_oracle_and_its_optimism_is_shown(report):
    folder, _ = report
    cell = csv_line(folder, "kd, alpha 0.9", name="quality")
    assert (
        float(cell["best_top1"]) - float(cell["top1"]) == pytest.approx(float(cell["optimism"])) == pytest.approx(0.01)
    )
    text = markdown_of(folder)
    assert "oracle %" in text and "+1.00" in text and "chosen by the images that it is scored on" in text


def test_size_counts_deployed_and_auxiliary_parameters(report):
    folder, page = report
    cell = csv_line(folder, "kd, alpha 0.9", name="size")
    assert (cell["parameters"], cell["auxiliary"], cell["teacher_parameters"]) == ("278324", "1000", "861620")
    assert float(cell["compression"]) == pytest.approx(861_620 / 278_324)
    assert float(cell["macs_ratio"]) == pytest.approx(127 / 41)
    assert "278 k" in page and "3.10 ×" in page


def test_training_counts_a_backward_pass_as_two_forward_ones(report):
    folder, _ = report
    assert int(float(csv_line(folder, "kd, alpha 0.9", name="size")["training_macs"])) == 3 * 41_000_000 + 127_000_000
    assert int(float(csv_line(folder, "student (ce)", name="size")["training_macs"])) == 3 * 41_000_000
    assert "a backward pass counted as two forward ones" in markdown_of(folder, "size")


# ---- costs
def a_cost(run, own=2.0, device="a device", ended="2026-02-01T00:00:00+00:00"):
    """A cost of a run's step: 10 ms for the plain student, 5 ms for a teacher, and the method's own milliseconds."""
    taught = 5.0 if run.teacher else None
    clock = {"step_ms": 10.0 + (taught or 0.0) + own, "plain_ms": 10.0, "teacher_ms": taught, "method_ms": own}
    size = {"peak_bytes": 33_500_000, "training_macs": 1}
    made = {"device": device, "precision": "fp32", "ended": ended, "source": "aaaa"}
    fields = {"id": run.id, "status": "done", "run": run.model_dump(mode="json"), "made": made}
    return Record.model_validate({"kind": "cost", "clock": clock, "size": size} | fields)


def costly_records():
    """Records of two seeds of four methods; costs of one seed each, and none of the last method."""
    runs = [a_run("ce", 0, teacher=None), a_run("kd"), a_run("sp"), a_run("lsh")]
    found = [a_record(run.model_copy(update={"seed": seed}), 0.7 + seed / 100) for run in runs for seed in range(2)]
    return [*found, a_cost(runs[0], 0.0), a_cost(runs[1]), a_cost(runs[2], -0.5)]


def cost_report(tmp_path, records):
    """The folder of the report of these records."""
    return build(a_store(tmp_path / "results", records), tmp_path / "out").parent


def test_a_step_measured_alone_is_shown_with_its_parts(tmp_path):
    folder = cost_report(tmp_path, costly_records())
    cell = csv_line(folder, "kd", name="cost")
    measured = [float(cell[word]) for word in ("step_ms", "plain_ms", "teacher_ms", "method_ms", "method_share")]
    assert measured == pytest.approx([17, 10, 5, 2, 2 / 15])
    assert (float(cell["peak_bytes"]), cell["n"], cell["costs"]) == (33_500_000, "2", f"{a_run('kd').id}-1-cost")
    text = markdown_of(folder, "cost")
    assert "measured alone, in milliseconds, on a device in fp32" in text
    assert "| −0.5 |" in re.sub(" +", " ", text) and "| 13.3 |" in re.sub(" +", " ", text)


def test_a_plain_student_has_no_teacher_time(tmp_path):
    cell = csv_line(cost_report(tmp_path, costly_records()), "student (ce)", name="cost")
    assert (cell["teacher_ms"], float(cell["method_ms"]), float(cell["method_share"])) == ("", 0, 0)


def test_runs_without_a_cost_show_their_training_times_only(tmp_path, report):
    folder = cost_report(tmp_path, costly_records())
    cell = csv_line(folder, "lsh", name="cost")
    assert (cell["step_ms"], cell["peak_bytes"], cell["costs"]) == ("", "", "") and float(cell["train_s"]) == 120.5
    (line,) = [line for line in markdown_of(folder, "cost").splitlines() if "| lsh" in line]
    assert line.count("–") == 6
    assert "set-up s" not in markdown_of(folder, "cost") and "setup_s" in lines_of(folder, "cost")[0]  # in no record


def test_a_table_of_costs_without_steps_has_no_columns_or_sentences_on_them(report):
    text = markdown_of(report[0], "cost")
    assert "No step was measured alone. Set-up:" in text and "step ms" not in text and "Peak memory" not in text
    assert "Scored on" not in text and "training s" in text


def test_a_cost_is_not_an_entry_of_its_own(tmp_path):
    costs = [a_cost(a_run()), a_cost(a_run("sp"))]
    entries, complaints = load_entries(a_store(tmp_path, [a_record(a_run()), *costs]))
    assert [entry.name for entry in entries] == [f"{a_run().id}-1"] and not complaints
    assert [price.name for price in entries[0].costs] == [f"{a_run().id}-1-cost"]


def test_a_cost_applies_to_runs_with_another_seed_rate_judge_and_epochs(tmp_path):
    other = RECIPE.model_copy(update={"lr": 0.01, "epochs": 12})
    wide = RECIPE.model_copy(update={"batch": 128})
    same = [a_run(seed=3), a_run(recipe=other), a_run(judge="holdout", teacher=a_run().teacher)]
    runs = [*same, a_run(recipe=wide), a_run(knobs={"alpha": 0.5})]
    entries, _ = load_entries(a_store(tmp_path, [*map(a_record, runs), a_cost(a_run())]))
    assert {entry.run.id for entry in entries if entry.costs} == {run.id for run in same}


def test_the_newest_cost_is_shown_and_not_mixed_with_those_of_other_devices(tmp_path):
    runs = [a_run("kd"), a_run("sp")]
    costs = [a_cost(runs[0], 9.0, ended="2026-01-01T00:00:00+00:00"), a_cost(runs[0], 2.0)]
    old = [a_cost(run, 5.0, "an old device", "2025-01-01T00:00:00+00:00") for run in runs]
    folder = cost_report(tmp_path, [*map(a_record, runs), *costs, *old])
    assert float(csv_line(folder, "kd", name="cost")["method_ms"]) == 2
    assert csv_line(folder, "sp", name="cost")["method_ms"] == ""
    assert "The newest counts; there are older ones on an old device in fp32." in markdown_of(folder, "cost")


def test_an_unreadable_cost_gives_a_complaint(tmp_path):
    cost = a_cost(a_run())
    store = a_store(tmp_path, [a_record(a_run()), cost.model_copy(update={"run": {"dataset": "cifar100"}})])
    entries, complaints = load_entries(store)
    assert len(entries) == 1 and not entries[0].costs and "its run cannot be read" in complaints[0]


def test_the_step_time_figure_is_drawn_if_steps_were_measured(tmp_path, report):
    folder = cost_report(tmp_path, costly_records())
    assert {path.suffix for path in (folder / "figures").glob("*-split.*")} == {".svg"}
    assert "Where a step’s time goes" in (folder / "index.html").read_text()
    assert not list((report[0] / "figures").glob("*-split.*"))


def test_equal_costs_give_equal_bytes_whatever_the_order(tmp_path):
    contents = []
    for word, records in (("a", costly_records()), ("b", costly_records()[::-1])):
        out = cost_report(tmp_path / word, records)
        contents.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert contents[0] == contents[1]


def test_every_line_of_csv_names_its_records(report):
    folder, _ = report
    for line in lines_of(folder, ""):
        if int(line["n"]):
            assert len(line["records"].split()) >= int(line["n"])


# ---- devices
def test_devices_are_separated_by_semicolons_and_one_thread_is_in_the_singular(tmp_path):
    names = {"kd": "AMD EPYC, 1 threads", "sp": "AMD EPYC, 2 threads", "at": "another, 21 threads"}
    records = [a_record(a_run(method), 0.7) for method in names]
    made = [record.provenance | {"device": names[record.run["method"]]} for record in records]
    records = [r.model_copy(update={"provenance": own}) for r, own in zip(records, made, strict=True)]
    page = build(a_store(tmp_path / "results", records), tmp_path / "out").read_text()
    devices = "AMD EPYC, 1 thread; AMD EPYC, 2 threads; another, 21 threads"
    assert f"<dt>mixed device</dt><dd>{devices}</dd>" in page and "1 threads" not in page.replace("21 threads", "")


# ---- teachers, attempts, agreement
def test_a_teacher_has_one_accuracy_in_all_tables_that_of_its_kept_file(tmp_path):
    teacher = a_run("ce", 0, "resnet56", None)
    records = [
        a_record(teacher, 0.7301),
        a_record(a_run("kd", teacher=teacher)),
        a_record(a_run("sp", teacher=teacher)),
    ]
    folder = build(a_store(tmp_path / "results", records), tmp_path / "out").parent  # the students' records say 0.7345
    assert csv_line(folder, "teacher")["top1_percent"] == "73.45"
    for name in ("quality", "size"):
        assert float(csv_line(folder, "teacher", name=name)["top1"]) == pytest.approx(0.7345)
    text = markdown_of(folder, "quality")
    assert "Teacher: top-1 of its kept file, in fp32; top-5, NLL and ECE at the end of its training." in text
    assert csv_line(folder, "teacher", name="quality")["best_top1"] == ""
    assert "73.45 (n = 1; kept file, in fp32)" in markdown_of(folder, "accuracy")
    assert "73.01" not in markdown_of(folder)


def test_the_first_attempt_that_is_done_counts_and_the_others_are_listed(tmp_path):
    runs = [(a_run("kd", 0), 0.70, "failed"), (a_run("kd", 0), 0.71, "done"), (a_run("kd", 0), 0.75, "done")]
    records = [a_record(run, top1, status) for run, top1, status in runs] + [a_record(a_run("sp", 0), 0.72)]
    page = build(a_store(tmp_path / "results", records), tmp_path / "out").read_text()
    line = csv_line(tmp_path / "out", "kd")
    assert (line["top1_percent"], line["n"], line["records"]) == ("71", "1", f"{a_run('kd').id}-2")
    assert "1 run was attempted several times; the first done with the newest code counts." in markdown_of(
        tmp_path / "out", "accuracy"
    )
    ended = "2026-01-02T03:04:05+00:00"
    others = [[f"{a_run('kd').id}-1", "failed", ended], [f"{a_run('kd').id}-3", "75.00 %", ended]]
    assert json.dumps(others, separators=(",", ":")) in packed_runs(page)


def test_the_plain_students_agreement_with_the_teacher_is_computed_from_their_predictions(tmp_path):
    alone, kd = [a_run("ce", seed, teacher=None) for seed in range(2)], a_run("kd")
    store = a_store(tmp_path / "results", [a_record(kd), *(a_record(run, 0.5) for run in alone)])
    np.savez(store.predictions(kd.teacher.id), top1=np.array([1, 2, 3, 4], np.uint8), right=np.ones(4, bool))
    for run, classes in zip(alone, ([1, 2, 3, 0], [1, 2, 0, 0]), strict=True):
        right = np.array([1, 1, 0, 0], bool)
        np.savez(store.predictions(run.id), top1=np.array(classes, np.uint8), right=right)
    folder = build(store, tmp_path / "out").parent
    line = csv_line(folder, "student (ce)", name="quality")
    assert float(line["agreement"]) == pytest.approx(0.625)
    assert float(line["agreement_sd"]) == pytest.approx(0.25 / math.sqrt(2))
    assert "62.50 ± 17.68" in markdown_of(folder, "quality")


def test_why_a_run_has_no_predictions_is_told_apart(tmp_path):
    runs = {name: a_run(name) for name in ("kept", "other", "none")}
    store = a_store(tmp_path, [a_record(run, 0.5) for run in runs.values()])
    np.savez(store.predictions(runs["kept"].id), right=np.array([1, 1, 0, 0], bool))
    np.savez(store.predictions(runs["other"].id), right=np.array([1, 1, 1, 0], bool))  # 75 %: a second attempt's
    predictions = Predictions(store)
    entries = {entry.run.method: entry for entry in load_entries(store)[0]}
    assert predictions.missing_reason([entries["kept"]]) == ""
    assert predictions.missing_reason([entries["kept"], entries["none"]]) == "not kept"
    assert predictions.missing_reason([entries["none"], entries["other"]]) == "of another attempt"


# ---- notes, methods and failures
def test_records_of_older_source_are_marked_stale(report):
    folder, page = report
    assert csv_line(folder, "sp")["stale"] == "2"
    assert "n = 3; 2 stale" in page
    assert "older source" in page


def test_the_page_quotes_the_methods_docstrings(report):
    _, page = report
    assert "Knowledge distillation. Hinton, Vinyals &amp; Dean, 2014." in page
    assert "<dd>the temperature is &lt;ours&gt;.</dd>" in page
    assert "<dd>exact</dd>" in page


def test_failures_are_listed_with_their_messages(report):
    _, page = report
    part = page[page.index('id="failures"') :]
    assert "the loss is not finite" in part and "line 7" in part
    assert part.count('class="state"') == 4


def test_a_damaged_file_is_named_on_the_page(report):
    _, page = report
    assert "torn.json: not a record, skipped" in page


def test_a_record_whose_id_is_not_its_runs_is_left_out_with_a_complaint(tmp_path):
    store = a_store(tmp_path, [a_record(a_run(), id="0" * 12)])
    entries, complaints = load_entries(store)
    assert entries == [] and "its id is not that of its run" in complaints[0]


def test_provenance_names_commit_device_and_newest_record(report):
    _, page = report
    for word in ("abcdef1234", "a device", "fp32", "2.7.0", "2026-03-04T00:00:00Z"):
        assert f"<dd>{word}</dd>" in page


def test_the_page_says_how_numbers_are_judged_and_how_often_that_is_wrong(report):
    folder, page = report
    part = page[page.index('id="judging"') :]
    for word in ("Dunnett", "Hsu", "Brown and Forsythe", "McNemar", "PASS if the 90 % interval", "the one teacher"):
        assert word in part
    assert (folder / f"tables/{SIMULATED}").is_file() and 'id="error-rates"' in part


# ---- the page
class Elements(HTMLParser):
    """Tags, ids and links of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.ids, self.links = Counter(), Counter(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.ids.update(value for name, value in attrs if name == "id")
        self.links += [value for name, value in attrs if name in ("href", "src", "xlink:href")]


def test_names_are_escaped_everywhere(report):
    folder, page = report
    assert Elements(page).tags["script"] == page.count("<script") == 2  # the page's own scripts: details and module
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in markdown_of(folder)
    assert not any("<script" in path.read_text() for path in (folder / "figures").glob("*.svg"))


def test_the_page_is_self_contained_and_its_links_have_targets(report):
    folder, page = report
    found = Elements(page)
    assert [id for id, count in found.ids.items() if count > 1] == []
    for link in found.links:
        if link.startswith("#"):
            assert link[1:] in found.ids
        elif link != "data:,":
            assert (folder / link).is_file()
    assert not re.search(r"url\((?!#)", page) and "@import" not in page


def test_figures_are_written_as_svg_and_into_the_page_and_as_pdf_only_when_asked_for(report, tmp_path):
    folder, page = report
    names = {path.name.removeprefix("quick-") for path in (folder / "figures").iterdir()}
    words = {"holdout": {"curves", "forest", "loss-ce"}}
    words["test"] = words["holdout"] | {"gap"}
    prefixes = {"holdout": "folder-cifar10-holdout-6-epochs", "test": "6-epochs"}
    assert names == {f"{prefixes[j]}-{w}.svg" for j, own in words.items() for w in own}
    assert set(packed(page)["figures"]) == {f"quick-{name[:-4]}" for name in names}
    assert Elements(page).tags["figure"] == len(names) + 1  # the headline's stands twice, its data once
    build(a_store(tmp_path / "results", [a_record(a_run(), 0.7)]), tmp_path / "out", formats=["pdf"])
    (path, _) = sorted((tmp_path / "out/figures").iterdir())
    assert path.suffix == ".pdf" and path.read_bytes().startswith(b"%PDF")


def packed(page):
    """The data that the page embeds for its script."""
    return json.loads(re.search(r'<script type="application/json" id="told">(.*?)</script>', page, re.S)[1])


def packed_runs(page):
    """The details of the runs, as the JSON that the page's script reads."""
    return zlib.decompress(b64decode(packed(page)["runs"])).decode()


def test_equal_records_give_equal_bytes_whatever_the_order(tmp_path):
    contents = []
    for word, records in (("a", varied_records()[:8]), ("b", varied_records()[:8][::-1])):
        out = build(a_store(tmp_path / word / "results", records), tmp_path / word / "out").parent
        files = sorted(path for path in out.rglob("*") if path.is_file())
        contents.append({str(path.relative_to(out)): path.read_bytes() for path in files})
    assert contents[0] == contents[1]
    assert {"index.html", "manifest.txt"} < set(contents[0])


def test_a_report_without_records_says_how_to_begin(tmp_path):
    page = build(Store(tmp_path / "results"), tmp_path / "out").read_text()
    assert "No results yet" in page and "python -m benchmark run" in page


def test_a_report_of_failures_only_is_built(tmp_path):
    store = a_store(tmp_path / "results", [a_record(a_run(), status="failed", made={}, about="", error=None)])
    page = build(store, tmp_path / "out").read_text()
    assert "no student has a score yet" in page and "no message" in page
    assert not list((tmp_path / "out/figures").iterdir())


def test_only_what_a_report_wrote_itself_is_removed(tmp_path):
    out = tmp_path / "out"
    build(a_store(tmp_path / "results", [a_record(a_run(), None)]), out)
    old = {path.name for path in (out / "tables").iterdir()}
    (out / "tables/mine.csv").write_text("mine")
    (out / "precious.txt").write_text("mine")
    (out / "manifest.txt").write_text((out / "manifest.txt").read_text() + "../precious.txt\ntables/../precious.txt\n")
    build(Store(tmp_path / "nothing"), out)
    assert old and {path.name for path in (out / "tables").iterdir()} == {"mine.csv"}
    assert (out / "precious.txt").is_file()


def test_report_never_imports_torch():
    code = "import sys, benchmark.report; print([name for name in sys.modules if name.split('.')[0] == 'torch'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_report_of_a_sweep_in_progress_shows_missing_runs_and_how_to_continue(tmp_path):
    kd, sp = a_run("kd"), a_run("sp")
    store = a_store(tmp_path / "results", [a_record(kd.teacher), a_record(kd)])
    store.keep_plan([run.model_dump(mode="json") for run in (kd, sp)])
    text = markdown_of(build(store, tmp_path / "out").parent)
    assert "| sp " in text and "not run [1]" in text
    assert "1 run of this table planned and not run yet. Go on: `python -m benchmark run quick`" in text
    store.keep_plan([])
    assert "not run" not in markdown_of(build(store, tmp_path / "out").parent, "accuracy")


def test_the_table_of_networks_has_depth_size_and_the_accuracy_of_each_method(tmp_path):
    kd, plain = a_run("kd"), a_run("ce", teacher=None)
    sizes = {"student": 300, "added": 20, "macs": 1_000, "layers": 20, "teacher": 840, "teacher_macs": 3_000}
    records = [a_record(kd, 0.7, size=sizes), a_record(plain, 0.6, size={"student": 280, "macs": 1_000})]
    text = markdown_of(build(a_store(tmp_path / "results", records), tmp_path / "out").parent, "networks")
    line = next(line for line in text.splitlines() if line.startswith("| resnet56-resnet20"))
    values = [word.strip() for word in line.strip("|").split("|")]
    assert values[1:6] == ["20", "280", "1 k", "3.00 ×", "3.00 ×"]
    assert values[6:] == ["60.00", "70.00"]
    assert "teacher |" not in text  # a column without numbers


def test_a_column_without_numbers_is_left_out_of_the_page_and_kept_in_the_csv():
    lines = tuple(TableLine(name, (TableCell("–"), TableCell(text))) for name, text in (("a", "1"), ("b", "–")))
    tidy = pd.DataFrame({"empty": [None, None], "full": [1, None]})
    table = Table("t", "T", "A caption.", ("empty", "full"), lines, tidy).concise("not measured")
    assert table.heads == ("full",) and [len(line.cells) for line in table.lines] == [1, 1]
    assert table.caption == "A caption. –: not measured." and to_csv(table).startswith("empty,full")
    assert (
        "not measured" not in Table("t", "T", "c", ("empty", "full"), lines[:1], tidy).concise("not measured").caption
    )


def test_methods_that_are_columns_are_marked_by_their_status(tmp_path):
    about = {"kd": "Status: exact", "sp": "Status: adapted"}
    records = [a_record(a_run(method), 0.7, about=f"Title.\n\n{rest}") for method, rest in about.items()]
    folder = build(a_store(tmp_path / "results", records), tmp_path / "out").parent
    text, page = markdown_of(folder, "networks"), (folder / "index.html").read_text()
    assert re.search(r"\| +kd \| +sp† \|", text) and text.rstrip().endswith("† adapted.")
    assert re.search(r"<th [^>]*>sp<sup>†</sup></th>", page)


# ---- wrong folders
@pytest.mark.parametrize(
    ("name", "reason"),
    [("absent", "is not there"), ("file", "is not a folder"), ("empty", "holds no records of runs"),
     ("damaged", r"holds no records of runs \(1 file there cannot be read as records\)")],
)  # fmt: skip
@pytest.mark.parametrize("options", [(), ("--watch",)], ids=" ".join)
def test_a_folder_without_records_leaves_the_earlier_report_as_it_is(run_cli, tmp_path, name, reason, options):
    out = tmp_path / "reports"
    out.mkdir()
    (out / "index.html").write_text("earlier")
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged" / "records").mkdir(parents=True)
    (tmp_path / "damaged" / "records" / "a-1.json").write_text("{")
    done = run_cli("report", "--results", tmp_path / name, "--out", out, *options)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(rf"error: .*{name} {reason}.+\n", done.err)
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("index.html", "earlier")]


def test_a_damaged_record_is_named_on_the_terminal(run_cli, tmp_path):
    a_store(tmp_path, [a_record(a_run("ce", 0, "resnet56", None), 0.7)])
    (tmp_path / "records" / "broken-1.json").write_text('{"schema": 1')
    done = run_cli("report", "--results", tmp_path, "--out", tmp_path / "reports", "--format", "md")
    assert done.code == 0
    assert "broken-1.json" in done.err
