"""Resolving a suite and the user's choices to runs: ids, schedules, order, and error messages."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import BadInput
from benchmark.experiment.origins import origins
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.experiment.run import Cosine, Recipe, Run, Steps
from benchmark.experiment.suite import read_suite, suite_names
from methods.contract import Method
from methods.registry import register

RECIPE = Recipe(epochs=240, lr=0.05, schedule=Steps(at=(150, 180, 210)))
TEACHER = Run(dataset="cifar100", student="resnet56", method="ce", recipe=RECIPE)
RUN = Run(
    dataset="cifar100", student="resnet20", method="kd", knobs={"alpha": 0.9}, teacher=TEACHER, recipe=RECIPE, seed=1
)


def error_of(name, choices=None):
    """The message of the BadInput that loading the suite raises; it has one line."""
    with pytest.raises(BadInput) as caught:
        load_suite(name, choices)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def runs_of(runs, method):
    return [run for run in runs if run.method == method]


def replace(value, **changes):
    """A new value of the same class with some fields changed."""
    return type(value)(**({name: getattr(value, name) for name in type(value).model_fields} | changes))


# ---- identity
def test_equal_runs_have_equal_ids_of_12_hex_digits():
    again = Run.model_validate(RUN.model_dump(mode="json"))
    assert again == RUN
    assert again.id == RUN.id
    assert len(RUN.id) == 12
    assert set(RUN.id) <= set("0123456789abcdef")


def test_the_id_of_a_run_never_changes():
    """If this id changes, no existing record belongs to its run any more."""
    assert RUN.id == "cc95559ca3f3"


OTHER = {
    "dataset": "cifar10",
    "content": "1a2b3c4d" * 8,
    "student": "resnet32",
    "method": "sp",
    "knobs": {"alpha": 0.8},
    "teacher": None,
    "recipe": Recipe(epochs=241, lr=0.05, schedule=RECIPE.schedule),
    "seed": 2,
    "judge": "holdout",
}


@pytest.mark.parametrize("field", Run.model_fields)
def test_another_value_of_any_field_gives_another_id(field):
    assert replace(RUN, **{field: OTHER[field]}).id != RUN.id


OTHER_RECIPE = {
    "optimiser": "rmsprop",
    "epochs": 239,
    "batch": 128,
    "lr": 0.1,
    "momentum": 0.8,
    "nesterov": True,
    "weight_decay": 1e-4,
    "schedule": Steps(at=(150, 180)),
    "crop": 2,
    "pad": "reflect",
    "flip": False,
    "precision": "fp32",
}


@pytest.mark.parametrize("field", Recipe.model_fields)
def test_another_value_of_any_part_of_the_recipe_gives_another_id(field):
    assert replace(RUN, recipe=replace(RECIPE, **{field: OTHER_RECIPE[field]})).id != RUN.id


def test_another_teacher_gives_another_id():
    assert replace(RUN, teacher=replace(TEACHER, seed=7)).id != RUN.id


def test_without_a_hash_of_images_the_field_is_left_out_so_that_older_records_stay_valid():
    assert "content" not in RUN.model_dump() and "content" not in RUN.model_dump(mode="json")["teacher"]
    old = Run.model_validate({**RUN.model_dump(mode="json"), "dataset": "folder:pets"})
    assert (old.content, old.data_label) == ("", "folder:pets")
    new = replace(old, content="1a2b3c4d" * 8)
    assert new.data_label == "folder:pets@1a2b3c4d"
    assert Run.model_validate(new.model_dump(mode="json")) == new
    assert new.timing_group != old.timing_group, "images of another size take another time"


@pytest.mark.parametrize("content", ["1a2b", "g" * 64, "A" * 64, "1" * 64 + "\n", None, 5])
def test_what_is_no_hash_is_refused(content):
    with pytest.raises(ValueError, match="content"):
        replace(RUN, content=content)


def test_a_changed_copy_has_an_id_of_its_own():
    assert RUN.id != RUN.model_copy(update={"seed": 9}).id


def test_the_order_in_which_knobs_are_named_does_not_matter():
    one, two = {"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0}
    assert replace(RUN, knobs=one).id == replace(RUN, knobs=two).id


@pytest.mark.parametrize("number", ["4", "4.0", "4e+0"])
def test_whole_and_decimal_numbers_are_the_same_knob(number):
    plain = runs_of(load_suite("digits"), "kd")[0]
    assert runs_of(load_suite("digits", Choices(knobs=(f"kd.temperature={number}",))), "kd")[0].id == plain.id


def dummy(default):
    @register("dummy")
    class Dummy(Method):
        def __init__(self, student, teacher, *, weight: float = default, at: int = -1):
            super().__init__()


def test_a_changed_default_changes_the_id(isolated_registry, write_suite):
    ids = []
    for default in (1.0, 2.0, 1.0):
        isolated_registry.pop("dummy", None)
        dummy(default)
        ids.append(load_suite(write_suite(methods=["dummy"]))[0].id)
    assert ids[0] == ids[2] != ids[1]


# ---- schedules
@pytest.mark.parametrize(
    ("epoch", "rate"), [(0, 0.05), (149, 0.05), (150, 5e-3), (180, 5e-4), (210, 5e-5), (239, 5e-5)]
)
def test_rates_drop_tenfold_at_epochs_150_180_and_210_counted_from_0(epoch, rate):
    recipe = read_suite("crd").recipe
    assert recipe.rate(epoch) == pytest.approx(rate)
    assert recipe.rate(epoch + 0.999) == pytest.approx(rate)


@settings(deadline=None)
@given(epochs=st.integers(2, 200), warmup=st.integers(0, 5), share=st.floats(0, 1))
def test_a_cosine_rises_from_0_then_falls_by_half_a_cosine(epochs, warmup, share):
    warmup, epoch = min(warmup, epochs - 1), share * epochs
    rate = Recipe(epochs=epochs, lr=0.2, schedule=Cosine(warmup=warmup)).rate(epoch)
    climbing = 0.2 * epoch / warmup if warmup else 0
    falling = 0.2 * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))
    assert rate == pytest.approx(climbing if epoch < warmup else falling, abs=1e-12)


def test_a_cosine_starts_at_0_peaks_after_its_warm_up_and_ends_at_0():
    recipe = Recipe(epochs=100, lr=0.2, schedule=Cosine(warmup=5))
    assert [recipe.rate(0), recipe.rate(5), recipe.rate(100)] == pytest.approx([0, 0.2, 0])


def test_a_schedule_stretches_in_proportion():
    short = RECIPE.with_epochs(12)
    assert short.epochs == 12
    assert short.schedule.at == pytest.approx((7.5, 9, 10.5))
    assert Recipe(epochs=100, lr=1, schedule=Cosine(warmup=10)).with_epochs(20).schedule.warmup == pytest.approx(2)


@pytest.mark.parametrize("epochs", [12, 30, 100, 124, 132, 184, 200, 368])
def test_a_stretched_drop_comes_at_the_exact_proportional_step(epochs):
    """The engine evaluates the rate at step / steps; an epoch of CIFAR in batches of 64 has 782 steps."""
    for number, mark in enumerate((150, 180, 210), 1):
        first_step = math.ceil(Fraction(mark * epochs, 240) * 782)
        rate_after = 0.05 * 0.1**number
        with_epochs = RECIPE.with_epochs(epochs)
        for rate in (
            with_epochs.rate,
            lambda epoch: RECIPE.rate(epoch, epochs),
        ):  # of a suite with these epochs; of an additional stage
            place, step = divmod(first_step, 782)
            assert rate(place + step / 782) <= rate_after * 1.001
            place, step = divmod(first_step - 1, 782)
            assert rate(place + step / 782) > rate_after * 1.001


# ---- the suites that come with the project
@pytest.mark.parametrize("name", suite_names())
def test_every_suite_loads_with_every_knob_resolved(name):
    runs = load_suite(name)
    assert len({run.id for run in runs}) == len(runs)
    assert {frozenset(run.knobs) for run in runs_of(runs, "kd")} == {frozenset({"temperature", "alpha"})}


CRD = [
    "wrn_40_2-wrn_16_2",
    "wrn_40_2-wrn_40_1",
    "resnet56-resnet20",
    "resnet110-resnet20",
    "resnet110-resnet32",
    "resnet32x4-resnet8x4",
    "vgg13-vgg8",
    "vgg13-MobileNetV2",
    "ResNet50-MobileNetV2",
    "ResNet50-vgg8",
    "resnet32x4-ShuffleV1",
    "resnet32x4-ShuffleV2",
    "wrn_40_2-ShuffleV1",
]


def test_the_crd_suite_is_the_13_pairs_of_the_paper():
    runs = runs_of(load_suite("crd"), "kd")
    pairs = {f"{run.teacher.student}-{run.student}" for run in runs}
    assert len(CRD) == 13
    assert pairs == set(CRD)
    assert {run.seed for run in runs} == {0, 1, 2}


def test_the_crd_suite_trains_by_the_papers_recipe():
    for run in load_suite("crd"):
        for each in filter(None, (run, run.teacher)):
            recipe = each.recipe
            assert recipe.lr == (0.01 if each.student in ("MobileNetV2", "ShuffleV1", "ShuffleV2") else 0.05)
            assert (recipe.epochs, recipe.batch, recipe.momentum, recipe.nesterov) == (240, 64, 0.9, False)
            assert (recipe.weight_decay, recipe.crop, recipe.pad, recipe.flip) == (5e-4, 4, "zero", True)
            assert (recipe.schedule.at, recipe.schedule.factor) == ((150, 180, 210), 0.1)


# ---- expansion
def test_seed_0_of_every_cell_comes_before_seed_1_of_any():
    seeds = [run.seed for run in load_suite("crd")]
    assert seeds == sorted(seeds)
    assert set(seeds) == {0, 1, 2}


def test_the_plain_student_is_shared_between_pairs_of_the_same_student(write_suite):
    runs = load_suite(write_suite(pairs=["resnet56-resnet8", "resnet20-resnet8"]))
    assert len(runs_of(runs, "ce")) == 1
    assert [run.teacher.student for run in runs_of(runs, "kd")] == ["resnet56", "resnet20"]


def test_every_seed_learns_from_the_same_teacher(write_suite):
    runs = runs_of(load_suite(write_suite(seeds="0-3", teacher_seeds=5)), "kd")
    assert [run.seed for run in runs] == [0, 1, 2, 3]
    assert {run.teacher.id for run in runs} == {runs[0].teacher.id}
    assert runs[0].teacher.seed == 5


def test_a_teacher_is_the_same_run_as_a_plain_student_with_the_same_recipe(write_suite):
    runs = load_suite(write_suite(pairs=["resnet56-resnet20", "resnet20-resnet8"]))
    taught = next(run.teacher for run in runs if run.teacher and run.teacher.student == "resnet20")
    assert taught.id in {run.id for run in runs_of(runs, "ce")}


def test_a_teachers_recipe_departs_from_the_students_only_where_it_says_so(write_suite):
    runs = load_suite(write_suite(recipe={"base": "crd240", "batch": 128}, teacher={"epochs": 120}))
    teacher = runs_of(runs, "kd")[0].teacher.recipe
    assert (teacher.batch, teacher.epochs, teacher.schedule.at) == (128, 120, (75, 90, 105))


def test_a_teacher_with_fewer_epochs_has_a_proportional_warm_up(write_suite):
    recipe = {"epochs": 100, "lr": 0.1, "schedule": {"kind": "cosine", "warmup": 20}}
    teacher = runs_of(load_suite(write_suite(recipe=recipe, teacher={"epochs": 10})), "kd")[0].teacher.recipe
    assert (teacher.epochs, teacher.schedule.warmup) == (10, 2)


def test_composed_methods_take_knobs_prefixed_by_their_part(isolated_registry, write_suite):
    dummy(1.0)
    plain, changed = (
        load_suite(write_suite(methods=["dummy+kd"]), Choices(knobs=knobs))[0]
        for knobs in ((), ("dummy+kd.kd.alpha=0.5", "dummy+kd.dummy.at=2"))
    )
    assert plain.knobs == {"dummy.weight": 1.0, "dummy.at": -1, "kd.temperature": 4.0, "kd.alpha": 0.9}
    assert changed.knobs == plain.knobs | {"kd.alpha": 0.5, "dummy.at": 2}


# ---- the user's choices
def test_choices_override_the_suite():
    runs = load_suite(
        "crd",
        Choices(methods=("kd",), pairs=("vgg13-vgg8",), seeds="0,3", epochs=24, dataset="cifar10", precision="fp32"),
    )
    assert [(run.method, run.student, run.seed, run.dataset) for run in runs] == [
        ("kd", "vgg8", 0, "cifar10"),
        ("kd", "vgg8", 3, "cifar10"),
    ]
    for recipe in (runs[0].recipe, runs[0].teacher.recipe):
        assert (recipe.epochs, recipe.precision) == (24, "fp32")
        assert recipe.schedule.at == pytest.approx((15, 18, 21))


def test_fewer_epochs_shorten_a_longer_teacher_in_proportion():
    run = runs_of(load_suite("digits", Choices(epochs=3)), "kd")[0]
    assert (run.recipe.epochs, run.teacher.recipe.epochs) == (3, 4)


@pytest.mark.parametrize(
    ("assignment", "value"),
    [("kd.alpha=0.5", 0.5), ("kd.alpha=1", 1.0), ("kd.alpha=1e-3", 1e-3), ("kd.alpha= .5", 0.5)],
)
def test_set_changes_one_knob_of_one_method(assignment, value):
    runs = load_suite("digits", Choices(knobs=(assignment,)))
    assert {run.knobs["alpha"] for run in runs_of(runs, "kd")} == {value}
    assert {run.knobs["temperature"] for run in runs_of(runs, "kd")} == {4.0}


def test_set_overrides_the_suites_knobs(write_suite):
    name = write_suite(knobs={"kd": {"alpha": 0.1, "temperature": 2}})
    assert runs_of(load_suite(name, Choices(knobs=("kd.alpha=0.3",))), "kd")[0].knobs == {
        "temperature": 2,
        "alpha": 0.3,
    }


def test_a_teacher_given_by_the_user_replaces_the_trained_one():
    imported = Run(dataset="digits", student="resnet20", method="imported", knobs={"file_sha256": "00"}, recipe=None)
    run = runs_of(load_suite("digits", Choices(teachers={"resnet20": imported})), "kd")[0]
    assert run.teacher == imported


# ---- image folders
def contents(dataset):
    """A hash for each image folder, as the data folder would give it."""
    return dataset.removeprefix("folder:").ljust(64, "0") if dataset.startswith("folder:") else ""


def test_runs_and_teachers_on_an_image_folder_have_its_hash_and_others_have_none(write_suite):
    runs = load_suite(write_suite(dataset=["folder:a", "folder:b", "digits"]), None, contents)
    for run in runs:
        assert run.content == contents(run.dataset)
        assert run.teacher is None or run.teacher.content == run.content
    assert len({run.id for run in runs}) == 6
    plain = load_suite(write_suite(dataset=["folder:a", "folder:b", "digits"]))
    assert {run.id for run in runs} & {run.id for run in plain} == {run.id for run in runs if run.dataset == "digits"}


def test_a_teacher_of_other_images_is_refused_and_one_from_before_the_hash_is_taken(write_suite):
    name = write_suite(dataset="folder:a", methods=["kd"])
    teacher = load_suite(name, None, contents)[0].teacher
    other = teacher.model_copy(update={"content": "b" * 64})
    with pytest.raises(BadInput, match="folder:a@bbbbbbbb, whose images have changed since: train another teacher"):
        load_suite(name, Choices(teachers={"resnet20": other}), contents)
    old = teacher.model_copy(update={"content": ""})
    for known in (teacher, old):
        assert load_suite(name, Choices(teachers={"resnet20": known}), contents)[0].teacher == known


def test_the_origin_of_the_hash_is_the_folder(write_suite):
    name = write_suite(dataset="folder:a", methods=["kd"])
    runs = load_suite(name, None, contents)
    found = origins(runs, name, Choices())
    assert {found[id]["content"] for id in (runs[0].id, runs[0].teacher.id)} == {"the folder's files"}


# ---- errors
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"titel": "t"}, ["titel", "did you mean 'title'"]),
        ({"title": None}, ["title", "required"]),
        ({"pairs": []}, ["pairs"]),
        ({"pairs": "resnet20-resnet8"}, ["pairs"]),
        ({"pairs": ["resnet20"]}, ["pairs.0: a pair is written TEACHER-STUDENT", "'resnet20'"]),
        ({"methods": ["kdd"]}, ["methods", "did you mean 'kd'"]),
        ({"methods": ["kd+kd"]}, ["methods", "once"]),
        ({"methods": []}, ["methods"]),
        ({"knobs": {"kd": {"alfa": 1}}}, ["kd", "alfa", "did you mean 'alpha'"]),
        ({"knobs": {"kd": {"alpha": "x"}}}, ["kd", "alpha", "number"]),
        ({"knobs": {"kd": {"alpha": math.nan}}}, ["kd", "alpha"]),
        ({"knobs": {"kdd": {"alpha": 1}}}, ["knobs", "kdd"]),
        ({"lr": {"resnet9": 0.1}}, ["lr", "resnet9"]),
        ({"lr": {"resnet8": -1}}, ["lr.resnet8", "at least 1e-12, not -1"]),
        ({"recipe": "crd24"}, ["recipe", "crd24", "crd240"]),
        ({"recipe": ["crd240"]}, ["recipe"]),
        ({"recipe": {"base": "crd240", "epochs": 0}}, ["recipe.epochs", "at least 1, not 0"]),
        ({"recipe": {"base": "crd240", "epoch": 1}}, ["recipe.epoch", "did you mean 'epochs'"]),
        ({"recipe": {"base": "crd240", "schedule": {"kind": "cos"}}}, ["recipe.schedule", "'steps', 'cosine'"]),
        ({"recipe": {"base": "crd240", "schedule": {"kind": "cosine", "warmup": 300}}}, ["recipe", "warm-up", "240"]),
        ({"recipe": None}, ["recipe"]),
        ({"teacher": {"flip": "maybe"}}, ["teacher.flip", "boolean"]),
        ({"teacher": 5}, ["teacher"]),
        ({"seeds": "2-0"}, ["seeds", "0-2"]),
        ({"seeds": [-1]}, ["seeds"]),
        ({"seeds": []}, ["seeds"]),
        ({"teacher_seed": 0}, ["teacher_seed: there is no such key", "did you mean 'teacher_seeds'"]),
        ({"teacher_seeds": -1}, ["teacher_seeds", "0-2"]),
        ({"judge": "tests"}, ["judge", "'test' or 'holdout'"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value)[:60],
)
def test_an_error_in_a_suites_file_is_one_sentence_naming_file_and_key(changes, expected, write_suite):
    name = write_suite(**changes)
    sentence = error_of(name)
    for part in [name, *expected]:
        assert part in sentence


@pytest.mark.parametrize("text", ["title: [", "- a", "", "title: t\ttitle: [\n  x", "\x00"])
def test_a_file_that_is_not_a_mapping_is_refused_by_name(text, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert str(path) in error_of(str(path))


@pytest.mark.parametrize(
    ("name", "hint"), [("digitz", "did you mean 'digits'"), ("zzz", "crd, digits"), ("nowhere/x.yaml", ".yaml file")]
)
def test_an_unknown_suite_is_refused_with_the_existing_ones(name, hint):
    sentence = error_of(name)
    assert repr(name) in sentence
    assert hint in sentence


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"methods": ("kdd",)}, ["'kdd'", "did you mean 'kd'"]),
        ({"methods": ("kd+",)}, ["unknown method ''"]),
        ({"pairs": ("resnet20",)}, ["TEACHER-STUDENT", "'resnet20'"]),
        ({"seeds": "2-0"}, ["0-2", "'2-0'"]),
        ({"seeds": "x"}, ["'x'"]),
        ({"precision": "fp16"}, ["fp16", "bf16"]),
        ({"knobs": ("kd.alpha",)}, ["METHOD.KNOB=VALUE", "'kd.alpha'"]),
        ({"knobs": ("alpha=1",)}, ["METHOD.KNOB=VALUE"]),
        ({"knobs": ("kd.alfa=1",)}, ["'alfa'", "did you mean 'alpha'"]),
        ({"knobs": ("kd.alpha=x",)}, ["'alpha'", "'kd'", "number"]),
        ({"knobs": ("kd.alpha=",)}, ["'alpha'", "'kd'", "number"]),
        ({"knobs": ("kd.alpha=yes",)}, ["'alpha'", "'kd'", "number", "not True"]),
        ({"knobs": ("kd.alpha=.nan",)}, ["alpha"]),
        ({"knobs": ("kd.alpha=[",)}, ["kd.alpha=["]),
        ({"knobs": ("kdd.alpha=1",)}, ["'kdd'", "did you mean 'kd'"]),
        ({"knobs": ("kd.alpha=1",), "methods": ("ce",)}, ["'kd'", "not among the methods"]),
        ({"knobs": ("ce+kd.kd.alpha=1",)}, ["ce+kd", "not among the methods"]),
        ({"teachers": {"resnet56": TEACHER}}, ["resnet56"]),  # no pair of the suite has this teacher
        ({"teachers": {"resnet20": replace(TEACHER, student="resnet20")}}, ["cifar100", "digits"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value)[:60],
)
def test_a_wrong_choice_of_the_user_is_one_sentence(choices, expected):
    sentence = error_of("digits", Choices(**choices))
    for part in expected:
        assert part in sentence


def test_the_judge_of_the_command_line_takes_the_place_of_the_suites():
    runs = load_suite("mini", Choices(methods=("kd",), judge="holdout"))
    assert {(run.judge, run.teacher.judge) for run in runs} == {("holdout", "holdout")}
    with pytest.raises(BadInput, match="--judge is test, holdout, not 'train'"):
        load_suite("mini", Choices(judge="train"))
