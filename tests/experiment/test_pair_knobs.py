"""Weights by pair: how they combine with the settings of a method and with --set, their origin, and wrong ones."""

import pytest

from benchmark.errors import BadInput
from benchmark.experiment.origins import origins
from benchmark.experiment.resolve import Choices, load_suite

SMALL = {
    "title": "t",
    "dataset": "digits",
    "pairs": ["resnet20-resnet8", "resnet56-resnet8"],
    "methods": ["ce", "dkd"],
    "recipe": "crd240",
}
BETA_2 = {"resnet20-resnet8": {"dkd": {"beta": 2}}}


def knobs_of(runs, *names, method="dkd"):
    """Pair -> the values of some knobs, for each setting of the method in order."""
    found = {}
    for run in runs:
        if run.method == method:
            found.setdefault(run.networks, []).append(tuple(run.knobs[name] for name in names))
    return found


def test_a_pairs_values_override_those_of_every_setting_of_the_method(write_suite):
    name = write_suite(knobs={"dkd": [{"alpha": 1}, {"alpha": 2, "beta": 5}]}, pair_knobs=BETA_2)
    assert knobs_of(load_suite(name), "alpha", "beta") == {
        "resnet20-resnet8": [(1, 2), (2, 2)],
        "resnet56-resnet8": [(1, 8), (2, 5)],
    }


def test_set_overrides_a_pairs_values_and_leaves_its_other_ones(write_suite):
    name = write_suite(pair_knobs={"resnet20-resnet8": {"dkd": {"beta": 2, "warm": 5}}})
    runs = load_suite(name, Choices(knobs=("dkd.beta=3",)))
    assert knobs_of(runs, "beta", "warm") == {"resnet20-resnet8": [(3, 5)], "resnet56-resnet8": [(3, 20)]}


def test_settings_that_become_equal_on_a_pair_are_one_run_there(write_suite):
    name = write_suite(knobs={"dkd": [{}, {"beta": 4}]}, pair_knobs=BETA_2)
    assert knobs_of(load_suite(name), "beta") == {"resnet20-resnet8": [(2,)], "resnet56-resnet8": [(8,), (4,)]}


def test_pairs_and_methods_of_the_command_line_need_not_have_values_of_their_own(write_suite):
    name = write_suite(pair_knobs=BETA_2)
    assert knobs_of(load_suite(name, Choices(pairs=("resnet56-resnet8",))), "beta") == {"resnet56-resnet8": [(8,)]}
    assert [run.method for run in load_suite(name, Choices(methods=("kd",), pairs=("resnet20-resnet8",)))] == ["kd"]


def test_the_origin_of_a_value_by_pair_names_the_pair(write_suite):
    name = write_suite(pair_knobs=BETA_2)
    for choices, expected in [(Choices(), "pair resnet20-resnet8"), (Choices(knobs=("dkd.beta=2",)), "--set")]:
        runs = [run for run in load_suite(name, choices) if run.method == "dkd"]
        found = origins(runs, name, choices)
        assert found[runs[0].id]["knobs.beta"].endswith(expected)
        assert found[runs[0].id]["knobs.alpha"] == "default of dkd"
        assert found[runs[1].id]["knobs.beta"] == ("default of dkd" if expected != "--set" else "--set")


@pytest.mark.parametrize(
    ("pair_knobs", "expected"),
    [
        ({"resnet20-resnet9": {}}, ["pair_knobs: 'resnet20-resnet9'", "did you mean 'resnet20-resnet8'"]),
        ({"resnet20": {}}, ["pair_knobs.resnet20: a pair is written TEACHER-STUDENT"]),
        ({"resnet20-resnet8": {"kd": {}}}, ["pair_knobs.resnet20-resnet8: 'kd' is not among the methods, ce, dkd"]),
        ({"resnet20-resnet8": {"dkd": {"bete": 1}}}, ["pair_knobs.resnet20-resnet8", "did you mean 'beta'"]),
        ({"resnet20-resnet8": {"dkd": {"beta": -1}}}, ["pair_knobs.resnet20-resnet8", "from 0 to 1,000,000, not -1"]),
        ({"resnet20-resnet8": {"dkd": {"beta": "x"}}}, ["pair_knobs.resnet20-resnet8", "a number", "'x'"]),
        ({"resnet20-resnet8": {"dkd": [{"beta": 1}]}}, ["pair_knobs.resnet20-resnet8.dkd", "a mapping"]),
        ({"resnet20-resnet8": 5}, ["pair_knobs.resnet20-resnet8", "a mapping"]),
        ({5: {}}, ["pair_knobs"]),
        (["resnet20-resnet8"], ["pair_knobs", "a mapping"]),
    ],
    ids=str,
)
def test_a_wrong_value_by_pair_is_one_sentence_naming_file_and_key(pair_knobs, expected, write_suite):
    name = write_suite(pair_knobs=pair_knobs)
    with pytest.raises(BadInput) as caught:
        load_suite(name)
    for part in [name, *expected]:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_method_is_refused_where_all_methods_are_run(write_suite):
    name = write_suite(methods="all", pair_knobs={"resnet20-resnet8": {"dkdd": {"beta": 1}}})
    with pytest.raises(BadInput, match=r"pair_knobs\.resnet20-resnet8: .*'dkdd'.*did you mean 'dkd'"):
        load_suite(name)


# ---- the suite crd
DKD = {  # arXiv:2203.08679, public configurations; none for the other pairs
    2: "resnet56-resnet20 resnet110-resnet32",
    6: "wrn_40_2-wrn_16_2 wrn_40_2-wrn_40_1 vgg13-vgg8 vgg13-MobileNetV2",
    8: "resnet32x4-resnet8x4 resnet32x4-ShuffleV1 resnet32x4-ShuffleV2 wrn_40_2-ShuffleV1 ResNet50-MobileNetV2",
}
REVIEWKD = {  # arXiv:2104.09044, public script; none for VGG and MobileNetV2
    0.6: "resnet56-resnet20",
    1: "resnet110-resnet32",
    5: "wrn_40_2-wrn_16_2 wrn_40_2-wrn_40_1 wrn_40_2-ShuffleV1 resnet32x4-resnet8x4 resnet32x4-ShuffleV1",
    8: "resnet32x4-ShuffleV2",
}


@pytest.mark.parametrize(("method", "published"), [("dkd", DKD), ("reviewkd", REVIEWKD)])
def test_the_crd_suite_weighs_by_pair_as_the_authors_do(method, published):
    runs = load_suite("crd", Choices(methods=(method,), seeds="0"))
    found, by_pair = knobs_of(runs, "beta", method=method), origins(runs, "crd", Choices())
    expected = {pair: [(value,)] for value, pairs in published.items() for pair in pairs.split()}
    assert found.items() >= expected.items()
    named = {run.networks for run in runs if by_pair[run.id]["knobs.beta"].startswith("suite crd, pair ")}
    assert named == set(expected)


def test_the_crd_suites_factor_transfer_has_a_low_first_rate_for_residual_students_alone():
    found = knobs_of(load_suite("crd", Choices(methods=("ft",), seeds="0")), "rate", method="ft")
    assert len(found) == 13
    for pair, values in found.items():
        residual = pair.rpartition("-")[2].startswith(("resnet", "wrn"))
        assert values == [(0.2,)] if residual else [(1.0,)]
