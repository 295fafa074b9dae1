"""Where each value of a run comes from: a default, a recipe, the suite, or what the user typed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import yaml

from benchmark.experiment.resolve import Choices
from benchmark.experiment.run import Run
from benchmark.experiment.suite import RECIPES, suite_path

Origins = dict[str, str]  # path of a value, such as recipe.lr -> words


def origins(runs: Iterable[Run], suite: str, choices: Choices) -> dict[str, Origins]:
    """id -> path -> origin, for every run and every teacher among them that is trained here.

    runs: as `spec.load_suite(suite, choices)` gives them.
    """
    raw = yaml.safe_load(suite_path(suite).read_text())
    found: dict[str, Origins] = {}
    for run in runs:
        found.setdefault(run.id, run_origins(run, raw, suite, choices))
        if run.teacher and run.teacher.recipe:
            found.setdefault(run.teacher.id, teacher_origins(run.teacher, raw, suite, choices))
    return found


def run_origins(run: Run, raw: dict[str, Any], suite: str, choices: Choices) -> Origins:
    """The origins of a student's values."""
    named = f"suite {suite}"
    found = {
        "dataset": "--dataset" if choices.dataset else named,
        "student": "--pairs" if choices.pairs else named,
        "method": "--methods" if choices.methods else named,
        "seed": "--seeds" if choices.seeds else named if "seeds" in raw else "default",
        "judge": named if "judge" in raw else "default",
    }
    if run.teacher:
        found["teacher"] = (
            "--teacher" if run.teacher.student in choices.teachers else "--pairs" if choices.pairs else named
        )
    found |= {f"knobs.{knob}": knob_origin(run, knob, raw, suite, choices) for knob in run.knobs}
    return found | recipe_origins(run, [raw["recipe"]], raw, suite, choices)


def teacher_origins(run: Run, raw: dict[str, Any], suite: str, choices: Choices) -> Origins:
    """The origins of the values of a teacher that the suite trains."""
    named = f"suite {suite}"
    found = {
        "dataset": "--dataset" if choices.dataset else named,
        "student": "--pairs" if choices.pairs else named,
        "method": "every teacher's",
        "seed": named if "teacher_seed" in raw else "default",
        "judge": named if "judge" in raw else "default",
    }
    layers = [raw["recipe"]] if raw.get("teacher") is None else [raw["teacher"], raw["recipe"]]
    return found | recipe_origins(run, layers, raw, suite, choices)


def knob_origin(run: Run, knob: str, raw: dict[str, Any], suite: str, choices: Choices) -> str:
    """The origin of one knob."""
    if any(wish.startswith(f"{run.method}.{knob}=") for wish in choices.knobs):
        return "--set"
    settings = (raw.get("knobs") or {}).get(run.method, {})
    settings = [settings] if isinstance(settings, dict) else settings
    said = any(knob in values and values[knob] == run.knobs[knob] for values in settings)
    return f"suite {suite}" if said else f"default of {run.method}"


def recipe_origins(run: Run, layers: list[Any], raw: dict[str, Any], suite: str, choices: Choices) -> Origins:
    """The origin of each part of a recipe; layers: what the suite says of it, the uppermost first."""
    return {
        f"recipe.{part}": recipe_field_origin(part, run, layers, raw, suite, choices)
        for part in type(run.recipe).model_fields
    }


def recipe_field_origin(
    part: str, run: Run, layers: list[Any], raw: dict[str, Any], suite: str, choices: Choices
) -> str:
    """The origin of one part of a recipe."""
    if choices.epochs and part in ("epochs", "schedule"):
        return "--epochs"
    if choices.precision and part == "precision":
        return "--precision"
    if part == "lr" and run.student in (raw.get("lr") or {}):
        return f"suite {suite}, for {run.student}"
    said = (layer_origin(part, layer if isinstance(layer, dict) else {"base": layer}, suite) for layer in layers)
    return next(filter(None, said), "default")


def layer_origin(part: str, changes: dict[str, Any], suite: str) -> str:
    """The origin of a part that {base: name, changed values} has a word for, else ""."""
    if part in changes:
        return f"suite {suite}"
    if part == "schedule" and "epochs" in changes:
        return f"suite {suite}, stretched to its epochs"
    return f"recipe {changes['base']}" if part in named_recipes().get(changes.get("base"), {}) else ""


@cache
def named_recipes() -> dict[str, dict[str, Any]]:
    """The named recipes as they are written."""
    return yaml.safe_load(RECIPES.read_text())
