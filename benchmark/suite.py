"""Suites as their files say them: YAML in, a checked value out.  Without torch.

Suite (pairs x methods x seeds under one recipe) · Pair (teacher and student)
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PositiveFloat, ValidationError, model_validator

from benchmark.errors import BadInput
from benchmark.run import Frozen, Judge, Recipe

HERE = Path(__file__).parent
SUITES, RECIPES = HERE / "suites", HERE / "recipes.yaml"


class Pair(Frozen):
    """A teacher's and a student's network."""

    teacher: str
    student: str

    @model_validator(mode="before")
    @classmethod
    def from_words(cls, value: Any) -> Any:
        """TEACHER-STUDENT."""
        if not isinstance(value, str):
            return value
        teacher, dash, student = value.rpartition("-")
        if not dash or not teacher or not student:
            raise ValueError(f"a pair is written TEACHER-STUDENT, as in resnet56-resnet20, not {value!r}")
        return {"teacher": teacher, "student": student}

    def __str__(self) -> str:
        return f"{self.teacher}-{self.student}"


class Suite(Frozen):
    """A suite's YAML file: pairs x methods x seeds under one recipe."""

    title: str
    about: str = ""  # for whom, on what
    dataset: str
    judge: Judge = "test"
    pairs: tuple[Pair, ...] = Field(min_length=1)
    methods: Literal["all"] | tuple[str, ...] = "all"
    knobs: dict[str, dict[str, Any]] = {}  # method -> knob -> value, where the suite departs from the defaults
    recipe: Recipe
    teacher: Recipe  # of the teachers; by default the students'
    lr: dict[str, PositiveFloat] = {}  # network -> its learning rate, where it departs from the recipe's
    seeds: tuple[int, ...] = (0,)
    teacher_seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def from_words(cls, value: Any) -> Any:
        """Recipes by name, the teacher's from the students', seeds such as 0-2."""
        value = dict(value)
        value["recipe"] = make_recipe(value.get("recipe"))
        value["teacher"] = make_recipe({"base": value["recipe"]} | (value.get("teacher") or {}))
        if isinstance(value.get("seeds"), int | str):
            value["seeds"] = parse_seeds(str(value["seeds"]))
        return value


def make_recipe(value: Any) -> Recipe:
    """A recipe from its name, or from {base: name or recipe, changed values}; `epochs` stretches the schedule."""
    changes = dict(value) if isinstance(value, dict) else {"base": value}
    base = changes.pop("base", None)
    if base is None:
        return Recipe.model_validate(changes)
    if not isinstance(base, Recipe):
        known = yaml.safe_load(RECIPES.read_text())
        if base not in known:
            raise ValueError(f"unknown recipe {base!r}; there are {', '.join(known)}")
        base = Recipe.model_validate(known[base])
    if "epochs" in changes and "schedule" not in changes:
        epochs = Recipe.model_validate(base.model_dump() | {"epochs": changes.pop("epochs")}).epochs
        base = base.stretched(epochs)
    return Recipe.model_validate(base.model_dump() | changes)


def parse_seeds(text: str) -> tuple[int, ...]:
    """ "0-2" or "0,3" or "1"  ->  (0, 1, 2), (0, 3), (1,).  Raises ValueError."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) < int(first):
            raise ValueError(f"seeds are written 0-2 or 0,3, not {text!r}")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(dict.fromkeys(found))


def suites() -> list[str]:
    """The names of the suites that come with the project."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def read_suite(name: str) -> Suite:
    """A suite by name, or by the path of a .yaml file.  Raises BadInput naming file and key."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else SUITES / f"{name}.yaml"
    if not path.is_file():
        near = difflib.get_close_matches(name, suites(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(suites())}, or give a .yaml file"
        raise BadInput(f"unknown suite {name!r}; {hint}")
    try:
        value = yaml.safe_load(path.read_text())
        if not isinstance(value, dict):
            raise ValueError("a suite is a mapping of keys to values")
        return Suite.model_validate(value)
    except (ValueError, yaml.YAMLError) as fault:
        raise BadInput(f"{path}: {sentence(fault)}") from fault


def sentence(fault: Exception) -> str:
    """The first complaint of a validation error: key, then what is wrong."""
    if not isinstance(fault, ValidationError):
        return " ".join(str(fault).split())
    first = fault.errors()[0]
    key = ".".join(map(str, first["loc"]))
    return f"{key}: {first['msg']}" if key else first["msg"].removeprefix("Value error, ")
