"""What is to be run: a suite and the user's choices in, runs out.  Nothing happens here but resolving.

Choices (what the user changed) · load_suite (a suite's runs, every knob resolved)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from benchmark.errors import BadInput
from benchmark.run import Precision, Recipe, Run
from benchmark.suite import Pair, Suite, parse_seeds, read_suite, sentence
from methods import registry


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
        suite = changed(vetted(name), choices)
        meet(choices.teachers, suite)
        return expand(suite, choices.teachers)
    except BadInput:
        raise
    except ValueError as fault:
        raise BadInput(sentence(fault)) from fault


def vetted(name: str) -> Suite:
    """A suite whose methods and knobs are there.  Raises BadInput naming the suite and the key."""
    suite, key = read_suite(name), "methods"
    try:
        for method in () if suite.methods == "all" else suite.methods:
            registry.get(method)
        key = "knobs"
        for method, values in suite.knobs.items():
            resolve(method, values)
    except ValueError as fault:
        raise BadInput(f"{name}: {key}: {fault}") from fault
    return suite


def meet(teachers: Mapping[str, Run], suite: Suite) -> None:
    """Raises ValueError for a teacher that no pair learns from, or that knows another data set."""
    for network, run in teachers.items():
        if network not in {pair.teacher for pair in suite.pairs}:
            raise ValueError(f"--teacher {network}={run.id}: no pair of this run learns from a {network}")
        if run.dataset != suite.dataset:
            raise ValueError(
                f"--teacher {network}={run.id} was trained on {run.dataset}, this run is on {suite.dataset}"
            )


def changed(suite: Suite, choices: Choices) -> Suite:
    """The suite as the user wants it."""
    new: dict[str, Any] = {}
    if choices.methods:
        new["methods"] = choices.methods
    if choices.pairs:
        new["pairs"] = tuple(Pair.model_validate(pair) for pair in choices.pairs)
    if choices.seeds:
        new["seeds"] = parse_seeds(choices.seeds)
    if choices.dataset:
        new["dataset"] = choices.dataset
    if choices.knobs:
        new["knobs"] = with_settings(suite.knobs, choices.knobs, new.get("methods", suite.methods))
    recipes = {"recipe": suite.recipe, "teacher": suite.teacher}
    if choices.epochs:
        ratio = choices.epochs / suite.recipe.epochs
        recipes = {word: r.stretched(max(1, round(r.epochs * ratio))) for word, r in recipes.items()}
    if choices.precision:
        if choices.precision not in get_args(Precision):
            raise ValueError(f"--precision is {', '.join(get_args(Precision))}, not {choices.precision!r}")
        recipes = {word: r.model_copy(update={"precision": choices.precision}) for word, r in recipes.items()}
    return suite.model_copy(update=new | recipes)


def with_settings(knobs: dict[str, dict[str, Any]], settings: tuple[str, ...], methods) -> dict[str, dict[str, Any]]:
    """Knobs with each of "method.knob=value" laid over them."""
    knobs = {method: dict(values) for method, values in knobs.items()}
    for setting in settings:
        path, equals, value = setting.partition("=")
        method, dot, knob = path.partition(".")
        if not (equals and dot and knob):
            raise ValueError(f"--set takes METHOD.KNOB=VALUE, as in kd.alpha=0.5, not {setting!r}")
        own = registry.names() if methods == "all" else methods
        if registry.get(method) and method not in own:
            raise ValueError(f"--set {setting}: {method!r} is not among the methods of this run, {', '.join(own)}")
        try:
            knobs.setdefault(method, {})[knob] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"--set {setting}: {value!r} is no value") from None
    return knobs


def expand(suite: Suite, teachers: Mapping[str, Run]) -> list[Run]:
    """Every run of a suite, without repetition: what needs no teacher is shared between the pairs."""

    def trained(network: str, recipe: Recipe, **rest: Any) -> Run:
        recipe = recipe.model_copy(update={"lr": suite.lr.get(network, recipe.lr)})
        return Run(dataset=suite.dataset, student=network, recipe=recipe, judge=suite.judge, **rest)

    methods = registry.names() if suite.methods == "all" else suite.methods
    knobs = {method: resolve(method, suite.knobs.get(method, {})) for method in methods}
    plain = resolve("ce", {})
    runs: dict[str, Run] = {}
    for seed in suite.seeds:
        for pair in suite.pairs:
            own = trained(pair.teacher, suite.teacher, method="ce", knobs=plain, seed=suite.teacher_seed)
            for method in methods:
                teacher = teachers.get(pair.teacher, own) if registry.get(method).needs_teacher else None
                known = {"method": method, "knobs": knobs[method], "teacher": teacher, "seed": seed}
                run = trained(pair.student, suite.recipe, **known)
                runs.setdefault(run.id, run)
    return list(runs.values())


def resolve(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob of a method: the given values, checked against their types, over the defaults.  Raises BadInput."""
    known = registry.knobs(method)
    for knob in values:
        if knob not in known:
            raise BadInput(f"unknown knob {knob!r} of method {method!r}{registry.meant(knob, list(known))}")
    resolved = {}
    for knob, spec in known.items():
        adapter = TypeAdapter(spec.kind, config=ConfigDict(allow_inf_nan=False))
        try:
            value = adapter.validate_python(values.get(knob, spec.default))
        except ValidationError as fault:
            raise BadInput(f"knob {knob!r} of method {method!r}: {sentence(fault)}") from fault
        resolved[knob] = adapter.dump_python(value, mode="json")
    return resolved
