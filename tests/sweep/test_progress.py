"""Lines about runs: two settings of a method look different, counts agree with their nouns, records are read once."""

from types import SimpleNamespace

import pytest

from benchmark import store as store_module
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.store import Record, Store
from benchmark.sweep import estimate, runner
from benchmark.sweep.options import Options
from benchmark.sweep.progress import PlainProgress, outcome, progress_display, run_label, setting
from methods import registry

ERROR = {"type": "Failed", "message": "no memory"}


def a_lane(run, top1):
    return SimpleNamespace(run=run, curve={"top1": [top1]})


@pytest.fixture
def settings():
    """The runs of two settings of a method and of the plain student."""
    chosen = Choices(methods=("ce", "lsh"), seeds="0", pairs=("resnet20-resnet8",))
    plain, lsh = load_suite("digits", chosen)
    return [plain, *(lsh.model_copy(update={"knobs": lsh.knobs | {"hashes": count}}) for count in (1024, 4096))]


def test_two_settings_of_a_method_look_different_while_they_train_and_in_the_plan(settings):
    lanes = [a_lane(run, score) for run, score in zip(settings, (0.1, 0.2, 0.3), strict=True)]
    line = PlainProgress("pair").describe(lanes, 1, 2, 100.0)
    assert " · ce 10.0% lsh (hashes 1024) 20.0% lsh (hashes 4096) 30.0% · " in line
    assert [run_label(run) for run in settings] == [
        "resnet8 ce seed 0",
        "resnet20-resnet8 lsh (hashes 1024) seed 0",
        "resnet20-resnet8 lsh (hashes 4096) seed 0",
    ]


def test_runs_that_differ_in_the_teachers_seed_alone_look_different(tmp_path, capsys):
    runs = load_suite("digits", Choices(methods=("kd",), seeds="0", teacher_seeds="0,3"))
    assert [run_label(run) for run in runs] == [
        "resnet20-resnet8 kd seed 0",
        "resnet20-resnet8 kd seed 0 (teacher seed 3)",
    ]
    plain = load_suite("digits", Choices(methods=("ce",), seeds="0"))
    with progress_display([*plain, runs[1]], quiet=False) as display:
        display.on_run_end(Record(id=runs[1].id, run=runs[1].model_dump(mode="json"), status="failed", error=ERROR))
    assert capsys.readouterr().out.startswith("resnet20-resnet8 seed 0 (teacher seed 3) · kd: failed: ")


def test_a_plan_counts_teachers_and_crosses_them_with_seeds(tmp_path):
    runs = load_suite("digits", Choices(methods=("ce", "kd"), seeds="0-1", teacher_seeds="0-2"))
    options = Options("digits", tmp_path, tmp_path, "cpu")
    text = estimate.describe(runner.make_plan(runs, options), options)
    assert text.startswith("11 runs: 0 finished, 11 to do, 0 unfit\n")  # 3 teachers, 2 of ce, 3 x 2 of kd


def test_a_setting_at_its_defaults_is_named_by_its_method_alone():
    defaults = {name: knob.default for name, knob in registry.knobs("lsh").items()}
    assert setting("lsh", defaults) == "lsh"
    assert setting("lsh+kd", {"kd.temperature": 2.0}) == "lsh+kd (kd.temperature 2)"
    assert setting("of another machine", {"weight": True}) == "of another machine (weight yes)"


def test_how_a_run_ended_names_its_setting_and_counts_its_epochs(settings):
    def a_record(**fields):
        return Record(id=settings[1].id, run=settings[1].model_dump(mode="json"), **fields)

    done = [a_record(status="done", score={"top1": 0.5}, clock={"epochs": epochs}) for epochs in (1, 2)]
    assert [outcome(record).rpartition(" (")[0] for record in done] == [
        "lsh (hashes 1024): 50.00% after 1 epoch",
        "lsh (hashes 1024): 50.00% after 2 epochs",
    ]
    failed = a_record(status="failed", error={"message": "no memory"})
    assert outcome(failed) == f"lsh (hashes 1024): failed: no memory ({settings[1].id})"


def test_a_plan_reads_each_record_once(tmp_path, monkeypatch, settings):
    store, read = Store(tmp_path), []
    for run in settings:
        store.add(Record(id=run.id, status="failed", run=run.model_dump(mode="json"), error={"message": "m"}))
    parse = store_module.parse_record
    monkeypatch.setattr(store_module, "parse_record", lambda text: read.append(text) or parse(text))
    options = Options("digits", tmp_path, tmp_path, "cpu")
    text = estimate.describe(runner.make_plan(settings, options), options)
    assert text.startswith("4 runs: 0 finished, 4 to do, 0 unfit\n")
    assert len(read) == len(settings)


def test_one_run_is_not_called_runs(tmp_path, settings):
    options = Options("digits", tmp_path, tmp_path, "cpu")
    assert estimate.describe(runner.make_plan(settings[:1], options), options).startswith("1 run: 0 finished")
    known = {("digits", "resnet8", None, "here"): 2.0}
    assert estimate.time_needed(settings[:2], known, "here").endswith("and 1 run of networks not measured yet")
