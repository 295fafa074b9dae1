"""Make recipes of training from names, those of recipes.yaml, and from changes to them.  Does not import torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from benchmark.experiment.error_text import shown
from benchmark.experiment.run import Recipe, Steps
from benchmark.experiment.yaml_input import read_yaml

RECIPES = Path(__file__).with_name("recipes.yaml")


def make_recipe(value: Any) -> Recipe:
    """A recipe from its name, or from {base: name or recipe, changed values}; changed `epochs` scale the schedule."""
    changes = dict(value) if isinstance(value, dict) else {"base": value}
    base = changes.pop("base", None)
    if base is None:
        return Recipe.model_validate(changes)
    if not isinstance(base, Recipe):
        known = named_recipes()
        if not isinstance(base, str) or base not in known:
            raise ValueError(f"unknown recipe {shown(base)}; there are {', '.join(known)}")
        base = Recipe.model_validate(known[base])
    if "epochs" in changes and "schedule" not in changes:
        unscheduled = {"epochs": changes.pop("epochs"), "schedule": Steps(at=())}  # any number of epochs is valid
        base = base.with_epochs(Recipe.model_validate(base.model_dump() | unscheduled).epochs)
    return Recipe.model_validate(base.model_dump() | changes)


@cache
def named_recipes() -> dict[str, dict[str, Any]]:
    """The contents of recipes.yaml: name -> recipe."""
    return read_yaml(RECIPES)
