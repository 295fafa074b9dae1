"""What is to be run: a suite and the user's choices in, runs out.  Nothing happens here but resolving.

Choices (what the user changed) · load_suite (a suite's runs, every knob resolved)
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from benchmark.errors import BadInput
from benchmark.experiment.run import Precision, Recipe, Run
from benchmark.experiment.suite import Pair, Settings, Suite, first_error, parse_seeds, read_suite, split_list
from methods import registry

PLAIN_METHOD = "ce"  # the method of teachers and of the students that others are compared with


@dataclass(frozen=True, slots=True)
class Choices:
    """What a user asks of a suite in other words than its file; None or empty leaves the suite's own."""

    methods: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    seeds: str | None = None
    epochs: int | None = None
    dataset: str | None = None
    precision: Precision | None = None
    knobs: tuple[str, ...] = ()  # "method.knob=value"
    teachers: Mapping[str, Run] = field(default_factory=dict)  # network -> the run to learn from, in place of our own


def load_suite(name: str, choices: Choices | None = None) -> list[Run]:
    """A suite as runs, teachers inside their students; seed 0 of every cell before seed 1 of any.

    name: of a suite, or the path of a .yaml file.  Raises BadInput for any name, knob or value that is not there.
    """
    choices = choices or Choices()
    try:
        suite = apply_choices(load_checked(name), choices)
        check_teachers(choices.teachers, suite)
        return suite_runs(suite, choices.teachers)
    except BadInput:
        raise
    except ValueError as fault:
        raise BadInput(first_error(fault)) from fault


def load_checked(name: str) -> Suite:
    """A suite whose methods and knobs are there.  Raises BadInput naming the suite and the key."""
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


def check_teachers(teachers: Mapping[str, Run], suite: Suite) -> None:
    """Raises ValueError for a teacher that no pair learns from, or that knows another data set."""
    for network, run in teachers.items():
        if network not in {pair.teacher for pair in suite.pairs}:
            raise ValueError(f"--teacher {network}={run.id}: no pair of this run learns from a {network}")
        if (run.dataset,) != suite.dataset:
            raise ValueError(
                f"--teacher {network}={run.id} was trained on {run.dataset}, this run is on {', '.join(suite.dataset)}"
            )


def apply_choices(suite: Suite, choices: Choices) -> Suite:
    """The suite as the user wants it."""
    new: dict[str, Any] = {}
    if choices.methods:
        new["methods"] = choices.methods
    if choices.pairs:
        new["pairs"] = tuple(Pair.model_validate(pair) for pair in choices.pairs)
    if choices.seeds:
        new["seeds"] = parse_seeds(choices.seeds)
    if choices.dataset:
        new["dataset"] = split_list(choices.dataset)
    if choices.knobs:
        new["knobs"] = apply_knobs(suite.knobs, choices.knobs, new.get("methods", suite.methods))
    recipes = {"recipe": suite.recipe, "teacher": suite.teacher}
    if choices.epochs:
        ratio = choices.epochs / suite.recipe.epochs
        recipes = {word: r.with_epochs(max(1, round(r.epochs * ratio))) for word, r in recipes.items()}
    if choices.precision:
        if choices.precision not in get_args(Precision):
            raise ValueError(f"--precision is {', '.join(get_args(Precision))}, not {choices.precision!r}")
        recipes = {word: r.model_copy(update={"precision": choices.precision}) for word, r in recipes.items()}
    return suite.model_copy(update=new | recipes)


def apply_knobs(knobs: dict[str, Settings], wishes: tuple[str, ...], methods) -> dict[str, Settings]:
    """Knobs with each "method.knob=value" laid over every context of its method."""
    knobs = dict(knobs)
    for wish in wishes:
        path, equals, value = wish.partition("=")
        method, dot, knob = path.partition(".")
        if not (equals and dot and knob):
            raise ValueError(f"--set takes METHOD.KNOB=VALUE, as in kd.alpha=0.5, not {wish!r}")
        own = registry.names() if methods == "all" else methods
        if registry.get(method) and method not in own:
            raise ValueError(f"--set {wish}: {method!r} is not among the methods of this run, {', '.join(own)}")
        try:
            knobs[method] = tuple(known | {knob: yaml.safe_load(value)} for known in knobs.get(method, ({},)))
        except yaml.YAMLError:
            raise ValueError(f"--set {wish}: {value!r} is no value") from None
    return knobs


def suite_runs(suite: Suite, teachers: Mapping[str, Run]) -> list[Run]:
    """Every run of a suite, without repetition: what needs no teacher is shared between the pairs."""
    rows = [
        (method, resolve_knobs(method, values))
        for method in (registry.names() if suite.methods == "all" else suite.methods)
        for values in suite.knobs.get(method, ({},))
    ]
    runs: dict[str, Run] = {}
    for seed, dataset, pair in itertools.product(suite.seeds, suite.dataset, suite.pairs):
        own = teachers.get(pair.teacher) or teacher_run(suite, dataset, pair)
        for method, knobs in rows:
            teacher = own if registry.get(method).needs_teacher else None
            run = make_run(suite, dataset, pair.student, method=method, knobs=knobs, teacher=teacher, seed=seed)
            runs.setdefault(run.id, run)
    return list(runs.values())


def teacher_run(suite: Suite, dataset: str, pair: Pair) -> Run:
    """The run that makes a pair's teacher: a plain one."""
    plain = {"method": PLAIN_METHOD, "knobs": resolve_knobs(PLAIN_METHOD, {}), "seed": suite.teacher_seed}
    return make_run(suite, dataset, pair.teacher, suite.teacher, **plain)


def make_run(suite: Suite, dataset: str, network: str, recipe: Recipe | None = None, **rest: Any) -> Run:
    """A run of a network under the suite's recipe, at the network's own rate where it has one."""
    recipe = recipe or suite.recipe
    recipe = recipe.model_copy(update={"lr": suite.lr.get(network, recipe.lr)})
    return Run(dataset=dataset, student=network, recipe=recipe, judge=suite.judge, **rest)


def resolve_knobs(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob of a method: the given values, checked against their types, over the defaults.  Raises BadInput."""
    known = registry.knobs(method)
    for knob in values:
        if knob not in known:
            raise BadInput(f"unknown knob {knob!r} of method {method!r}{registry.meant(knob, list(known))}")
    resolved = {}
    for knob, spec in known.items():
        adapter = TypeAdapter(spec.kind, config=ConfigDict(allow_inf_nan=False))
        given = values.get(knob, spec.default)
        if isinstance(given, bool) and spec.kind in (int, float):
            raise BadInput(f"knob {knob!r} of method {method!r}: a number is asked for, not {given}")
        try:
            value = adapter.validate_python(given)
        except ValidationError as fault:
            raise BadInput(f"knob {knob!r} of method {method!r}: {first_error(fault)}") from fault
        resolved[knob] = adapter.dump_python(value, mode="json")
    return resolved
