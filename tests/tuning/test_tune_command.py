"""The command `tune` from end to end on the bundled digits, and what the report makes of it."""

import csv
import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from small_sweeps import report_here, use_few_digits

from benchmark.data import datasets, split
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.experiment.run import Run
from benchmark.report.build import build
from benchmark.report.figures.studies.sensitivity import plain_accuracies, points, sensitivity_figure
from benchmark.report.records.entries import load_entries
from benchmark.report.records.studies import group_studies, read_studies, without_trials
from benchmark.store import Store

TUNE = ["tune", "digits", "-m", "ce,kd,sp", "--trials", "3", "--epochs", "1", "--seeds", "0", "--quiet"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The folder of a finished `tune`: results, reports, tuned.yaml; and the function that ran it."""
    from benchmark.cli.app import app

    patch = pytest.MonkeyPatch()
    use_few_digits(patch)
    report_here(patch)
    patch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))  # one cohort, however busy the machine is
    folder = tmp_path_factory.mktemp("tuned")

    def run(*further):
        places = ["--results", folder / "results", "--reports", folder / "reports", "--tuned", folder / "tuned.yaml"]
        try:
            app(list(map(str, [*TUNE, *places, *further])), standalone_mode=False)
        except SystemExit as end:
            return end.code
        return 0

    run()
    yield folder, run
    patch.undo()
    datasets.load.cache_clear()


def test_every_method_has_the_same_number_of_trials_and_one_cohort(tuned):
    folder, _ = tuned
    studies, complaints = read_studies(Store(folder / "results"))
    assert complaints == []
    assert {s.method: len(s.trials) for s in studies} == {"ce": 1, "kd": 3, "sp": 3}
    latest = Store(folder / "results").latest()
    lanes = {latest[id].clock["lanes"] for s in studies for t in s.trials for id in t.ids}
    assert lanes == {7}  # all settings of all methods share the teacher and the batches
    origins = {latest[s.trials[1].ids[0]].provenance["origin"]["knobs.gamma"] for s in studies if s.method == "sp"}
    assert origins == {"trial 1 of `tune`"}


def test_neither_trials_nor_their_teacher_see_test_images(tuned):
    folder, _ = tuned
    data = datasets.load("digits", folder)
    held_out = int(split.holdout_mask(data.train_y, "digits").sum())
    for record in Store(folder / "results").latest().values():
        run = Run.model_validate(record.run)
        assert run.judge == "holdout" and (run.teacher is None or run.teacher.judge == "holdout")
        counts = record.provenance["data"]
        assert (counts["train"], counts["judged"]) == (len(data.train_y) - held_out, held_out)


def test_training_and_held_out_images_are_parts_of_the_training_set():
    data = datasets.load("digits", "")
    train, judged = split.make_splits(data, "holdout", torch.device("cpu"))
    known = {bytes(image) for image in data.train_x.numpy().reshape(len(data.train_y), -1)}
    parts = [[bytes(image) for image in part.x.numpy().reshape(len(part), -1)] for part in (train, judged)]
    assert set(parts[0]) | set(parts[1]) <= known
    assert len(parts[0]) + len(parts[1]) == len(data.train_y)


def read_csv(path):
    """The lines of a CSV file as dicts."""
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_suite_of_the_best_settings_runs_and_the_table_has_its_test_accuracy(tuned, call, no_costs, tmp_path):
    folder, _ = tuned
    shutil.copytree(folder / "results", tmp_path / "results")
    places = ["--results", tmp_path / "results", "--reports", tmp_path / "reports"]
    done = call("run", folder / "tuned.yaml", "-m", "sp", "--seeds", "1", "--quiet", *places)
    assert done.code == 0, done.err
    (record,) = [r for r in Store(tmp_path / "results").latest().values() if r.run["method"] == "sp" and r.run["seed"]]
    (path,) = (tmp_path / "reports" / "tables").glob("*-tuning.csv")
    (line,) = [each for each in read_csv(path) if each["row"] == "sp" and each["setting"].startswith("tuned")]
    assert (line["test_n"], float(line["test_top1"])) == ("1", pytest.approx(record.score["top1"], abs=1e-8))
    assert len(list((tmp_path / "reports" / "tables").glob("*-accuracy.csv"))) == 1  # of the test images only


def test_more_trials_train_only_the_further_ones(tuned):
    folder, run = tuned
    before = {path.name for path in (folder / "results" / "records").iterdir()}
    run("--trials", "4")
    after = {path.name for path in (folder / "results" / "records").iterdir()}
    assert before < after and len(after - before) == 2
    assert all(name.endswith("-1.json") for name in after)
    studies, _ = read_studies(Store(folder / "results"))
    assert {s.method: len(s.trials) for s in studies} == {"ce": 1, "kd": 4, "sp": 4}


def test_the_report_has_a_section_on_tuning_and_no_trial_in_its_tables(tuned):
    folder, _ = tuned
    page = (folder / "reports" / "index.html").read_text()
    assert "Tuning · digits" in page and "as published" in page and "Sensitivity to the tuned knobs" in page
    ids = re.findall(r'<(?:section|table|figure|div)[^>]* id="([^"]*)"', page)
    assert len(set(ids)) == len(ids) and any(each.startswith("tuning-digits") for each in ids)
    names = sorted(path.name for path in (folder / "reports" / "tables").glob("*.csv"))
    assert names == ["digits-1-epoch-tuning.csv"], "named by its suite alone"
    store = Store(folder / "results")
    entries, _ = load_entries(store)
    assert without_trials(entries, read_studies(store)[0]) == []


def test_the_table_shows_each_method_as_published_and_tuned(tuned, tmp_path):
    folder, _ = tuned
    build(Store(folder / "results"), tmp_path)
    (path,) = (tmp_path / "tables").glob("*-tuning.csv")
    lines = read_csv(path)
    latest = Store(folder / "results").latest()
    studies = {s.method: s for s in read_studies(Store(folder / "results"))[0]}
    assert [(line["row"], line["setting"].split(",")[0]) for line in lines] == [
        ("ce", "as published"), ("kd", "as published"), ("kd", "tuned"), ("sp", "as published"), ("sp", "tuned"),
    ]  # fmt: skip
    for line in lines:
        top1 = [latest[trial.ids[0]].score["top1"] for trial in studies[line["method"]].trials]
        chosen = top1[0] if line["setting"] == "as published" else max(top1)
        assert float(line["held_out_top1"]) == pytest.approx(chosen, abs=1e-8)
        assert line["test_n"] == "0"


def test_a_trial_of_a_suite_that_judges_on_held_out_images_itself_stays_in_its_tables(tuned):
    folder, _ = tuned
    store = Store(folder / "results")
    entries, _ = load_entries(store)
    studies = [study.model_copy(update={"judge": "holdout"}) for study in read_studies(store)[0]]
    left = {entry.run.id for entry in without_trials(entries, studies)}
    assert left >= {study.trials[0].ids[0] for study in studies}
    assert not left & {id for study in studies for trial in study.trials[1:] for id in trial.ids}


def test_a_damaged_study_is_named_and_left_out(tuned, tmp_path):
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning" / "a.json").write_text(json.dumps({"schema": 1}))
    (tmp_path / "tuning" / "b.json").write_text("{")
    studies, complaints = read_studies(Store(tmp_path))
    assert studies == [] and len(complaints) == 2
    assert all("not what `tune` writes, left out" in each for each in complaints)


def test_bad_input_of_tune_is_one_sentence(call, tmp_path):
    done = call("tune", "digits", "-m", "kd", "--knob", "kd.alpha=0.9..0.1", "--results", tmp_path / "r")
    assert (done.code, done.err.strip().count("\n")) == (2, 0)
    assert "the range must go from a smaller number to a larger one" in done.err
    assert not (tmp_path / "r").exists()


def test_tune_cannot_be_told_to_judge_on_test_images(call):
    done = call("tune", "digits", "--judge", "test")
    assert done.code == 2 and "--judge" in done.err


def test_tune_trains_with_the_threads_that_other_programs_leave_room_for(call, monkeypatch, tmp_path):
    used = []
    monkeypatch.setattr("benchmark.sweep.load.make_room", lambda options: replace(options, processes=2))
    monkeypatch.setattr("benchmark.tuning.tune.tune", lambda _, options, *more: (used.append(options.processes), ()))
    monkeypatch.setattr("benchmark.cli.tuning.write_report", lambda results, reports: 0)
    call(*TUNE, "--results", tmp_path / "results", "--reports", tmp_path / "reports")
    assert used == [2]


def test_a_trial_is_repeated_by_a_command_of_its_own(tuned, call):
    folder, _ = tuned
    (study,) = [s for s in read_studies(Store(folder / "results"))[0] if s.method == "sp"]
    done = call("explain", study.trials[1].ids[0], "--results", folder / "results")
    assert "trial 1 of `tune`" in done.out
    command = next(line for line in done.out.splitlines() if "benchmark run" in line).split()
    again = Choices(
        methods=("sp",), seeds="0", epochs=1, judge=command[command.index("--judge") + 1],
        knobs=(command[command.index("--set") + 1],),
    )  # fmt: skip
    assert [run.id for run in load_suite("digits", again)] == list(study.trials[1].ids)


def test_a_study_is_labelled_by_the_settings_that_set_its_method_apart_in_other_tables(tuned):
    folder, _ = tuned
    store = Store(folder / "results")
    studies, entries = read_studies(store)[0], load_entries(store)[0]
    kd = next(entry for entry in entries if entry.run.method == "kd" and entry.run.judge == "holdout")

    def labels(**knobs):
        run = kd.run.model_copy(update={"judge": "test", "knobs": kd.run.knobs | knobs})
        (group,) = group_studies(studies, [*entries, replace(kd, run=run)])
        return [method.label for method in group.methods]

    assert labels() == labels(alpha=0.123) == ["ce", "kd", "sp"]  # alpha is what was tuned
    assert labels(temperature=2.0) == ["ce", "kd, temperature 4", "sp"]


def test_the_figure_has_a_point_for_every_trial_in_order_of_the_knob(tuned):
    folder, _ = tuned
    store = Store(folder / "results")
    studies, latest = read_studies(store)[0], store.latest()
    (group,) = group_studies(studies, load_entries(store)[0])
    sp = next(method for method in group.methods if method.label == "sp")
    found = [(value, summary.mean) for _, value, summary in points(sp, sp.study.spaces[0], "resnet20-resnet8")]
    expected = [(trial.values["gamma"], latest[trial.ids[0]].score["top1"]) for trial in sp.study.trials]
    assert found == sorted(expected)
    (ce,) = [trial.ids[0] for each in group.methods if each.label == "ce" for trial in each.study.trials]
    assert plain_accuracies(group.methods, "resnet20-resnet8") == [latest[ce].score["top1"]]
    assert plain_accuracies(group.methods, "resnet20-resnet14") == []
    figure = sensitivity_figure(group).svg
    assert figure.count("<svg") == 1 and "plain student" in figure
    assert "plain student" not in sensitivity_figure(replace(group, methods=[sp])).svg
    assert sensitivity_figure(replace(group, methods=[each for each in group.methods if each.label == "ce"])) is None
