"""A user's changes to a suite, and the suite with them applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from benchmark.errors import BadInput
from benchmark.experiment.error_text import shown
from benchmark.experiment.knobs import resolve_knobs
from benchmark.experiment.run import MAX_EPOCHS, Judge, Precision, Recipe, Run
from benchmark.experiment.suite import Pair, Suite, first_error, parse_seeds, split_list
from benchmark.experiment.yaml_input import parse_yaml
from methods import registry

Knobs = dict[str, dict[str, Any]]  # method -> knob -> value


@dataclass(frozen=True, slots=True)
class Choices:
    """A user's changes to a suite; None, or an empty tuple, keeps the suite's value."""

    methods: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    seeds: str | None = None
    teacher_seeds: str | None = None
    epochs: int | None = None
    dataset: str | None = None
    precision: Precision | None = None
    judge: Judge | None = None
    knobs: tuple[str, ...] = ()  # "method.knob=value"
    teachers: Mapping[str, Run] = field(default_factory=dict)  # network -> its run, instead of training it


def apply_choices(suite: Suite, choices: Choices) -> Suite:
    """The suite with the user's choices applied.  Raises BadInput naming the option."""
    changes: dict[str, Any] = {}
    if choices.methods:
        names = choices.methods
        every = names == ("all",)
        changes["methods"] = "all" if every else named("--methods", lambda: tuple(n for n in names if registry.get(n)))
    if choices.pairs:
        changes["pairs"] = named("--pairs", lambda: tuple(Pair.model_validate(pair) for pair in choices.pairs))
    for key, text in (("seeds", choices.seeds), ("teacher_seeds", choices.teacher_seeds)):
        if text is not None:
            option = f"--{key.replace('_', '-')}"
            changes[key] = named(option, lambda text=text: parse_seeds(text))
    if choices.dataset is not None:
        changes["dataset"] = split_list(choices.dataset, "--dataset")
    if choices.knobs:
        changes |= apply_knobs(suite, parse_assignments(choices.knobs, changes.get("methods", suite.methods)))
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


def parse_assignments(assignments: Iterable[str], methods: Iterable[str]) -> Knobs:
    """The values of each "method.knob=value"; methods: of the run, or "all".  Raises BadInput."""
    found: Knobs = {}
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
        found[method] = found.get(method, {}) | change
    return found


def apply_knobs(suite: Suite, changes: Knobs) -> dict[str, Any]:
    """The fields `knobs` and `pair_knobs` with the changes in every setting of their methods, on every pair."""
    settings = {
        method: tuple(known | change for known in suite.knobs.get(method, ({},))) for method, change in changes.items()
    }
    others = {
        pair: {
            method: {knob: value for knob, value in own.items() if knob not in changes.get(method, {})}
            for method, own in methods.items()
        }
        for pair, methods in suite.pair_knobs.items()
    }
    return {"knobs": suite.knobs | settings, "pair_knobs": others}
