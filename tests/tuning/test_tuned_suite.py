"""The suite of the best settings: written, read again, and never over another file."""

import pytest

from benchmark.errors import BadInput
from benchmark.experiment.resolve import Choices, chosen_suite, load_suite
from benchmark.experiment.study import Study
from benchmark.experiment.suite import read_suite, suite_names
from benchmark.tuning.trials import plan_studies
from benchmark.tuning.tuned_suite import HEADER, check_target, write_suite


def studies_of(name, choices):
    """The studies of a suite, and scores under which trial 2 of each is the best."""
    planned = plan_studies(load_suite(name, choices), name, {}, 3, seed=0)
    studies: list[Study] = [study for study, _ in planned]
    scores = {id: n / 10 for study in studies for n, trial in enumerate(study.trials) for id in trial.ids}
    return studies, scores


@pytest.mark.parametrize("name", suite_names())
def test_the_file_runs_the_best_settings_of_the_same_pairs_and_recipes(name, tmp_path):
    choices = Choices(methods=("kd", "sp"), seeds="0-1", judge="holdout")
    studies, scores = studies_of(name, choices)
    path = tmp_path / "tuned.yaml"
    write_suite(path, chosen_suite(name, choices), studies, scores)
    assert read_suite(str(path)).seeds == (2, 3, 4)
    tuned = load_suite(str(path), Choices(seeds="0-1"))
    best = {study.method: study.trials[2].values for study in studies}
    expected = [
        run.model_copy(update={"knobs": run.knobs | best[run.method]})
        for run in load_suite(name, Choices(methods=("kd", "sp"), seeds="0-1"))
    ]
    assert {run.id for run in tuned} == {run.id for run in expected}
    assert {run.judge for run in tuned} == {"test"}


def test_the_file_keeps_the_users_epochs_and_precision(tmp_path):
    choices = Choices(methods=("kd",), epochs=2, precision="fp32", judge="holdout")
    path = tmp_path / "tuned.yaml"
    write_suite(path, chosen_suite("mini", choices), *studies_of("mini", choices))
    recipes = {(run.recipe, run.teacher.recipe) for run in load_suite(str(path))}
    assert recipes == {(r.recipe, r.teacher.recipe) for r in load_suite("mini", choices)}


def test_settings_of_one_method_are_all_kept(tmp_path):
    choices = Choices(methods=("lsh",), judge="holdout")
    path = tmp_path / "tuned.yaml"
    write_suite(path, chosen_suite("mini", choices), *studies_of("mini", choices))
    variants = [run.knobs["variant"] for run in load_suite(str(path), Choices(seeds="1"))]
    assert variants == ["lshl2_s", "l2", "lshl2"]


def test_a_method_without_results_keeps_the_suites_values(tmp_path):
    studies, _ = studies_of("mini", Choices(methods=("sp",), judge="holdout"))
    path = tmp_path / "tuned.yaml"
    write_suite(path, chosen_suite("mini", Choices(methods=("sp",))), studies, {})
    assert {run.knobs["gamma"] for run in load_suite(str(path))} == {3000}
    assert "none with a result" in path.read_text()


def test_only_a_file_of_tuning_is_replaced(tmp_path):
    own, other = tmp_path / "own.yaml", tmp_path / "other.yaml"
    own.write_text(HEADER)
    other.write_text("title: mine\n")
    check_target(own)
    check_target(tmp_path / "new.yaml")
    for path, problem in [
        (other, "exists and was not written by `tune`"),
        (tmp_path / "a.txt", "a suite's file ends in .yaml"),
        (tmp_path / "no" / "a.yaml", "there is no folder"),
    ]:
        with pytest.raises(BadInput, match=problem):
            check_target(path)
    assert other.read_text() == "title: mine\n"
