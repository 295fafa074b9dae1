"""Every resolved value has its origin: default, recipe, suite or option."""

import pytest
import yaml

from benchmark.experiment.origins import origins
from benchmark.experiment.resolve import Choices, load_suite


@pytest.fixture
def origins_of(tmp_path):
    """A function: the suite's changes, the user's choices -> (origins of the student, origins of its teacher)."""

    def resolve(changes, **given):
        base = {"title": "t", "dataset": "digits", "pairs": ["resnet20-resnet8"], "methods": ["kd"]}
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump(base | {"recipe": "crd240"} | changes))
        choices = Choices(**given)
        (run,) = load_suite(str(path), choices)
        found = origins([run], str(path), choices)
        return tuple(
            {key: value.replace(path.name, "NAME") for key, value in found[id].items()}
            for id in (run.id, run.teacher.id)
        )

    return resolve


def test_values_of_the_suite_of_its_recipe_and_defaults_have_different_origins(origins_of):
    student, teacher = origins_of({"recipe": {"base": "crd240", "flip": False}, "knobs": {"kd": {"alpha": 0.5}}})
    assert student["dataset"] == student["recipe.flip"] == student["knobs.alpha"] == "suite NAME"
    assert student["knobs.temperature"] == "default of kd"
    assert student["recipe.lr"] == student["recipe.schedule"] == "recipe crd240"
    assert student["recipe.precision"] == student["seed"] == student["judge"] == "default"
    assert teacher["recipe.flip"] == "suite NAME"


def test_changed_epochs_stretch_the_schedule_and_both_name_the_suite(origins_of):
    student, teacher = origins_of({"recipe": {"base": "crd240", "epochs": 12}, "teacher": {"epochs": 24}})
    assert student["recipe.epochs"] == teacher["recipe.epochs"] == "suite NAME"
    assert student["recipe.schedule"] == teacher["recipe.schedule"] == "suite NAME, stretched to its epochs"


def test_the_origin_of_a_users_choice_is_its_option(origins_of):
    student, teacher = origins_of(
        {}, epochs=3, precision="fp32", seeds="1", dataset="cifar10", knobs=("kd.alpha=0.1",), methods=("kd",)
    )
    assert student["recipe.epochs"] == student["recipe.schedule"] == teacher["recipe.epochs"] == "--epochs"
    assert (student["recipe.precision"], student["seed"], student["dataset"]) == ("--precision", "--seeds", "--dataset")
    assert (student["knobs.alpha"], student["method"], teacher["method"]) == ("--set", "--methods", "every teacher's")


def test_the_origin_of_a_networks_own_learning_rate_names_the_network(origins_of):
    student, teacher = origins_of({"lr": {"resnet8": 0.01}})
    assert student["recipe.lr"] == "suite NAME, for resnet8"
    assert teacher["recipe.lr"] == "recipe crd240"


def test_every_value_of_a_run_has_an_origin():
    runs = load_suite("crd")
    found = origins(runs, "crd", Choices())
    for run in runs:
        paths = {f"recipe.{part}" for part in run.recipe.model_dump()} | {f"knobs.{knob}" for knob in run.knobs}
        assert paths <= set(found[run.id])


def test_a_judge_of_the_command_line_is_the_teachers_too(origins_of):
    for found in origins_of({"judge": "test"}, judge="holdout"):
        assert found["judge"] == "--judge"
    for found in origins_of({"judge": "holdout"}):
        assert found["judge"] == "suite NAME"
