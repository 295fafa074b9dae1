"""What is left to do, and in which company: pure planning."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmark.data.datasets import DatasetInfo
from benchmark.errors import BadInput
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.store import Record
from benchmark.sweep.plan import check_runs, cohorts, pending, waves, with_teachers
from methods.contract import Method, Unfit
from methods.registry import register

RECIPE = Recipe(epochs=2, lr=0.1, schedule=Steps(at=(1,)))
FACTS = {"digits": DatasetInfo(10, 32, 32)}


def a_teacher(student="resnet14", **changes):
    return Run(**{"dataset": "digits", "student": student, "method": "ce", "recipe": RECIPE} | changes)


TEACHERS = [a_teacher(), a_teacher("resnet20")]


def a_run(method="kd", student="resnet8", teacher=TEACHERS[0], seed=0, **changes):
    """A student's run."""
    fixed = {"dataset": "digits", "knobs": {}, "recipe": RECIPE}
    return Run(**fixed | {"method": method, "student": student, "teacher": teacher, "seed": seed} | changes)


def a_record(run, status):
    return Record(id=run.id, status=status, run=run.model_dump(mode="json"))


def latest(*settled):
    """Records by id, of (run, status)."""
    return {run.id: a_record(run, status) for run, status in settled}


def unique(runs):
    return list({run.id: run for run in runs}.values())


some_runs = st.lists(
    st.builds(
        lambda method, student, teacher, seed, batch, precision, judge: a_run(
            method, student, teacher, seed, recipe=recipe(batch, precision), judge=judge
        ),
        st.sampled_from(["ce", "kd", "sp"]),
        st.sampled_from(["resnet8", "resnet14", "resnet20"]),
        st.sampled_from([None, *TEACHERS]),
        st.integers(0, 2),
        st.sampled_from([32, 64]),
        st.sampled_from(["fp32", "bf16"]),
        st.sampled_from(["test", "holdout"]),
    ),
    max_size=25,
).map(unique)


def recipe(batch, precision):
    return Recipe(epochs=2, lr=0.1, schedule=Steps(at=(1,)), batch=batch, precision=precision)


# ---- cohorts
@settings(deadline=None)
@given(runs=some_runs, lanes=st.integers(1, 6))
def test_every_run_flies_in_exactly_one_cohort_and_no_cohort_is_too_large(runs, lanes):
    found = cohorts(runs, lanes)
    assert sorted(run.id for cohort in found for run in cohort) == sorted(run.id for run in runs)
    assert all(1 <= len(cohort) <= lanes for cohort in found)


@settings(deadline=None)
@given(runs=some_runs, lanes=st.integers(1, 30))
def test_a_cohort_has_one_seed_and_at_most_one_teacher(runs, lanes):
    for cohort in cohorts(runs, lanes):
        assert len({run.seed for run in cohort}) == 1
        assert len({run.teacher.id for run in cohort if run.teacher}) <= 1


@settings(deadline=None)
@given(runs=some_runs, lanes=st.integers(1, 30))
def test_a_cohort_sees_the_same_batches_in_the_same_precision(runs, lanes):
    for cohort in cohorts(runs, lanes):
        assert len({(run.dataset, run.judge, run.recipe.batch, run.recipe.precision) for run in cohort}) == 1


@pytest.mark.parametrize(
    "change",
    [{"crop": 2}, {"pad": "reflect"}, {"flip": False}, {"batch": 32}, {"precision": "bf16"}],
    ids=lambda change: next(iter(change)),
)
def test_other_augmentation_or_precision_means_other_company(change):
    other = a_run("ce", recipe=Recipe(**RECIPE.model_dump() | change))
    assert len(cohorts([a_run(), other], 16)) == 2


def test_other_lengths_rates_and_networks_fly_together():
    long = Recipe(**RECIPE.model_dump() | {"epochs": 9, "lr": 0.5})
    runs = [a_run(), a_run("sp"), a_run("kd", "resnet20"), a_run("ce", teacher=None, recipe=long)]
    assert cohorts(runs, 16) == [runs]


def test_cohorts_keep_the_order_of_the_runs():
    runs = [a_run(seed=1), a_run(seed=0), a_run("sp", seed=1)]
    assert [[run.seed for run in cohort] for cohort in cohorts(runs, 16)] == [[1, 1], [0]]


# ---- waves
@settings(deadline=None)
@given(runs=some_runs)
def test_teachers_fly_before_their_students_and_nobody_is_lost(runs):
    runs = with_teachers(runs)
    found = waves(runs)
    place = {run.id: number for number, wave in enumerate(found) for run in wave}
    assert sorted(place) == sorted(run.id for run in runs)
    assert sum(map(len, found)) == len(runs)
    assert all(place[run.teacher.id] < place[run.id] for run in runs if run.teacher)


def test_a_teacher_that_was_itself_taught_flies_after_its_own_teacher():
    first = TEACHERS[0]
    second = a_run("kd", "resnet20", first)
    third = a_run("kd", "resnet8", second)
    assert waves([third, second, first]) == [[first], [second], [third]]


def test_no_runs_make_no_waves():
    assert waves([]) == []
    assert cohorts([], 4) == []


def test_each_teacher_is_named_once_and_before_its_students():
    runs = [a_run("kd"), a_run("sp"), a_run(teacher=TEACHERS[1])]
    assert with_teachers(runs) == [TEACHERS[0], runs[0], runs[1], TEACHERS[1], runs[2]]


# ---- pending
def test_an_empty_store_leaves_everything_to_do_teachers_first():
    runs = [a_run("ce", teacher=None), a_run("kd"), a_run("sp")]
    assert pending(runs, {}, []) == [TEACHERS[0], *runs]


@pytest.mark.parametrize(
    ("status", "planned"), [("done", False), ("diverged", False), ("unfit", False), ("failed", True)]
)
def test_only_what_failed_is_tried_again(status, planned):
    run = a_run()
    assert (run in pending([run], latest((run, status)), [TEACHERS[0].id])) == planned


def test_a_teacher_whose_weights_are_kept_is_not_trained_again():
    run = a_run()
    assert pending([run], {}, [TEACHERS[0].id]) == [run]


def test_a_teacher_without_weights_is_trained_again_even_if_its_record_is_done():
    run = a_run()
    assert pending([run], latest((TEACHERS[0], "done")), []) == [TEACHERS[0], run]


def test_a_teacher_that_nobody_needs_any_more_is_not_trained():
    run = a_run()
    assert pending([run], latest((run, "done")), []) == []


def test_nobody_waits_for_a_teacher_that_diverged():
    runs = [a_run("ce", teacher=None), a_run("kd"), a_run("kd", teacher=TEACHERS[1])]
    found = pending(runs, latest((TEACHERS[0], "diverged")), [])
    assert found == [TEACHERS[1], runs[0], runs[2]]


def test_a_teachers_own_teacher_is_trained_where_both_are_gone():
    second = a_run("kd", "resnet20", TEACHERS[0])
    third = a_run("kd", "resnet8", second)
    assert {run.id for run in pending([third], {}, [])} == {TEACHERS[0].id, second.id, third.id}


def test_an_imported_teacher_whose_weights_are_gone_is_refused_by_name():
    imported = a_teacher(method="imported", recipe=None)
    with pytest.raises(BadInput, match=f"resnet14.*{imported.id}.*import them again"):
        pending([a_run(teacher=imported)], {}, [])
    assert pending([a_run(teacher=imported)], {}, [imported.id]) == [a_run(teacher=imported)]


@settings(deadline=None)
@given(runs=some_runs, data=st.data())
def test_whatever_the_store_holds_each_run_is_planned_once_and_finds_its_teacher(runs, data):
    everyone = with_teachers(runs)
    status = st.sampled_from([None, "done", "failed", "diverged", "unfit"])
    settled = [(run, data.draw(status)) for run in everyone]
    records = latest(*((run, status) for run, status in settled if status))
    kept = {run.id for run, status in settled if status == "done" and data.draw(st.booleans())}
    found = [run.id for run in pending(runs, records, kept)]
    assert len(set(found)) == len(found)
    for run in runs:
        if run.id in found and run.teacher:
            assert run.teacher.id in kept or run.teacher.id in found


# ---- vetting
def test_vetting_finds_nothing_wrong_with_a_sound_suite():
    assert check_runs([a_run("ce", teacher=None), a_run("kd", knobs={"alpha": 0.5})], FACTS) == {}


@pytest.mark.parametrize(
    "run", [a_run(student="resnet9"), a_run(teacher=a_teacher("resnet9"))], ids=["student", "teacher"]
)
def test_an_unknown_network_is_refused_with_the_nearest_name(run):
    with pytest.raises(BadInput, match=r"'resnet9': did you mean resnet\d+\?"):
        check_runs([run], FACTS)


def test_an_imported_teacher_is_vetted_without_its_method():
    imported = a_teacher(method="imported", recipe=None, knobs={"file_sha256": "00"})
    assert check_runs([a_run(teacher=imported)], FACTS) == {}


def test_a_pair_that_a_method_cannot_serve_is_told_with_its_reason(shelf):
    @register("narrow")
    class Narrow(Method):
        def __init__(self, student, teacher):
            super().__init__()
            if student.embedding != teacher.embedding:
                raise Unfit("widths differ")

    runs = [a_run("narrow"), a_run("narrow", teacher=a_teacher("resnet8x4"))]
    assert check_runs(runs, FACTS) == {runs[1].id: "widths differ"}


def test_a_method_that_cannot_be_built_is_named(shelf):
    @register("broken")
    class Broken(Method):
        def __init__(self, student, teacher):
            raise ZeroDivisionError("half of nothing")

    with pytest.raises(BadInput, match="'broken' cannot be built for resnet14-resnet8 broken seed 0: half of nothing"):
        check_runs([a_run("broken")], FACTS)


def test_vetting_costs_no_memory_however_large_a_method_is(shelf):
    @register("giant")
    class Giant(Method):
        def __init__(self, student, teacher):
            super().__init__()
            self.layer = nn.Linear(1_000_000, 1_000_000)  # 4 TB
            self.register_buffer("bank", torch.zeros(1_000_000, 1_000_000))

    assert check_runs([a_run("giant")], FACTS) == {}


def test_images_too_small_to_be_mirrored_outwards_are_refused_before_anything_is_trained():
    recipe = RECIPE.model_copy(update={"pad": "reflect", "crop": 32})
    with pytest.raises(BadInput, match=r"32 x 32 pixels.*mirrored outwards by 32"):
        check_runs([a_run(recipe=recipe)], FACTS)
