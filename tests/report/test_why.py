"""The command `why`: what the nearest record has otherwise, from made-up records."""

import pytest

from benchmark.errors import BadInput
from benchmark.experiment.run import Recipe, Run, Steps
from benchmark.report.commands import why as module
from benchmark.report.commands.why import why, why_run
from benchmark.store import Record, Store
from methods import registry

RECIPE = Recipe(epochs=6, lr=0.05, schedule=Steps(at=(3, 5)))
TEACHER = Run(dataset="cifar100", student="resnet56", method="ce", recipe=RECIPE)


def a_run(method="kd", seed=0, **changes):
    fields = {"dataset": "cifar100", "student": "resnet20", "knobs": {"alpha": 0.9}, "recipe": RECIPE}
    return Run(**fields | {"method": method, "seed": seed, "teacher": TEACHER} | changes)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def add(store, run, status="done", source="", message="it broke"):
    """Store the record of a run; returns its name."""
    error = None if status == "done" else {"type": "E", "message": message}
    fields = {"id": run.id, "status": status, "run": run.model_dump(mode="json"), "error": error}
    return store.add(Record.model_validate(fields | {"made": {"source": source} if source else {}})).name


def with_recipe(run, **changes):
    return run.model_copy(update={"recipe": run.recipe.model_copy(update=changes)})


def test_the_fields_that_differ_from_the_nearest_record_are_listed_and_no_others(store):
    wanted = a_run(recipe=RECIPE.model_copy(update={"lr": 0.1}))
    name = add(store, a_run())
    add(store, a_run(seed=5, knobs={"alpha": 0.1}))  # two differences and the rate
    assert why([wanted], [wanted], {}, store).splitlines() == [
        "1 run: 0 with a record that answers, 1 to train",
        f"resnet56-resnet20 kd seed 0 ({wanted.id})",
        f"  nearest is record {name} (done)",
        "  recipe.lr: 0.1 here, 0.05 there",
    ]


def test_values_of_the_teacher_and_knobs_are_compared_too(store):
    add(store, a_run())
    wanted = a_run(teacher=with_recipe(TEACHER, epochs=9), knobs={"alpha": 0.5})
    text = why([wanted], [wanted], {}, store)
    assert "  teacher.recipe.epochs: 9 here, 6 there" in text
    assert "  knobs.alpha: 0.5 here, 0.9 there\n" in text
    assert text.count(" there") == 2


def test_a_value_that_only_one_of_them_has_is_called_not_set(store):
    add(store, a_run())
    wanted = with_recipe(a_run(), optimiser="rmsprop")
    assert "  recipe.optimiser: rmsprop here, not set there" in why([wanted], [wanted], {}, store)


def test_a_record_of_the_same_network_and_method_is_nearer_than_any_other(store):
    name = add(store, a_run(seed=9, knobs={"alpha": 0.1}))
    add(store, a_run("sp"))  # differs in the method alone
    wanted = a_run()
    assert f"nearest is record {name}" in why([wanted], [wanted], {}, store)


def test_without_such_a_record_the_nearest_of_all_is_taken(store):
    name = add(store, a_run("sp"))
    wanted = a_run()
    text = why([wanted], [wanted], {}, store)
    assert f"nearest is record {name}" in text and "  method: kd here, sp there" in text


def test_a_run_with_a_teacher_beside_one_without_names_the_teacher_alone(store):
    add(store, a_run(teacher=None))
    wanted = a_run()
    lines = why([wanted], [wanted], {}, store).splitlines()
    assert [line for line in lines if "teacher" in line] == ["  teacher: resnet56 here, none there"]


def test_runs_with_the_same_reason_are_told_together(store):
    add(store, a_run())
    runs = [a_run(method, recipe=RECIPE.model_copy(update={"lr": 0.1})) for method in ("kd", "sp", "hint")]
    text = why(runs, runs, {}, Store(store.root / "nowhere"))
    assert f"({runs[0].id}) and 2 runs more, for the same reason\n  there is no record of any run" in text


@pytest.mark.parametrize(
    ("status", "again", "reason"),
    [
        ("failed", False, "says failed: it broke"),
        ("done", False, "is done, but its weights are not in"),
        ("done", True, "--again: its record"),
    ],
)
def test_a_run_that_has_a_record_says_why_that_does_not_answer(store, status, again, reason):
    run = a_run()
    name = add(store, run, status)
    text = why([run], [run], {}, store, again)
    assert reason in text and name in text


def test_records_of_other_code_that_answer_are_counted(store):
    runs = [a_run(seed=seed) for seed in range(3)]
    for run, source in zip(runs, ("aaaa", "aaaa", registry.digest("kd")), strict=True):
        add(store, run, source=source)
    lines = why(runs, [], {}, store).splitlines()
    assert lines[0] == "3 runs: 3 with a record that answers, 0 to train"
    (line,) = lines[1:]
    assert line.startswith("2 records of kd that answered: made by other code, aaaa; it is ")
    assert registry.digest("kd") in line and "--again" in line


def test_a_long_answer_is_cut_and_says_how_to_choose_fewer(store, monkeypatch):
    monkeypatch.setattr(module, "MAX_LINES", 5)
    add(store, a_run(seed=99))
    runs = [a_run(seed=seed) for seed in range(20)]
    lines = why(runs, runs, {}, store).splitlines()
    assert len(lines) == 6
    assert lines[-1] == "… 56 lines more: choose fewer runs with -m, -p or --seeds"


def test_a_run_without_any_common_value_lists_a_few_fields_and_counts_the_rest(store):
    other = Recipe(epochs=1, lr=1.0, batch=8, momentum=0.1, weight_decay=0.1, schedule=Steps(at=()), crop=1, flip=False)
    add(store, a_run("sp", 7, student="vgg8", dataset="cifar10", teacher=None, recipe=other, knobs={}))
    wanted = a_run()
    lines = why([wanted], [wanted], {}, store).splitlines()
    assert len(lines) == 2 + 1 + module.MAX_DIFFERENCES + 1
    assert lines[-1].startswith("  and ") and lines[-1].endswith(" fields more")


def test_unfit_runs_are_counted(store):
    runs = [a_run(), a_run("sp")]
    assert why(runs, [], {runs[1].id: "too wide"}, store).startswith(
        "2 runs: 0 with a record that answers, 0 to train, 1 "
    )


# ---- of one run
def test_a_run_is_named_by_its_id_or_its_beginning_and_compared_with_the_nearest_other(store):
    name, run = add(store, a_run(seed=7)), a_run()
    own = add(store, run)
    expected = [
        f"resnet56-resnet20 kd seed 0 ({run.id})",
        f"  its record is {own} (no score)",
        f"  nearest is record {name} (done)",
        "  seed: 0 here, 7 there",
    ]
    for word in (run.id, run.id[:8], own):
        assert why_run(word, store.root).splitlines() == expected


def test_the_only_run_has_no_other_that_is_near(store):
    add(store, a_run())
    assert why_run(a_run().id, store.root).endswith("\n  there is no record of any other run")


def test_an_unknown_run_is_refused_with_those_that_there_are(store):
    add(store, a_run())
    with pytest.raises(BadInput, match=rf"no run in .* begins with 'ffff'; there are {a_run().id}"):
        why_run("ffff", store.root)
