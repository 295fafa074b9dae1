"""The suite's speed targets, the tables that show them, and the roofline of a step."""

import json

import pytest
import torch

from benchmark import models
from benchmark.acceleration.machine import Machine
from benchmark.errors import BadInput
from benchmark.profiling import measurements, roofline, suites, targets
from benchmark.profiling.measurements import Measurements
from benchmark.report.tables.speed import speed_tables
from benchmark.report.tables.text_formats import to_markdown
from benchmark.store import Store
from benchmark.training import model_size

ROOFLINE = {
    "work": "a teaches b, kd", "batch": 64, "operators": {"aten::conv": 0.5},
    "milliseconds": {"step": 50.0, "teacher": 20.0}, "counted": {"macs": 10**10, "bytes": 10**8},
    "per_second": {"macs": 4e11, "bytes": 1e10}, "floor_ms": {"macs": 25.0, "bytes": 10.0},
}  # fmt: skip


class FakeMeasurements:
    """Results as a machine might have measured them."""

    alone = {"ratio": 2.6, "ratio_of_medians": 2.5, "images_per_s": {"ours": {"best": 1000.0}}}
    cohort = {"ratio": 3.9, "ratio_of_medians": 3.8, "images_per_s": {"ours": {"best": 2000.0}}}
    shares = {"sp": 0.04, "lp": 0.02, "lsh": 0.11, "kda": 0.03, "hint": 0.3}
    taught = ("a", "b")
    here = Machine(torch.device("cpu"), "fp32")


def test_each_target_is_judged_by_its_own_rule():
    found = [target.read(FakeMeasurements()) for target in targets.TARGETS[:3]]
    assert [one["met"] for one in found] == [True, False, False]
    assert measurements.alone_on_gpu(FakeMeasurements()) == {
        "ratio": 2.6, "ratio_of_medians": 2.5, "step_ms": 64.0, "met": False,
    }  # fmt: skip
    assert measurements.cohort_on_gpu(FakeMeasurements())["minutes_at_this_rate"] == 240 * 50_000 * 2 / 2000 / 60


def test_a_target_that_was_not_measured_is_shown_as_such_and_has_no_verdict():
    rows = [{"work": "w", "kind": "cuda", "aim": "a", "found": None}]
    text = targets.show({"rows": rows, "machine": "m", "made": {"torch": "t"}, "repeats": 1, "bound": ROOFLINE})
    assert "not measured" in text
    assert "met" not in text.replace("not measured", "").replace("method", "")


def test_an_estimate_stands_beside_its_target_and_is_called_one():
    rows = [target.row(FakeMeasurements()) for target in targets.TARGETS]
    assert [row["found"] is None for row in rows] == ["expected" in row for row in rows], "of what was not measured"
    assert all(row["limit"] for row in rows if "expected" in row)
    text = targets.show({"rows": rows, "machine": "m", "made": {"torch": "t"}, "repeats": 1, "bound": ROOFLINE})
    before, _, estimates = text.partition("expected on an H100, not measured:")
    assert "1.2 to 1.7 ms" in estimates and "16 lanes: 5 to 8 ms" in estimates and "24 GB" in estimates
    assert "1.2 to 1.7 ms" not in before
    for limit in ("number of kernels", "kernels too small to fill the device", "bytes read and written"):
        assert f"limited by: {limit}" in estimates


def test_memory_is_given_back_after_every_measurement(tmp_path, monkeypatch):
    order = []
    rate = {"images_per_s": {"ours": {"best": 1.0}}}
    monkeypatch.setattr(Machine, "free_memory", lambda self: order.append("free"))
    monkeypatch.setattr(measurements.speed, "measure", lambda *_: order.append("speed") or rate)
    monkeypatch.setattr(measurements.cost, "measure_pair", lambda *_: order.append("cost") or [])
    monkeypatch.setattr(measurements.roofline, "measure", lambda *_: order.append("roofline") or {})
    m = Measurements(tmp_path, "cpu", 1, 1)
    for name in ("alone", "cohort", "large", "shares", "bound", "alone"):
        getattr(m, name)
    measurements.teacher_on_gpu(m)
    assert order == ["speed", "free"] * 3 + ["cost", "free", "roofline", "free", "speed", "free"]


def test_a_suite_other_than_targets_is_refused(tmp_path):
    with pytest.raises(BadInput, match="there is no 'crd'"):
        suites.run_suite("crd", tmp_path, tmp_path, "cpu", 1, 1, False)


def test_the_report_has_a_table_for_each_machine_and_names_an_unreadable_file(tmp_path):
    rows = [
        {"work": t.work, "kind": t.kind, "aim": t.aim, "found": t.read(FakeMeasurements()) if t.kind == "cpu" else None}
        for t in targets.TARGETS
    ]
    value = {"rows": rows, "machine": "A machine, 2 threads", "repeats": 5, "made": {"torch": "2", "commit": "abc"}}
    folder = tmp_path / "speed"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps(value))
    (folder / "b.json").write_text("[]")
    (table,), (complaint,) = speed_tables(Store(tmp_path))
    assert table.name == "speed-a-machine-2-threads"
    text = to_markdown(table)
    assert "ratio 2.60" in text and "lsh 11.0 %" in text
    assert text.count("not measured") == sum(t.kind == "cuda" for t in targets.TARGETS) + 1  # and in the caption
    assert "b.json" in complaint
    assert "expected" not in text, "the file has no estimates"


def test_the_report_shows_estimates_in_columns_of_their_own(tmp_path):
    rows = [target.row(FakeMeasurements()) for target in targets.TARGETS]
    value = {"rows": rows, "machine": "M", "repeats": 5, "made": {"torch": "2", "commit": "abc"}}
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "a.json").write_text(json.dumps(value))
    (table,), complaints = speed_tables(Store(tmp_path))
    assert not complaints
    assert table.heads[-2:] == ("expected, not measured", "limited by")
    shown = [tuple(cell.text for cell in line.cells)[-2:] for line in table.lines]
    assert shown == [(row.get("expected", ""), row.get("limit", "")) for row in rows]


# ---- roofline
def test_the_roofline_of_a_step_follows_from_its_counts_and_the_rates_of_the_machine(tmp_path):
    found = roofline.measure("resnet14", "resnet8", tmp_path, "cpu")
    teacher, student = (model_size.count_macs(models.build(name, 100)) for name in ("resnet14", "resnet8"))
    assert found["counted"]["macs"] == 64 * (teacher + 3 * student)
    assert found["floor_ms"]["macs"] == pytest.approx(1000 * found["counted"]["macs"] / found["per_second"]["macs"])
    assert found["floor_ms"]["bytes"] == pytest.approx(1000 * found["counted"]["bytes"] / found["per_second"]["bytes"])
    assert all(value > 0 for name, value in found["milliseconds"].items() if name != "loss and backward")
    assert 0 < sum(found["operators"].values()) <= 1
    assert f"{found['counted']['macs'] / 1e9:.1f} G" in roofline.summary_line(found)
    json.dumps(found)


def test_views_move_no_bytes_and_other_operators_those_that_they_read_and_write():
    a, b = torch.zeros(8, 4), torch.zeros(8, 4)
    with roofline.BytesMoved() as moved:
        c = a + b
        c.view(32).t()
    assert moved.bytes == 3 * 8 * 4 * 4
    with roofline.BytesMoved() as moved:
        c.add_(a)
    assert moved.bytes == 3 * 8 * 4 * 4, "c is read, a is read, c is written"


def test_the_report_shows_the_time_of_a_step_by_part_and_operator(tmp_path):
    value = {"rows": [], "machine": "M", "repeats": 1, "made": {"torch": "2", "commit": None}, "bound": ROOFLINE}
    (tmp_path / "speed").mkdir()
    (tmp_path / "speed" / "m.json").write_text(json.dumps(value))
    (_, table), complaints = speed_tables(Store(tmp_path))
    text = to_markdown(table)
    assert not complaints
    for line in (
        "| the step as it is trained | 50.00 | 100 % |",
        "| alone: teacher | 20.00 | 40 % |",
        "| operator: aten::conv | 25.00 | 50 % |",
        "| floor: 10.0 G multiply-accumulates | 25.00 | 50 % |",
        "| floor: 100 MB read and written | 10.00 | 20 % |",
    ):
        assert line in " ".join(text.split()).replace("|:", "|"), line
