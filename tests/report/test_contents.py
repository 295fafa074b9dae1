"""Image folders of one name and other images: runs that no table may mix."""

import csv
import json

import pytest
from test_report import packed_runs

from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.report.build import build
from benchmark.report.records.entries import load_entries
from benchmark.report.records.protocols import protocols
from benchmark.store import Record, Store

RECIPE = Recipe(epochs=6, lr=0.05, schedule=Steps(at=(3, 5)))
CONTENTS = {"": "folder:pets", "a1b2c3d4" * 8: "folder:pets@a1b2c3d4", "f" * 64: "folder:pets@ffffffff"}


def records(content, teacher_content=None):
    """A teacher and two seeds of a student, trained on images with this hash; with "", before there was one."""
    shared = {"dataset": "folder:pets", "recipe": RECIPE}
    own = content if teacher_content is None else teacher_content
    teacher = Run(**shared, content=own, student="resnet56", method="ce")
    students = [
        Run(**shared, content=content, student="resnet20", method="kd", teacher=teacher, seed=n) for n in (0, 1)
    ]
    score = 0.5 + 0.1 * len(content.strip("f")) / 64
    for run in (teacher, *students):
        made = {"suite": "mine", "source": "aaaa", "device": "cpu", "precision": "fp32", "commit": "abc"}
        values = {"id": run.id, "status": "done", "run": run.model_dump(mode="json"), "made": made}
        yield Record.model_validate(values | {"score": {"top1": score}, "curve": {"top1": [score]}})


@pytest.fixture
def store(tmp_path):
    """A store with the records of all contents."""
    found = Store(tmp_path / "results")
    for content in CONTENTS:
        for record in records(content):
            found.add(record)
    return found


def test_each_content_is_a_protocol_with_its_own_label_and_file_name(store):
    entries, complaints = load_entries(store)
    assert complaints == [] and len(entries) == 9
    found = protocols(entries)
    assert {protocol.label for protocol in found} == {
        f"mine · {label} · 6 epochs · batch 64 · judged on test" for label in CONTENTS.values()
    }
    assert len({protocol.slug for protocol in found}) == 3
    for protocol in found:
        assert len({entry.run.content for entry in protocol.entries}) == 1
        assert all(len(cell.scored) == (1 if row.kind == "teacher" else 2) for (row, _), cell in protocol.cells.items())


def test_tables_and_page_show_the_hash(store, tmp_path):
    build(store, tmp_path / "reports")
    labels = set()
    for path in (tmp_path / "reports/tables").glob("*-accuracy.csv"):
        with path.open() as file:
            labels |= {row["dataset"] for row in csv.DictReader(file)}
    assert labels == set(CONTENTS.values())
    page = (tmp_path / "reports/index.html").read_text()
    for content, label in CONTENTS.items():
        assert label in page and content in packed_runs(page)


def test_a_teacher_of_other_images_is_left_out_with_the_reason(tmp_path):
    store = Store(tmp_path)
    for record in records("a1b2c3d4" * 8, teacher_content="f" * 64):
        store.add(record)
    cells = [cell for protocol in protocols(load_entries(store)[0]) for cell in protocol.cells.values()]
    reasons = [cell.exclusion_reason for cell in cells if cell.row.kind == "teacher"]
    assert reasons == ["judged on test of folder:pets@ffffffff"]


def test_a_record_whose_hash_was_changed_is_left_out(store):
    path = next(path for path in (store.root / "records").iterdir() if "f" * 64 in path.read_text())
    value = json.loads(path.read_text())
    value["run"]["content"] = "e" * 64
    path.write_text(json.dumps(value))
    entries, complaints = load_entries(store)
    assert len(entries) == 8 and "its id is not that of its run" in complaints[0]
