"""Several teachers of a pair: crossed with the students' seeds, in which order, and what is refused."""

import pytest

from benchmark.errors import BadInput
from benchmark.experiment import resolve
from benchmark.experiment.origins import origins
from benchmark.experiment.resolve import Choices, breadth_first, load_suite
from benchmark.experiment.suite import MAX_SEEDS


def seeds_of(runs, method="kd"):
    """(Teacher's seed, seed) of a method's runs, in their order."""
    return [(run.teacher and run.teacher.seed, run.seed) for run in runs if run.method == method]


def test_a_method_with_a_teacher_has_every_seed_under_every_teacher_and_the_plain_student_each_seed_once(write_suite):
    runs = load_suite(write_suite(seeds="0-1", teacher_seeds="0-2"))
    assert sorted(seeds_of(runs)) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert seeds_of(runs, "ce") == [(None, 0), (None, 1)]
    assert len({run.teacher.id for run in runs if run.teacher}) == 3


@pytest.mark.parametrize(("written", "seeds"), [("0-2", [0, 1, 2]), ("0,3", [0, 3]), (5, [5]), ([4, 1], [4, 1])])
def test_the_seeds_of_teachers_are_written_as_those_of_students(written, seeds, write_suite):
    assert seeds_of(load_suite(write_suite(teacher_seeds=written))) == [(seed, 0) for seed in seeds]


def test_the_ids_of_one_teachers_runs_do_not_depend_on_further_teachers():
    one, several = (load_suite("digits", Choices(teacher_seeds=seeds)) for seeds in (None, "0-1"))
    ids = {run.id for run in one}
    assert {run.id for run in several if run.teacher is None or run.teacher.seed == 0} == ids
    assert len(several) > len(ids)


def test_at_every_square_of_the_order_all_teachers_and_seeds_so_far_are_crossed():
    order = breadth_first([7, 8, 9], [0, 1, 2])
    assert order[:4] == [(7, 0), (7, 1), (8, 0), (8, 1)]
    assert set(order[:9]) == {(t, s) for t in (7, 8, 9) for s in (0, 1, 2)}
    assert breadth_first([0], [3, 1]) == [(0, 3), (0, 1)]
    assert breadth_first([4, 2], [0]) == [(4, 0), (2, 0)]


def test_every_cell_has_its_first_run_before_any_cell_has_its_second(write_suite):
    name = write_suite(pairs=["resnet20-resnet8", "resnet56-resnet8"], methods=["kd", "sp"], seeds="0-1")
    runs = load_suite(name, Choices(teacher_seeds="0-1"))
    cells = [(run.networks, run.method) for run in runs]
    assert len(set(cells[:4])) == 4
    assert {(run.teacher.seed, run.seed) for run in runs[:4]} == {(0, 0)}


def test_the_limit_of_runs_counts_teachers_and_not_those_of_the_plain_student(write_suite, monkeypatch):
    monkeypatch.setattr(resolve, "MAX_RUNS", 2 * (3 + 1))
    name = write_suite(methods=["ce", "kd"])
    assert len(load_suite(name, Choices(seeds="0-1", teacher_seeds="0-2"))) == 8
    with pytest.raises(BadInput, match="10 runs are more than 8"):
        load_suite(name, Choices(seeds="0-1", teacher_seeds="0-3"))
    with pytest.raises(BadInput, match=f"--teacher-seeds.*more than {MAX_SEEDS:,} seeds"):
        load_suite(name, Choices(teacher_seeds="0-1000"))


def test_one_kept_teacher_in_place_of_several_is_refused_and_with_one_seed_it_is_taken(write_suite):
    name = write_suite(pairs=["resnet20-resnet8", "resnet56-resnet8"])
    kept = next(run.teacher for run in load_suite(name) if run.method == "kd")
    sentence = f"--teacher resnet20={kept.id} is one teacher, and 2 seeds of teachers are asked for: leave it out, or"
    with pytest.raises(BadInput, match=sentence):
        load_suite(name, Choices(teachers={"resnet20": kept}, teacher_seeds="0-1"))
    runs = load_suite(name, Choices(teachers={"resnet20": kept}, teacher_seeds="4"))
    assert [(run.teacher.student, run.teacher.seed) for run in runs if run.teacher] == [
        ("resnet20", 0),
        ("resnet56", 4),
    ]


def test_the_origin_of_a_teachers_seed_is_its_option_the_suite_or_the_default(write_suite):
    for suite, option, expected in [({}, None, "default"), ({"teacher_seeds": 1}, None, "suite"), ({}, "1", "--")]:
        name, choices = write_suite(**suite), Choices(teacher_seeds=option)
        (run,) = [run for run in load_suite(name, choices) if run.teacher]
        found = origins([run], name, choices)
        assert found[run.id]["teacher.seed"] == found[run.teacher.id]["seed"]
        assert found[run.id]["teacher.seed"].startswith(expected)
    choices = Choices(teachers={"resnet20": run.teacher})
    assert "teacher.seed" not in origins(load_suite(name, choices), name, choices)[run.id]


def test_labels_of_runs_that_differ_in_the_teachers_seed_look_different(write_suite):
    runs = load_suite(write_suite(seeds="0-1", teacher_seeds="0-1"))
    assert [run.label for run in runs if run.teacher] == [
        "resnet20-resnet8 kd seed 0",
        "resnet20-resnet8 kd seed 1",
        "resnet20-resnet8 kd seed 0 (teacher seed 1)",
        "resnet20-resnet8 kd seed 1 (teacher seed 1)",
    ]


def test_a_step_costs_the_same_whatever_the_teachers_seed(write_suite):
    runs = [run for run in load_suite(write_suite(teacher_seeds="0-2")) if run.teacher]
    assert len({run.cost_key for run in runs}) == 1
    other = runs[0].model_copy(update={"teacher": runs[0].teacher.model_copy(update={"student": "resnet56"})})
    assert other.cost_key != runs[0].cost_key
