"""Cohorts on several workers: grouping, order of submission, and how long all takes, in simulated time."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.store import Record, Store
from benchmark.sweep import estimate, plan, runner, schedule
from benchmark.sweep.options import Options


def a_run(student="resnet8", method="kd", teacher=None, seed=0, epochs=2):
    recipe = Recipe(epochs=epochs, lr=0.1, schedule=Steps(at=(1,)))
    return Run(dataset="digits", student=student, method=method, teacher=teacher, recipe=recipe, seed=seed)


def a_record(run, device, seconds, lanes=1, ended="2026-01-01"):
    """A record of a run that took this many seconds of training for each of its epochs."""
    epochs = run.recipe.epochs
    clock = {"train_s": seconds * epochs * lanes, "evaluate_s": 0.0, "lanes": lanes, "epochs": epochs}
    made = {"device": device, "ended": ended}
    return Record(id=run.id, status="done", run=run.model_dump(mode="json"), clock=clock, made=made)


FIRST, SECOND = a_run("resnet20", "ce"), a_run("resnet14", "ce")

some_work = st.integers(1, 12).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(1, 20).map(float), min_size=count, max_size=count),
        st.tuples(
            *(st.lists(st.integers(0, n - 1), max_size=2, unique=True) if n else st.just([]) for n in range(count))
        ),
    )
)


def lower_bound(durations, after, workers):
    """No order takes less: the longest chain of a teacher and those that learn from it, or all work shared equally."""
    return max(*schedule.longest_paths(durations, after), sum(durations) / workers) if durations else 0.0


# ---- grouping
def test_on_several_workers_teachers_are_apart_and_so_are_runs_that_learn_from_nobody():
    students = [a_run(teacher=FIRST), a_run(method="sp", teacher=FIRST), a_run(teacher=SECOND)]
    plain = [a_run(method="ce"), a_run("resnet14", "ce", seed=1)]
    waves = plan.waves([FIRST, SECOND, *students, *plain])
    assert schedule.separate(waves, 16) == [
        [[FIRST], [SECOND]],
        [[plain[0]], [plain[1]], students[:2], students[2:]],
    ]


def test_cohorts_on_several_workers_have_no_more_runs_than_there_are_lanes():
    students = [a_run(method=method, teacher=FIRST) for method in ("kd", "sp", "kda")]
    assert schedule.separate([students], 2) == [[students[:2], students[2:]]]


def test_a_cohort_waits_for_the_cohort_of_its_teacher_and_not_for_a_teacher_that_is_there():
    second = a_run("resnet14", teacher=FIRST)
    groups = [[FIRST], [second], [a_run(teacher=second)], [a_run(teacher=SECOND)], [a_run(method="ce")]]
    assert schedule.dependencies(groups) == [(), (0,), (1,), (), ()]


# ---- lengths
def test_a_cohort_takes_the_sum_of_its_runs_shares_as_the_newest_records_of_the_device_have_them():
    student = a_run(teacher=FIRST, epochs=5)
    records = [
        a_record(a_run(teacher=FIRST), "old", 9.0),
        a_record(a_run(teacher=FIRST), "this", 7.0, ended="2025-01-01"),
        a_record(a_run(teacher=FIRST), "this", 3.0, lanes=4),
    ]
    known = schedule.timings(records)
    assert schedule.cohort_seconds([student, a_run(teacher=FIRST, seed=1)], known, "this") == 3.0 * 5 + 3.0 * 2
    assert schedule.cohort_seconds([student, a_run(teacher=SECOND)], known, "this") is None


def test_lengths_are_seconds_of_the_device_that_knows_most_or_else_epochs():
    groups = [[FIRST], [a_run(teacher=FIRST, epochs=5), a_run(teacher=FIRST, seed=1)]]
    known = [a_record(FIRST, "other", 1.0), a_record(FIRST, "this", 4.0), a_record(groups[1][1], "this", 0.5)]
    assert schedule.measured_device([FIRST, *groups[1]], schedule.timings(known)) == "this"
    assert schedule.lengths(groups, known) == [8.0, 3.5]
    assert schedule.lengths(groups, known[:2]) == [2.0, 7.0]
    assert schedule.measured_device([FIRST], {}) == ""


# ---- order and time, worked out by hand
#   0 (4) -> 2 (3), 3 (1)      1 (2) -> 4 (6)      5 (1)
DURATIONS, AFTER = [4.0, 2.0, 3.0, 1.0, 6.0, 1.0], [(), (), (0,), (0,), (1,), ()]


def test_the_longest_path_of_a_cohort_goes_through_those_that_wait_for_it():
    assert schedule.longest_paths(DURATIONS, AFTER) == [7.0, 8.0, 3.0, 1.0, 6.0, 1.0]
    assert schedule.submission_order(DURATIONS, AFTER) == [1, 0, 4, 2, 3, 5]


@pytest.mark.parametrize(
    ("workers", "starts", "end"),
    [
        (1, [2.0, 0.0, 13.0, 16.0, 7.0, 6.0], 17.0),
        (2, [0.0, 0.0, 4.0, 7.0, 3.0, 2.0], 9.0),
        (3, [0.0, 0.0, 4.0, 4.0, 2.0, 0.0], 8.0),
    ],
)
def test_workers_take_the_longest_path_of_those_that_became_ready_first(workers, starts, end):
    assert schedule.simulate(DURATIONS, AFTER, workers) == starts
    assert schedule.makespan(DURATIONS, AFTER, workers) == end


def test_without_cohorts_no_time_passes():
    assert schedule.makespan([], [], 4) == lower_bound([], [], 4) == 0.0


def sixty_four():
    """Made-up cohorts: 8 teachers of 0.05 to 0.2 s, six students of each, and 8 cohorts that wait for nobody."""
    durations = [0.05 + 0.15 * (number * 37 % 64) / 63 for number in range(64)]
    return durations, [() if number < 8 or number >= 56 else ((number - 8) // 6,) for number in range(64)]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_sixty_four_cohorts_take_at_most_a_tenth_more_than_the_least_possible(workers):
    durations, after = sixty_four()
    bound = lower_bound(durations, after, workers)
    assert bound == pytest.approx(sum(durations) / workers)  # 8 s of work; the longest chain takes 0.4 s
    assert bound <= schedule.makespan(durations, after, workers) + 1e-9
    assert schedule.makespan(durations, after, workers) <= 1.1 * bound


@settings(deadline=None)
@given(work=some_work, workers=st.integers(1, 5))
def test_no_cohort_starts_before_those_it_waits_for_and_no_worker_idles_while_one_is_ready(work, workers):
    durations, after = work
    starts = schedule.simulate(durations, after, workers)
    ends = [start + duration for start, duration in zip(starts, durations, strict=True)]
    ready = [max((ends[earlier] for earlier in each), default=0.0) for each in after]
    assert all(start >= at for start, at in zip(starts, ready, strict=True))
    moments = sorted({0.0, *starts, *ends})
    for begin, _ in pairwise(moments):
        busy = sum(start <= begin < end for start, end in zip(starts, ends, strict=True))
        waits = any(at <= begin < start for start, at in zip(starts, ready, strict=True))
        assert busy <= workers
        assert busy == workers or not waits


@settings(deadline=None)
@given(work=some_work, workers=st.integers(1, 5))
def test_the_time_is_never_below_the_bound_nor_above_that_of_any_list_schedule(work, workers):
    bound = lower_bound(*work, workers)
    assert bound <= schedule.makespan(*work, workers) <= (2 - 1 / workers) * bound  # Graham, 1969
    assert schedule.makespan(*work, 1) == sum(work[0])


@settings(deadline=None)
@given(work=some_work)
def test_cohorts_are_submitted_after_those_they_wait_for(work):
    durations, after = work
    order = schedule.submission_order(durations, after)
    assert sorted(order) == list(range(len(durations)))
    assert all(order.index(earlier) < order.index(number) for number, each in enumerate(after) for earlier in each)


# ---- in the plan
def test_the_plan_says_how_the_time_falls_with_the_number_of_devices_and_what_bounds_it():
    students = [a_run(teacher=FIRST, seed=seed) for seed in range(4)]
    known = [a_record(FIRST, "this", 5.0), a_record(students[0], "this", 10.0)]  # 10 s, then 4 cohorts of 20 s
    text = estimate.scaling([FIRST, *students], 16, schedule.timings(known), "this")
    assert text.startswith("time with --executor ray on 1, 2, 4, 8 devices: 1 min 30 s, 50 s, 30 s, 30 s; ")
    assert "never less than 30 s" in text
    assert "not measured" not in text


def test_cohorts_that_were_not_measured_are_named_and_without_any_nothing_is_claimed():
    runs = [FIRST, a_run(teacher=FIRST), a_run(teacher=SECOND)]
    text = estimate.scaling(runs, 16, schedule.timings([a_record(FIRST, "this", 5.0)]), "this")
    assert text.endswith("; without 2 cohorts with networks not measured yet")
    assert estimate.scaling(runs, 16, schedule.timings([a_record(FIRST, "other", 5.0)]), "this") == ""
    assert estimate.scaling([FIRST], 16, schedule.timings([a_record(FIRST, "this", 5.0)]), "this") == ""


def test_a_plan_for_a_cluster_uses_the_device_that_was_measured(tmp_path):
    store, runs = Store(tmp_path), [a_run(teacher=FIRST, seed=1), a_run(teacher=FIRST, seed=2)]
    for run in (FIRST, a_run(teacher=FIRST)):
        store.add(a_record(run, "a GPU far away", 5.0))
    options = Options("digits", tmp_path, tmp_path, "cpu", executor="ray")
    text = estimate.describe(runner.make_plan(runs, options), options)
    assert "time: about 30 s on a GPU far away" in text
    assert "on 1, 2, 4, 8 devices: 30 s, 20 s, 20 s, 20 s" in text
    assert "  wave 2: resnet20-resnet8 kd seed 1" in text.splitlines()
    here = replace(options, executor="here")
    assert "not measured yet on" in estimate.describe(runner.make_plan(runs, here), here)
