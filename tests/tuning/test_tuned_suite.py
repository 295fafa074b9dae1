"""The suite of the best settings: written, read again, and never over another file."""

import pytest

from benchmark.errors import BadInput
from benchmark.experiment.resolve import Choices, chosen_suite, load_suite
from benchmark.experiment.suite import read_suite, suite_names
from benchmark.tuning.trials import plan_studies
from benchmark.tuning.tuned_suite import HEADER, check_expressible, check_target, write_suite


def studies_of(name, choices):
    """The planned studies of a suite, and scores under which trial 2 of each is the best."""
    planned = plan_studies(load_suite(name, choices), name, {}, 3, seed=0)
    scores = {id: n / 10 for study, _ in planned for n, trial in enumerate(study.trials) for id in trial.ids}
    return planned, scores


@pytest.mark.parametrize("name", suite_names())
def test_the_file_runs_the_best_settings_of_the_same_pairs_and_recipes(name, tmp_path):
    choices = Choices(methods=("kd", "sp"), seeds="0-1", judge="holdout")
    planned, scores = studies_of(name, choices)
    path = tmp_path / "tuned.yaml"
    write_suite(path, chosen_suite(name, choices), planned, scores)
    assert read_suite(str(path)).seeds == (2, 3, 4)
    tuned = load_suite(str(path), Choices(seeds="0-1"))
    best = {study.method: study.trials[2].values for study, _ in planned}
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
    notes = [line.partition(":")[0] for line in path.read_text().splitlines() if line.startswith("# lsh")]
    assert notes == ["# lsh, variant lshl2_s", "# lsh, variant l2", "# lsh, variant lshl2"]


def test_values_by_pair_are_tuned_and_written_by_pair(tmp_path):
    choices = Choices(methods=("kd", "dkd"), seeds="0", judge="holdout")
    planned, scores = studies_of("crd", choices)
    own = [(study, trials[0]) for study, trials in planned if study.method == "dkd"]
    assert [study.knobs["beta"] for study, _ in own] == [6, 2, 8]
    best = {run.networks: study.trials[2].values for study, runs in own for run in runs}
    path = tmp_path / "tuned.yaml"
    write_suite(path, chosen_suite("crd", choices), planned, scores)
    assert "# dkd on resnet56-resnet20, resnet110-resnet32: 3 trials, best is number 2: " in path.read_text()
    tuned = {run.networks: run.knobs for run in load_suite(str(path)) if run.method == "dkd"}
    assert {pair: {knob: knobs[knob] for knob in best[pair]} for pair, knobs in tuned.items()} == best
    assert len({knobs["beta"] for knobs in tuned.values()}) == 3


def test_several_settings_with_values_by_pair_are_refused_before_training(tmp_path):
    text = "title: t\ndataset: digits\npairs: [resnet20-resnet8, resnet56-resnet8]\nmethods: [dkd]\nrecipe: crd240\n"
    text += "knobs:\n  dkd: [{alpha: 1}, {alpha: 2}]\npair_knobs:\n  resnet20-resnet8: {dkd: {beta: 2}}\n"
    path = tmp_path / "several.yaml"
    path.write_text(text)
    choices = Choices(judge="holdout")
    with pytest.raises(BadInput, match="dkd has several settings in `knobs` and values in `pair_knobs`"):
        check_expressible(chosen_suite(str(path), choices), studies_of(str(path), choices)[0])


def test_the_seeds_of_teachers_are_kept(tmp_path):
    choices = Choices(methods=("kd",), seeds="0", teacher_seeds="0-1", judge="holdout")
    path = tmp_path / "tuned.yaml"
    write_suite(path, chosen_suite("digits", choices), *studies_of("digits", choices))
    assert {(run.teacher.seed, run.seed) for run in load_suite(str(path))} == {
        (t, s) for t in (0, 1) for s in (1, 2, 3)
    }


def test_a_method_without_results_keeps_the_suites_values(tmp_path):
    planned, _ = studies_of("mini", Choices(methods=("sp",), judge="holdout"))
    path = tmp_path / "tuned.yaml"
    write_suite(path, chosen_suite("mini", Choices(methods=("sp",))), planned, {})
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
