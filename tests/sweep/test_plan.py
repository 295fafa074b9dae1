"""Planning of a sweep: cohorts, waves, pending runs, and checks before training."""

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
INFOS = {"digits": DatasetInfo(10, 32, 32)}


def a_teacher(student="resnet14", **changes):
    return Run(**{"dataset": "digits", "student": student, "method": "ce", "recipe": RECIPE} | changes)


TEACHERS = [a_teacher(), a_teacher("resnet20")]


def a_run(method="kd", student="resnet8", teacher=TEACHERS[0], seed=0, **changes):
    """A student's run."""
    fields = {"dataset": "digits", "knobs": {}, "recipe": RECIPE}
    return Run(**fields | {"method": method, "student": student, "teacher": teacher, "seed": seed} | changes)


def a_record(run, status):
    return Record(id=run.id, status=status, run=run.model_dump(mode="json"))


def latest(*statuses):
    """Records by id, from pairs of run and status."""
    return {run.id: a_record(run, status) for run, status in statuses}


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
def test_every_run_is_in_exactly_one_cohort_and_no_cohort_is_too_large(runs, lanes):
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
def test_a_cohort_shares_its_batches_and_precision(runs, lanes):
    for cohort in cohorts(runs, lanes):
        assert len({(run.dataset, run.judge, run.recipe.batch, run.recipe.precision) for run in cohort}) == 1


@pytest.mark.parametrize(
    "change",
    [{"crop": 2}, {"pad": "reflect"}, {"flip": False}, {"batch": 32}, {"precision": "bf16"}],
    ids=lambda change: next(iter(change)),
)
def test_runs_with_other_augmentation_batch_size_or_precision_are_in_another_cohort(change):
    other = a_run("ce", recipe=Recipe(**RECIPE.model_dump() | change))
    assert len(cohorts([a_run(), other], 16)) == 2


def test_runs_with_other_lengths_learning_rates_and_networks_share_a_cohort():
    long = Recipe(**RECIPE.model_dump() | {"epochs": 9, "lr": 0.5})
    runs = [a_run(), a_run("sp"), a_run("kd", "resnet20"), a_run("ce", teacher=None, recipe=long)]
    assert cohorts(runs, 16) == [runs]


def test_cohorts_keep_the_order_of_the_runs():
    runs = [a_run(seed=1), a_run(seed=0), a_run("sp", seed=1)]
    assert [[run.seed for run in cohort] for cohort in cohorts(runs, 16)] == [[1, 1], [0]]


# ---- waves
@settings(deadline=None)
@given(runs=some_runs)
def test_teachers_are_in_an_earlier_wave_than_their_students_and_no_run_is_lost(runs):
    runs = with_teachers(runs)
    found = waves(runs)
    wave_of = {run.id: number for number, wave in enumerate(found) for run in wave}
    assert sorted(wave_of) == sorted(run.id for run in runs)
    assert sum(map(len, found)) == len(runs)
    assert all(wave_of[run.teacher.id] < wave_of[run.id] for run in runs if run.teacher)


def test_a_teacher_with_a_teacher_of_its_own_is_in_a_later_wave_than_that():
    first = TEACHERS[0]
    second = a_run("kd", "resnet20", first)
    third = a_run("kd", "resnet8", second)
    assert waves([third, second, first]) == [[first], [second], [third]]


def test_without_runs_there_are_no_waves_and_no_cohorts():
    assert waves([]) == []
    assert cohorts([], 4) == []


def test_each_teacher_is_listed_once_and_before_its_students():
    runs = [a_run("kd"), a_run("sp"), a_run(teacher=TEACHERS[1])]
    assert with_teachers(runs) == [TEACHERS[0], runs[0], runs[1], TEACHERS[1], runs[2]]


# ---- pending
def test_with_an_empty_store_all_runs_are_pending_after_their_teachers():
    runs = [a_run("ce", teacher=None), a_run("kd"), a_run("sp")]
    assert pending(runs, {}, []) == [TEACHERS[0], *runs]


@pytest.mark.parametrize(
    ("status", "planned"), [("done", False), ("diverged", False), ("unfit", False), ("failed", True)]
)
def test_only_failed_runs_are_pending_again(status, planned):
    run = a_run()
    assert (run in pending([run], latest((run, status)), [TEACHERS[0].id])) == planned


def test_a_teacher_with_stored_weights_is_not_trained_again():
    run = a_run()
    assert pending([run], {}, [TEACHERS[0].id]) == [run]


def test_a_teacher_without_weights_is_trained_again_even_if_its_record_is_done():
    run = a_run()
    assert pending([run], latest((TEACHERS[0], "done")), []) == [TEACHERS[0], run]


def test_a_teacher_without_pending_students_is_not_trained():
    run = a_run()
    assert pending([run], latest((run, "done")), []) == []


def test_students_of_a_diverged_teacher_are_not_pending():
    runs = [a_run("ce", teacher=None), a_run("kd"), a_run("kd", teacher=TEACHERS[1])]
    found = pending(runs, latest((TEACHERS[0], "diverged")), [])
    assert found == [TEACHERS[1], runs[0], runs[2]]


def test_a_teachers_own_teacher_is_pending_if_the_weights_of_both_are_missing():
    second = a_run("kd", "resnet20", TEACHERS[0])
    third = a_run("kd", "resnet8", second)
    assert {run.id for run in pending([third], {}, [])} == {TEACHERS[0].id, second.id, third.id}


def test_an_imported_teacher_without_weights_is_refused_by_name():
    imported = a_teacher(method="imported", recipe=None)
    with pytest.raises(BadInput, match=f"resnet14.*{imported.id}.*import them again"):
        pending([a_run(teacher=imported)], {}, [])
    assert pending([a_run(teacher=imported)], {}, [imported.id]) == [a_run(teacher=imported)]


@settings(deadline=None)
@given(runs=some_runs, data=st.data())
def test_whatever_the_store_holds_pending_runs_are_unique_and_their_teachers_available(runs, data):
    status = st.sampled_from([None, "done", "failed", "diverged", "unfit"])
    statuses = [(run, data.draw(status)) for run in with_teachers(runs)]
    records = latest(*((run, status) for run, status in statuses if status))
    kept = {run.id for run, status in statuses if status == "done" and data.draw(st.booleans())}
    found = [run.id for run in pending(runs, records, kept)]
    assert len(set(found)) == len(found)
    for run in runs:
        if run.id in found and run.teacher:
            assert run.teacher.id in kept or run.teacher.id in found


# ---- checks before training
def test_valid_runs_pass_the_checks():
    assert check_runs([a_run("ce", teacher=None), a_run("kd", knobs={"alpha": 0.5})], INFOS) == {}


@pytest.mark.parametrize(
    "run", [a_run(student="resnet9"), a_run(teacher=a_teacher("resnet9"))], ids=["student", "teacher"]
)
def test_an_unknown_network_is_refused_with_the_nearest_name(run):
    with pytest.raises(BadInput, match=r"'resnet9': did you mean resnet\d+\?"):
        check_runs([run], INFOS)


def test_an_imported_teacher_is_checked_without_its_method():
    imported = a_teacher(method="imported", recipe=None, knobs={"file_sha256": "00"})
    assert check_runs([a_run(teacher=imported)], INFOS) == {}


def test_a_pair_that_a_method_does_not_support_is_returned_with_the_reason(isolated_registry):
    @register("narrow")
    class Narrow(Method):
        def __init__(self, student, teacher):
            super().__init__()
            if student.embedding != teacher.embedding:
                raise Unfit("widths differ")

    runs = [a_run("narrow"), a_run("narrow", teacher=a_teacher("resnet8x4"))]
    assert check_runs(runs, INFOS) == {runs[1].id: "widths differ"}


def test_a_method_that_cannot_be_built_is_named(isolated_registry):
    @register("broken")
    class Broken(Method):
        def __init__(self, student, teacher):
            raise ZeroDivisionError("division by zero")

    named = "'broken' cannot be built for resnet14-resnet8 broken seed 0: ZeroDivisionError: division by zero"
    with pytest.raises(BadInput, match=named):
        check_runs([a_run("broken")], INFOS)


def test_the_checks_allocate_no_memory_for_the_weights_of_a_method(isolated_registry):
    @register("giant")
    class Giant(Method):
        def __init__(self, student, teacher):
            super().__init__()
            self.layer = nn.Linear(1_000_000, 1_000_000)  # 4 TB
            self.register_buffer("bank", torch.zeros(1_000_000, 1_000_000))

    assert check_runs([a_run("giant")], INFOS) == {}


def test_images_too_small_for_the_reflection_padding_are_refused_before_training():
    recipe = RECIPE.model_copy(update={"pad": "reflect", "crop": 32})
    with pytest.raises(BadInput, match=r"32 x 32 pixels.*reflection padding of 32 pixels"):
        check_runs([a_run(recipe=recipe)], INFOS)
