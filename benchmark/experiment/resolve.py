"""Resolve a suite and the user's choices into runs whose knobs all have a value.

Choices: the user's changes to a suite · load_suite: the runs of a suite
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from benchmark.errors import BadInput
from benchmark.experiment.error_text import shown
from benchmark.experiment.knobs import resolve_knobs
from benchmark.experiment.run import MAX_EPOCHS, Judge, Precision, Recipe, Run
from benchmark.experiment.suite import Pair, Settings, Suite, first_error, parse_seeds, read_suite, split_list
from benchmark.experiment.yaml_input import parse_yaml
from methods import registry

PLAIN_METHOD = "ce"  # the method of teachers and of the students that others are compared with
MAX_RUNS = 20_000  # of a suite
Content = Callable[[str], str]  # name of a data set -> hash of its files; "" for official data


@dataclass(frozen=True, slots=True)
class Choices:
    """A user's changes to a suite; None, or an empty tuple, keeps the suite's value."""

    methods: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    seeds: str | None = None
    epochs: int | None = None
    dataset: str | None = None
    precision: Precision | None = None
    judge: Judge | None = None
    knobs: tuple[str, ...] = ()  # "method.knob=value"
    teachers: Mapping[str, Run] = field(default_factory=dict)  # network -> its run, instead of training it


def load_suite(name: str, choices: Choices | None = None, content: Content = lambda dataset: "") -> list[Run]:
    """The runs of a suite, ordered by seed; a teacher's run is a field of its students' runs.

    name: of a suite, or the path of a .yaml file.  content: data set -> hash of its files, for image folders.
    Raises BadInput for an unknown name or knob or an invalid value.
    """
    choices = choices or Choices()
    try:
        suite = chosen_suite(name, choices)
        contents = {dataset: content(dataset) for dataset in suite.dataset}
        check_teachers(choices.teachers, suite, contents)
        return suite_runs(suite, choices.teachers, contents)
    except BadInput:
        raise
    except ValueError as fault:
        raise BadInput(first_error(fault)) from fault


def chosen_suite(name: str, choices: Choices) -> Suite:
    """The suite of a name or a .yaml file, with the user's choices applied.  Raises BadInput."""
    return apply_choices(load_checked(name), choices)


def load_checked(name: str) -> Suite:
    """Read a suite and check its methods and knobs.  Raises BadInput naming the suite and the key."""
    suite, key = read_suite(name), "methods"
    try:
        for method in () if suite.methods == "all" else suite.methods:
            registry.get(method)
        key = "knobs"
        for method, settings in suite.knobs.items():
            for values in settings:
                resolve_knobs(method, values)
    except ValueError as fault:
        raise BadInput(f"{name}: {key}: {fault}") from fault
    return suite


def check_teachers(teachers: Mapping[str, Run], suite: Suite, contents: Mapping[str, str]) -> None:
    """Raises ValueError for a teacher that no pair uses or that was trained on another data set or other images."""
    for network, run in teachers.items():
        if network not in {pair.teacher for pair in suite.pairs}:
            raise ValueError(f"--teacher {network}={run.id}: no pair of this run learns from a {network}")
        if (run.dataset,) != suite.dataset:
            raise ValueError(
                f"--teacher {network}={run.id} was trained on {run.dataset}, this run is on {', '.join(suite.dataset)}"
            )
        if run.content and run.content != contents[run.dataset]:
            raise ValueError(
                f"--teacher {network}={run.id} was trained on {run.data_label}, whose images have changed since: "
                "train another teacher"
            )


def apply_choices(suite: Suite, choices: Choices) -> Suite:
    """The suite with the user's choices applied.  Raises BadInput naming the option."""
    changes: dict[str, Any] = {}
    if choices.methods:
        names = choices.methods
        every = names == ("all",)
        changes["methods"] = "all" if every else named("--methods", lambda: tuple(n for n in names if registry.get(n)))
    if choices.pairs:
        changes["pairs"] = named("--pairs", lambda: tuple(Pair.model_validate(pair) for pair in choices.pairs))
    if choices.seeds is not None:
        changes["seeds"] = named("--seeds", lambda: parse_seeds(choices.seeds))
    if choices.dataset is not None:
        changes["dataset"] = split_list(choices.dataset, "--dataset")
    if choices.knobs:
        changes["knobs"] = apply_knobs(suite.knobs, choices.knobs, changes.get("methods", suite.methods))
    recipes = {"recipe": suite.recipe, "teacher": suite.teacher}
    if choices.epochs is not None:
        recipes = named("--epochs", lambda: stretch(recipes, choices.epochs))
    if choices.precision is not None:
        check_word("--precision", choices.precision, Precision)
        recipes = {key: each.model_copy(update={"precision": choices.precision}) for key, each in recipes.items()}
    if choices.judge is not None:
        check_word("--judge", choices.judge, Judge)
        changes["judge"] = choices.judge
    return suite.model_copy(update=changes | recipes)


def named(option: str, parse: Callable[[], Any]) -> Any:
    """What `parse` returns.  Raises BadInput that names the option where `parse` raises ValueError."""
    try:
        return parse()
    except ValueError as fault:
        raise BadInput(f"{option}: {first_error(fault)}") from fault


def stretch(recipes: Mapping[str, Recipe], epochs: int) -> dict[str, Recipe]:
    """The recipes of students ("recipe") and teachers, the students' with `epochs`, the others' in proportion."""
    if not 1 <= epochs <= MAX_EPOCHS:
        raise ValueError(f"must be from 1 to {MAX_EPOCHS:,}, not {shown(epochs)}")
    ratio = epochs / recipes["recipe"].epochs
    return {key: each.with_epochs(max(1, round(each.epochs * ratio))) for key, each in recipes.items()}


def check_word(option: str, word: str, literal: Any) -> None:
    """Raises BadInput unless a word is one of those of a Literal."""
    if word not in get_args(literal):
        raise BadInput(f"{option} is {', '.join(get_args(literal))}, not {shown(word)}")


def apply_knobs(knobs: dict[str, Settings], assignments: tuple[str, ...], methods) -> dict[str, Settings]:
    """The suite's knobs with each "method.knob=value" applied to every setting of its method.  Raises BadInput."""
    knobs = dict(knobs)
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        method, dot, knob = path.partition(".")
        if not (equals and dot and knob):
            raise BadInput(f"--set takes METHOD.KNOB=VALUE, as in kd.alpha=0.5, not {shown(assignment)}")
        own = registry.names() if methods == "all" else methods
        option = f"--set {assignment:.100}"
        change = {knob: named(option, lambda text=value: parse_yaml(text))}
        named(option, lambda name=method, values=change: resolve_knobs(name, values))
        if method not in own:
            raise BadInput(f"{option}: {method!r} is not among the methods of this run, {', '.join(own)}")
        knobs[method] = tuple(known | change for known in knobs.get(method, ({},)))
    return knobs


def suite_runs(suite: Suite, teachers: Mapping[str, Run], contents: Mapping[str, str]) -> list[Run]:
    """Every run of a suite, without duplicates: a method without teacher has one run per student, not per pair.

    contents: data set -> hash of its files, or "".  Raises BadInput if there are more than MAX_RUNS.
    """
    rows = [
        (method, resolve_knobs(method, values))
        for method in (registry.names() if suite.methods == "all" else suite.methods)
        for values in suite.knobs.get(method, ({},))
    ]
    count = len(rows) * len(suite.seeds) * len(suite.dataset) * len(suite.pairs)
    if count > MAX_RUNS:
        raise BadInput(f"{count:,} runs are more than {MAX_RUNS:,}: choose fewer seeds, pairs or methods")
    runs: dict[str, Run] = {}
    for seed, dataset, pair in itertools.product(suite.seeds, suite.dataset, suite.pairs):
        data = {"dataset": dataset, "content": contents[dataset]}
        own = teachers.get(pair.teacher) or teacher_run(suite, data, pair)
        for method, knobs in rows:
            teacher = own if registry.get(method).needs_teacher else None
            run = make_run(suite, data, pair.student, method=method, knobs=knobs, teacher=teacher, seed=seed)
            runs.setdefault(run.id, run)
    return list(runs.values())


def teacher_run(suite: Suite, data: Mapping[str, str], pair: Pair) -> Run:
    """The run that trains a pair's teacher, with the plain method."""
    plain = {"method": PLAIN_METHOD, "knobs": resolve_knobs(PLAIN_METHOD, {}), "seed": suite.teacher_seed}
    return make_run(suite, data, pair.teacher, suite.teacher, **plain)


def make_run(suite: Suite, data: Mapping[str, str], network: str, recipe: Recipe | None = None, **rest: Any) -> Run:
    """A run of a network with `recipe` or the suite's, at the network's own learning rate if the suite sets one.

    data: the fields `dataset` and `content`.
    """
    recipe = recipe or suite.recipe
    recipe = recipe.model_copy(update={"lr": suite.lr.get(network, recipe.lr)})
    return Run(**data, student=network, recipe=recipe, judge=suite.judge, **rest)
