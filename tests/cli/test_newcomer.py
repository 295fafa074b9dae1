"""A method in one file outside the repository goes through list, check, run, cost and report."""

import csv
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def plugin(tmp_path):
    """The file of the README's example method."""
    example = next(part for part in README.split("```python\n")[1:] if "@register" in part).split("```")[0]
    assert example.count("\n") <= 25
    path = tmp_path / "centred.py"
    path.write_text(example)
    return path


def rows(path):
    """The rows of a CSV table for the example method."""
    with path.open() as file:
        return [row for row in csv.DictReader(file) if row["method"] == "centred"]


def test_one_file_enters_list_check_run_cost_table_and_report(plugin, call, tmp_path, few_digits, quick_costs):
    listed = call("list", "methods", "--plugin", plugin)
    assert "centred " in listed.out
    assert "reads logits; of the teacher logits" in listed.out
    checked = call("check", plugin)
    assert (checked.code, checked.out.count("conforms")) == (0, 2), checked.out
    options = ["--results", tmp_path / "results", "--reports", tmp_path / "reports"]
    finished = call("run", "digits", "--epochs", 1, "--seeds", 0, "-m", "ce,centred", "--plugin", plugin, *options)
    assert finished.code == 0, finished.err
    tables = tmp_path / "reports" / "tables"
    (accuracy,) = rows(next(tables.glob("*-accuracy.csv")))
    (cost,) = rows(next(tables.glob("*-cost.csv")))
    assert float(accuracy["top1_percent"]) > 0
    assert float(cost["step_ms"]) > 0
    page = (tmp_path / "reports" / "index.html").read_text()
    assert "An example, from nobody’s paper" in page or "An example, from nobody&#39;s paper" in page
    known = [json.loads(path.read_text()) for path in (tmp_path / "results" / "records").glob("*.json")]
    assert {(r["run"]["method"], r["kind"]) for r in known} >= {("centred", "run"), ("centred", "cost")}


def test_runs_are_repeated_on_demand_and_their_first_records_are_kept(call, tmp_path, few_digits, no_costs):
    arguments = ["run", "digits", "--epochs", 1, "--seeds", 0, "-m", "ce", "--precision", "fp32", "--quiet"]
    options = ["--results", tmp_path / "results", "--reports", tmp_path / "reports"]
    for extra in ([], ["--again"]):
        assert call(*arguments, *options, *extra).code == 0
    found = sorted(path.name for path in (tmp_path / "results" / "records").glob("*[0-9].json"))
    assert [name[12:] for name in found] == ["-1.json", "-2.json"]
    curves = [json.loads((tmp_path / "results" / "records" / name).read_text())["curve"] for name in found]
    assert curves[0] == curves[1]
