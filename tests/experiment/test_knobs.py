"""Knobs mean what is recorded: each has a range, and another value is refused before anything is built."""

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Lt

from benchmark.data.datasets import DatasetInfo
from benchmark.errors import BadInput
from benchmark.experiment.knobs import ranges, resolve_knobs
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.sweep.plan import check_runs
from methods import registry
from methods.contract import BadKnob, Method, Shape
from methods.registry import register

RECORDS = sorted((Path(__file__).parents[2] / "results").glob("*/*.json"))
RECIPE = Recipe(epochs=10, lr=0.1, schedule=Steps(at=(5,)))
TEACHER = Run(dataset="digits", student="resnet20", method="ce", recipe=RECIPE)
SHAPE = Shape(((16, 32, 32), (64, 8, 8)), 64, 10)


def refusal(method, **knobs):
    """The sentence that refuses values of knobs."""
    with pytest.raises(BadInput) as caught:
        resolve_knobs(method, knobs)
    return str(caught.value)


def planned(method, **knobs):
    """Check a run of ten epochs as `plan` does."""
    run = Run(
        dataset="digits",
        student="resnet8",
        method=method,
        knobs=resolve_knobs(method, knobs),
        teacher=TEACHER,
        recipe=RECIPE,
    )
    return check_runs([run], {"digits": DatasetInfo(10, 32, 32)})


def of_type(kind, default):
    """A method with one knob `x` of a type."""

    class Knobbed(Method):
        def __init__(self, student=None, teacher=None, *, x: kind = default):
            super().__init__()

    return Knobbed


# ---- ranges
REFUSED = [
    ("kd", "temperature", [0, -1, 0.001, 1e9, "hot", None], "a number from 0.01 to 1,000"),
    ("kd", "alpha", [2, -0.1, float("nan"), float("inf"), True, [0.5]], "a number from 0 to 1"),
    ("hint", "beta", [-1, 1e7], "a number from 0 to 1,000,000"),
    ("hint", "guided", [1.5, True, 2**70, None], "a whole number"),
    ("fitnets", "hint_epochs", [-1, 0.5, 10**9], "a whole number from 0 to 100,000, or null"),
    ("fitnets", "tau", [0], "a number from 0.01 to 1,000"),
    ("fitnets", "lam", [-4], "a number from 0 to 1,000,000"),
    ("fitnets", "regressor", ["relu", 1], "'conv' or 'maxout'"),
    ("lp", "k", [0, -3, 10**6], "a whole number from 1 to 1,000"),
    ("lp", "sigma", [0, -1, "wide"], "a number from 0.001 to 1,000,000, or 'auto'"),
    ("lp", "at", [True, "logits"], "a whole number, or 'embedding'"),
    ("lsh", "hashes", [0, -1, 10**12], "a whole number from 1 to 1,000,000, or null"),
    ("lsh", "std", [0, -1], "a number from 1e-06 to 1,000,000, or null"),
    ("lsh", "variant", ["l3"], "'l2', 'lsh', 'lshl2' or 'lshl2_s'"),
    ("sp", "gamma", [-1, 1e39], "a number from 0 to 1,000,000"),
    ("kda", "alpha", [-0.04], "a number from 0 to 1,000,000"),
    ("kda", "warm", [-1, 1.5], "a whole number from 0 to 100,000"),
    ("kda", "m", [0, False], "a whole number from 1 to 1,000,000, or null"),
]


@pytest.mark.parametrize(("method", "knob", "given", "expected"), REFUSED, ids=lambda value: str(value)[:30])
def test_a_value_outside_a_knobs_range_is_refused_with_the_range(method, knob, given, expected):
    for value in given:
        sentence = refusal(method, **{knob: value})
        assert sentence.startswith(f"knob {knob!r} of method {method!r} must be {expected}")
        assert "\n" not in sentence


def test_the_ends_of_a_range_belong_to_it():
    for given in ({"alpha": 0}, {"alpha": 1}, {"temperature": 0.01}, {"temperature": 1000}):
        assert given.items() <= resolve_knobs("kd", given).items()
    assert resolve_knobs("fitnets", {"hint_epochs": 0})["hint_epochs"] == 0
    assert resolve_knobs("lsh", {"hashes": 1, "std": None})["hashes"] == 1


@pytest.mark.parametrize("name", registry.names())
def test_every_number_of_a_method_of_this_repository_has_a_range_or_names_a_map(name):
    maps = {"at", "guided", "hint"}  # their range follows from the networks
    for knob, spec in registry.knobs(name).items():
        assert knob in ranges(name) or knob in maps, (name, knob, spec)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_knobs_of_every_committed_record_are_in_their_ranges(path):
    value = json.loads(path.read_text())
    if "run" not in value:
        pytest.skip("not a record of a run")
    run = Run.model_validate(value["run"])
    assert run.id == value["id"]
    if run.recipe:
        assert resolve_knobs(run.method, run.knobs) == run.knobs


KINDS = [
    (Annotated[int, Ge(2)], 2, 1, "a whole number of at least 2"),
    (Annotated[float, Gt(0), Lt(1)], 0.5, 1.0, "a number above 0 and below 1"),
    (Annotated[float, Interval(gt=0, le=3)], 3.0, 0, "a number above 0 and of at most 3"),
    (bool, True, 3, "true or false"),
    (Literal["a"], "a", "b", "'a'"),
    (str, "word", 1, "text"),
    (float, 1.0, "x", "a number"),
    (int | None, None, "x", "a whole number, or null"),
]


@pytest.mark.parametrize(("kind", "valid", "other", "expected"), KINDS, ids=lambda value: str(value)[:40])
def test_the_range_of_a_plug_ins_knob_is_that_of_its_type(isolated_registry, kind, valid, other, expected):
    register("outside_knob")(of_type(kind, valid))
    assert resolve_knobs("outside_knob", {}) == {"x": valid}
    assert refusal("outside_knob", x=other) == f"knob 'x' of method 'outside_knob' must be {expected}, not {other!r}"


def test_a_default_outside_its_own_range_is_named_as_such(isolated_registry):
    register("outside_knob")(of_type(Annotated[int, Ge(1)], 0))
    assert refusal("outside_knob").startswith("the default of knob 'x' of method 'outside_knob' must be a whole number")


def test_a_type_that_cannot_be_checked_is_named(isolated_registry):
    register("outside_knob")(of_type(type("Odd", (), {}), None))
    assert "cannot be checked" in refusal("outside_knob")
    assert ranges("outside_knob") == {}


# ---- values that depend on the networks, the recipe or other knobs
DEPENDENT = [
    ("sp", {"at": 99}, "sp.at = 99 for resnet20-resnet8 sp seed 0: the network has 4 maps, -4 to 3"),
    ("sp", {"at": -5}, "sp.at = -5"),
    ("lp", {"at": 4}, "lp.at = 4"),
    ("hint", {"guided": 4}, "hint.guided = 4"),
    ("hint", {"hint": -5}, "hint.hint = -5"),
    ("fitnets", {"guided": 9}, "fitnets.guided = 9"),
    ("fitnets", {"hint": 9}, "fitnets.hint = 9"),
    ("kda", {"warm": 1000}, "kda.warm = 1000 for resnet20-resnet8 kda seed 0: the term never starts in 10 epochs"),
    ("kda", {"warm": 10}, "kda.warm = 10"),
    ("kda", {"m": 7}, "kda.m = 7"),
    ("sp+kd", {"sp.at": 99}, "sp+kd.sp.at = 99"),
    ("ce+kda", {"kda.warm": 10}, "ce+kda.kda.warm = 10"),
]


@pytest.mark.parametrize(("method", "knobs", "expected"), DEPENDENT, ids=str)
def test_a_value_that_does_not_fit_networks_recipe_or_other_knobs_is_bad_input_and_not_an_unfit_pair(
    method, knobs, expected
):
    with pytest.raises(BadInput) as caught:
        planned(method, **knobs)
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    ("method", "knobs"),
    [("sp", {"at": -4}), ("lp", {"at": 3}), ("kda", {"warm": 9}), ("kda", {"landmarks": "random", "m": 7})],
    ids=str,
)
def test_the_last_value_that_fits_is_accepted(method, knobs):
    assert planned(method, **knobs) == {}


def test_the_default_warm_up_of_kernel_transfer_is_accepted_in_a_recipe_that_is_shorter():
    assert len(registry.get("kda")(SHAPE, SHAPE).stages(3)) == 1


def test_a_bad_knob_has_its_name_value_and_reason():
    with pytest.raises(BadKnob, match="at = 2: the network has 2 maps, -2 to 1") as caught:
        SHAPE.check_map("at", 2)
    assert (caught.value.knob, caught.value.value) == ("at", 2)
    SHAPE.check_map("at", -2)
