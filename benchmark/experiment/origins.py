"""The origin of each value of a run: a default, a recipe, the suite, or an option of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmark.experiment.choices import Choices
from benchmark.experiment.recipes import named_recipes
from benchmark.experiment.run import Run
from benchmark.experiment.suite import PAIR_ORIGIN, suite_label, suite_path
from benchmark.experiment.yaml_input import read_yaml

Origins = dict[str, str]  # path of a value, such as recipe.lr -> its origin as text
CONTENT = "the folder's files"


def origins(runs: Iterable[Run], suite: str, choices: Choices) -> dict[str, Origins]:
    """id -> path -> origin, for every run and for every teacher that is not imported.

    runs: the result of `resolve.load_suite(suite, choices)`.
    """
    raw, suite = read_yaml(suite_path(suite)), suite_label(suite)
    found: dict[str, Origins] = {}
    for run in runs:
        found.setdefault(run.id, run_origins(run, raw, suite, choices))
        if run.teacher and run.teacher.recipe:
            found.setdefault(run.teacher.id, teacher_origins(run.teacher, raw, suite, choices))
    return found


def run_origins(run: Run, raw: dict[str, Any], suite: str, choices: Choices) -> Origins:
    """The origins of a student's values."""
    from_suite = f"suite {suite}"
    found = {
        "dataset": "--dataset" if choices.dataset else from_suite,
        "student": "--pairs" if choices.pairs else from_suite,
        "method": "--methods" if choices.methods else from_suite,
        "seed": "--seeds" if choices.seeds else from_suite if "seeds" in raw else "default",
        "judge": "--judge" if choices.judge else from_suite if "judge" in raw else "default",
    }
    if run.content:
        found["content"] = CONTENT
    if run.teacher:
        kept = run.teacher.student in choices.teachers
        found["teacher"] = "--teacher" if kept else "--pairs" if choices.pairs else from_suite
        if not kept:
            found["teacher.seed"] = teacher_seed_origin(raw, from_suite, choices)
    found |= {f"knobs.{knob}": knob_origin(run, knob, raw, suite, choices) for knob in run.knobs}
    return found | recipe_origins(run, [raw["recipe"]], raw, suite, choices)


def teacher_origins(run: Run, raw: dict[str, Any], suite: str, choices: Choices) -> Origins:
    """The origins of the values of a teacher that the suite trains."""
    from_suite = f"suite {suite}"
    found = {
        "dataset": "--dataset" if choices.dataset else from_suite,
        "student": "--pairs" if choices.pairs else from_suite,
        "method": "every teacher's",
        "seed": teacher_seed_origin(raw, from_suite, choices),
        "judge": "--judge" if choices.judge else from_suite if "judge" in raw else "default",
    } | ({"content": CONTENT} if run.content else {})
    layers = [raw["recipe"]] if raw.get("teacher") is None else [raw["teacher"], raw["recipe"]]
    return found | recipe_origins(run, layers, raw, suite, choices)


def teacher_seed_origin(raw: dict[str, Any], from_suite: str, choices: Choices) -> str:
    """The origin of the seed of a teacher that the suite trains."""
    return "--teacher-seeds" if choices.teacher_seeds else from_suite if "teacher_seeds" in raw else "default"


def knob_origin(run: Run, knob: str, raw: dict[str, Any], suite: str, choices: Choices) -> str:
    """The origin of one knob."""
    if any(assignment.startswith(f"{run.method}.{knob}=") for assignment in choices.knobs):
        return "--set"
    for pair, methods in (raw.get("pair_knobs") or {}).items():
        if knob in methods.get(run.method, {}) and is_of_pair(run, pair):
            return f"suite {suite}{PAIR_ORIGIN}{pair}"
    settings = (raw.get("knobs") or {}).get(run.method, {})
    settings = [settings] if isinstance(settings, dict) else settings
    in_suite = any(knob in values and values[knob] == run.knobs[knob] for values in settings)
    return f"suite {suite}" if in_suite else f"default of {run.method}"


def is_of_pair(run: Run, pair: str) -> bool:
    """Whether a run is one of the pair TEACHER-STUDENT; without a teacher it is one of every pair of its student."""
    return pair == run.networks if run.teacher else pair.endswith(f"-{run.student}")


def recipe_origins(run: Run, layers: list[Any], raw: dict[str, Any], suite: str, choices: Choices) -> Origins:
    """The origin of each field of a recipe; layers: its definitions in the suite, those that take precedence first."""
    return {
        f"recipe.{field}": recipe_field_origin(field, run, layers, raw, suite, choices)
        for field in type(run.recipe).model_fields
    }


def recipe_field_origin(
    field: str, run: Run, layers: list[Any], raw: dict[str, Any], suite: str, choices: Choices
) -> str:
    """The origin of one field of a recipe."""
    if choices.epochs and field in ("epochs", "schedule"):
        return "--epochs"
    if choices.precision and field == "precision":
        return "--precision"
    if field == "lr" and run.student in (raw.get("lr") or {}):
        return f"suite {suite}, for {run.student}"
    found = (layer_origin(field, layer if isinstance(layer, dict) else {"base": layer}, suite) for layer in layers)
    return next(filter(None, found), "default")


def layer_origin(field: str, changes: dict[str, Any], suite: str) -> str:
    """The origin of a field that the layer {base: name, changed values} sets; "" if it does not set the field."""
    if field in changes:
        return f"suite {suite}"
    if field == "schedule" and "epochs" in changes:
        return f"suite {suite}, stretched to its epochs"
    return f"recipe {changes['base']}" if field in named_recipes().get(changes.get("base"), {}) else ""
