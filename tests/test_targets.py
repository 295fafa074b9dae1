"""The suite's targets of speed: measured where the machine is of their kind, and shown as what they are."""

import json

import pytest

from benchmark import targets
from benchmark.errors import BadInput
from benchmark.report.speeds import speed_tables
from benchmark.store import Store


class Pretended:
    """What a machine might have measured."""

    alone = {"ratio": 2.6, "ratio_of_medians": 2.5, "images_per_s": {"ours": {"best": 1000.0}}}
    cohort = {"ratio": 3.9, "ratio_of_medians": 3.8, "images_per_s": {"ours": {"best": 2000.0}}}
    shares = {"sp": 0.04, "lp": 0.02, "lsh": 0.11, "kda": 0.03, "hint": 0.3}
    taught = ("a", "b")


def test_each_target_is_met_or_missed_by_its_own_rule():
    found = [target.read(Pretended()) for target in targets.TARGETS[:3]]
    assert [one["met"] for one in found] == [True, False, False]
    assert targets.alone_on_gpu(Pretended()) == {
        "ratio": 2.6, "ratio_of_medians": 2.5, "step_ms": 64.0, "met": False,
    }  # fmt: skip
    assert targets.cohort_on_gpu(Pretended())["minutes_at_this_rate"] == 240 * 50_000 * 2 / 2000 / 60


def test_what_was_not_measured_says_so_and_has_no_verdict():
    rows = [{"work": "w", "kind": "cuda", "aim": "a", "found": None}]
    text = targets.show({"rows": rows, "machine": "m", "made": {"torch": "t"}, "repeats": 1})
    assert "not measured" in text
    assert "met" not in text.replace("not measured", "").replace("method", "")


def test_another_suite_than_targets_is_refused(tmp_path):
    with pytest.raises(BadInput, match="there is no 'crd'"):
        targets.told("crd", tmp_path, tmp_path, "cpu", 1, 1, False)


def test_the_report_shows_every_machines_table_and_names_a_file_that_is_none(tmp_path):
    rows = [
        {"work": t.work, "kind": t.kind, "aim": t.aim, "found": t.read(Pretended()) if t.kind == "cpu" else None}
        for t in targets.TARGETS
    ]
    value = {"rows": rows, "machine": "A machine, 2 threads", "repeats": 5, "made": {"torch": "2", "commit": "abc"}}
    folder = tmp_path / "speed"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps(value))
    (folder / "b.json").write_text("[]")
    (table,), (complaint,) = speed_tables(Store(tmp_path))
    assert table.name == "speed-a-machine-2-threads"
    text = table.markdown()
    assert "ratio 2.60" in text and "lsh 11.0 %" in text
    assert text.count("not measured") == sum(t.kind == "cuda" for t in targets.TARGETS) + 1  # and in the caption
    assert "b.json" in complaint
