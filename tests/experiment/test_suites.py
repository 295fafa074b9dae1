"""The papers' suites, the options of a suite (several data sets or settings of a method), and method summaries."""

import pytest

from benchmark.conformance import method_summary
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.experiment.run import Recipe
from benchmark.experiment.suite import Pair, make_recipe, suite_label
from benchmark.report.docstrings import parse_docstring
from methods import registry


def runs_of(runs, method):
    return [run for run in runs if run.method == method]


# ---- options of a suite
def test_a_suite_on_two_data_sets_has_each_pair_and_each_teacher_on_both(write_suite):
    runs = load_suite(write_suite(dataset=["cifar10", "cifar100"]))
    assert sorted((run.dataset, run.method) for run in runs) == [
        ("cifar10", "ce"), ("cifar10", "kd"), ("cifar100", "ce"), ("cifar100", "kd"),
    ]  # fmt: skip
    assert all(run.teacher.dataset == run.dataset for run in runs_of(runs, "kd"))


def test_the_user_may_select_one_of_a_suites_data_sets(write_suite):
    assert {
        run.dataset for run in load_suite(write_suite(dataset="cifar10, cifar100"), Choices(dataset="cifar10"))
    } == {"cifar10"}


def test_a_method_with_several_settings_is_several_rows(write_suite):
    runs = load_suite(write_suite(knobs={"kd": [{}, {"alpha": 0.5}, {"temperature": 2}]}))
    assert [(run.knobs["alpha"], run.knobs["temperature"]) for run in runs_of(runs, "kd")] == [
        (0.9, 4),
        (0.5, 4),
        (0.9, 2),
    ]


def test_set_changes_every_setting_and_settings_that_become_equal_are_one_row(write_suite):
    name = write_suite(knobs={"kd": [{}, {"alpha": 0.5}, {"temperature": 2}]})
    runs = runs_of(load_suite(name, Choices(knobs=("kd.alpha=0.3",))), "kd")
    assert [(run.knobs["alpha"], run.knobs["temperature"]) for run in runs] == [(0.3, 4), (0.3, 2)]


def test_a_single_method_may_be_given_without_a_list(write_suite):
    assert {run.method for run in load_suite(write_suite(methods="kd"))} == {"kd"}


def test_a_recipe_keeps_the_id_it_had_before_it_could_name_an_optimiser():
    recipe = make_recipe("crd240")
    assert "optimiser" not in recipe.model_dump()
    assert Recipe.model_validate(recipe.model_dump()) == recipe
    assert make_recipe("fitnets").model_dump()["optimiser"] == "rmsprop"


# ---- the papers' suites
PAIRS = {
    "sp": "wrn_40_1-wrn_16_1 wrn_16_2-wrn_16_1 wrn_40_2-wrn_16_2 wrn_16_8-wrn_16_2 wrn_16_8-wrn_40_2",
    "kda": "ResNet34-ResNet18 ResNet34-resnet18x0.5 ResNet34-ShuffleV1",
    "lp": "maxout-fitnet1 maxout-fitnet2 maxout-fitnet3 maxout-fitnet4",
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_papers_suite_has_its_pairs(name):
    taught = [run for run in load_suite(name) if run.teacher]
    assert {f"{run.teacher.student}-{run.student}" for run in taught} == set(PAIRS[name].split())
    assert any(run.method == name for run in taught)


def test_the_crd_suite_weighs_terms_as_the_benchmark_does():
    knobs = {run.method: run.knobs for run in load_suite("crd")}
    assert (knobs["kd"]["temperature"], knobs["kd"]["alpha"]) == (4, 0.9)
    assert (knobs["hint"]["hint"], knobs["hint"]["guided"], knobs["hint"]["beta"]) == (2, 2, 100)
    assert (knobs["sp"]["gamma"], knobs["sp"]["at"]) == (3000, -1)
    assert set(knobs) == set(registry.names())


def test_kernel_transfers_recipe_warms_up_by_steps_and_ends_at_0():
    recipe = next(run.recipe for run in load_suite("kda"))
    assert (recipe.epochs, recipe.batch, recipe.lr, recipe.nesterov, recipe.weight_decay) == (
        120,
        256,
        0.1,
        False,
        5e-4,
    )
    assert recipe.rate(2.5) == pytest.approx(0.05)
    assert recipe.rate(5) == pytest.approx(0.1)
    assert recipe.rate(62.5) == pytest.approx(0.05)
    assert recipe.rate(120) == pytest.approx(0, abs=1e-12)


def test_similarity_preservings_recipe_is_that_of_wide_networks_on_cifar_10():
    run = next(run for run in load_suite("sp"))
    recipe = run.recipe
    assert run.dataset == "cifar10"
    assert (recipe.epochs, recipe.batch, recipe.lr, recipe.nesterov, recipe.pad) == (200, 128, 0.1, True, "reflect")
    assert [recipe.rate(epoch) for epoch in (0, 60, 120, 160)] == pytest.approx([0.1, 0.02, 0.004, 0.0008])


def test_the_lp_suite_compares_lp_with_hints_on_both_data_sets():
    runs = load_suite("lp")
    assert {run.dataset for run in runs} == {"cifar10", "cifar100"}
    assert {run.method for run in runs} == {"ce", "kd", "hint", "fitnets", "lp"}
    assert {run.knobs["regressor"] for run in runs_of(runs, "fitnets")} == {"maxout"}


def test_the_lsh_suite_has_every_variant():
    assert {run.knobs["variant"] for run in runs_of(load_suite("lsh"), "lsh")} == {"l2", "lsh", "lshl2", "lshl2_s"}


# ---- docstrings and summaries of methods
@pytest.mark.parametrize(
    ("citation", "year"),
    [("Tung & Mori, ICCV 2019, arXiv:1907.09682.", "2019"), ("Qian, arXiv:2009.14416.", "2020"), ("CE.", "not stated")],
)
def test_the_year_of_a_paper_is_that_of_its_venue_or_its_arxiv_number(citation, year):
    assert parse_docstring(f"Thing.  {citation}\n\nStatus: exact").year == year


@pytest.mark.parametrize("name", registry.names())
def test_every_method_states_status_and_departures(name):
    doc = parse_docstring(registry.docstring(name))
    assert doc.status in ("exact", "adapted", "re-derived")
    assert doc.departures != "not stated"


SUMMARIES = {  # what it reads of student and teacher; auxiliary parameters; added parameters
    "ce": (("logits",), (), 0, 0),
    "hint": (("logits", "maps[2]"), ("maps[2]",), 16_768, 0),
    "lsh": (("embedding", "logits"), ("embedding", "logits"), 0, 0),
    "sp": (("logits", "maps[-1]"), ("maps[-1]",), 0, 0),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_summary_lists_what_a_method_reads_and_trains(name):
    found = method_summary.summarise_method(name, Pair.model_validate("resnet32x4-resnet8x4"))
    assert (found.student, found.teacher, found.auxiliary, found.added) == SUMMARIES[name]


def test_a_summary_counts_the_layer_that_lsh_adds_to_a_narrower_student():
    found = method_summary.summarise_method("lsh", Pair.model_validate("wrn_40_2-wrn_40_1"))
    assert found.added == 64 * 128 + 128 + (128 - 64) * 100


# ---- names in records
def test_records_name_a_suite_as_typed_but_not_by_folders_outside_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {
        "crd": "crd",
        "mine/a.yaml": "mine/a.yaml",
        str(tmp_path / "mine/a.yaml"): "mine/a.yaml",
        "/home/alice/a.yaml": "a.yaml",
    }
    assert {name: suite_label(name) for name in names} == names
