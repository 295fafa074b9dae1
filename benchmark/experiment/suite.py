"""Suites as their files say them: YAML in, a checked value out.  Without torch.

Suite (pairs x methods x seeds under one recipe) · Pair (teacher and student)
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, NonNegativeInt, PositiveFloat, ValidationError, model_validator

from benchmark.errors import BadInput
from benchmark.experiment.run import Frozen, Judge, Recipe, Steps

HERE = Path(__file__).parent
SUITES, RECIPES = HERE / "suites", HERE / "recipes.yaml"


class Pair(Frozen):
    """A teacher's and a student's network."""

    teacher: str
    student: str

    @model_validator(mode="before")
    @classmethod
    def parse(cls, value: Any) -> Any:
        """TEACHER-STUDENT."""
        if not isinstance(value, str):
            return value
        teacher, dash, student = value.rpartition("-")
        if not dash or not teacher or not student:
            raise ValueError(f"a pair is written TEACHER-STUDENT, as in resnet56-resnet20, not {value!r}")
        return {"teacher": teacher, "student": student}

    def __str__(self) -> str:
        return f"{self.teacher}-{self.student}"


Settings = Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]  # each a row of the table: knob -> value


class Suite(Frozen):
    """A suite's YAML file: pairs x methods x seeds under one recipe."""

    title: str
    about: str = ""  # for whom, on what
    dataset: Annotated[tuple[str, ...], Field(min_length=1)]  # each pair is done on each
    judge: Judge = "test"
    pairs: tuple[Pair, ...] = Field(min_length=1)
    methods: Literal["all"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all"
    knobs: dict[str, Settings] = {}  # method -> its settings, where the suite departs from the defaults
    recipe: Recipe
    teacher: Recipe  # of the teachers; by default the students'
    lr: dict[str, PositiveFloat] = {}  # network -> its learning rate, where it departs from the recipe's
    seeds: tuple[NonNegativeInt, ...] = Field((0,), min_length=1)
    teacher_seed: NonNegativeInt = 0

    @model_validator(mode="before")
    @classmethod
    def parse(cls, value: Any) -> Any:
        """Recipes by name, the teacher's from the students', seeds such as 0-2, one in place of a list of one."""
        value = dict(value)
        for key in ("dataset", "methods"):
            if isinstance(value.get(key), str) and value[key] != "all":
                value[key] = split_list(value[key])
        if isinstance(value.get("knobs"), dict):
            value["knobs"] = {method: [own] if isinstance(own, dict) else own for method, own in value["knobs"].items()}
        value["recipe"] = recipe_at("recipe", value.get("recipe"))
        changes = value.get("teacher") or {}
        inherited = {"base": value["recipe"]} | changes if isinstance(changes, dict) else changes
        value["teacher"] = recipe_at("teacher", inherited)
        if isinstance(value.get("seeds"), int | str):
            value["seeds"] = parse_seeds(str(value["seeds"]))
        return value

    @model_validator(mode="after")
    def names_fit(self) -> Suite:
        networks = {network for pair in self.pairs for network in (pair.teacher, pair.student)}
        odd = sorted(set(self.lr) - networks)
        if odd:
            raise ValueError(f"lr: no pair has the network {odd[0]!r}")
        odd = sorted(set(self.knobs) - set(self.methods)) if self.methods != "all" else []
        if odd:
            raise ValueError(f"knobs: {odd[0]!r} is not among the methods, {', '.join(self.methods)}")
        return self


def split_list(text: str) -> tuple[str, ...]:
    """ "kd, sp+kd" -> ("kd", "sp+kd")."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def recipe_at(key: str, value: Any) -> Recipe:
    """A recipe that stands in a suite under `key`.  Raises ValueError naming the key."""
    try:
        return make_recipe(value)
    except ValueError as fault:
        raise ValueError(first_error(fault, key)) from fault


def make_recipe(value: Any) -> Recipe:
    """A recipe from its name, or from {base: name or recipe, changed values}; `epochs` stretches the schedule."""
    changes = dict(value) if isinstance(value, dict) else {"base": value}
    base = changes.pop("base", None)
    if base is None:
        return Recipe.model_validate(changes)
    if not isinstance(base, Recipe):
        known = yaml.safe_load(RECIPES.read_text())
        if not isinstance(base, str) or base not in known:
            raise ValueError(f"unknown recipe {base!r}; there are {', '.join(known)}")
        base = Recipe.model_validate(known[base])
    if "epochs" in changes and "schedule" not in changes:
        free = {"epochs": changes.pop("epochs"), "schedule": Steps(at=())}
        base = base.with_epochs(Recipe.model_validate(base.model_dump() | free).epochs)
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


def suite_names() -> list[str]:
    """The names of the suites that come with the project."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def suite_path(name: str) -> Path:
    """The file of a suite, which is named, or given by the path of a .yaml file.  Raises BadInput."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else SUITES / f"{name}.yaml"
    if not path.is_file():
        near = difflib.get_close_matches(name, suite_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(suite_names())}, or give a .yaml file"
        raise BadInput(f"unknown suite {name!r}; {hint}")
    return path


def read_suite(name: str) -> Suite:
    """A suite by name, or by the path of a .yaml file.  Raises BadInput naming file and key."""
    path = suite_path(name)
    try:
        value = yaml.safe_load(path.read_text())
        if not isinstance(value, dict):
            raise ValueError("a suite is a mapping of keys to values")
        return Suite.model_validate(value)
    except (ValueError, yaml.YAMLError) as fault:
        raise BadInput(f"{path}: {first_error(fault)}") from fault


def first_error(fault: Exception, under: str = "") -> str:
    """The first complaint of an error: key (below the key `under`), then what is wrong."""
    place, wrong = (), " ".join(str(fault).split())
    if isinstance(fault, ValidationError):
        first = fault.errors()[0]
        place, wrong = first["loc"], first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(place[-1]), [*Suite.model_fields, *Recipe.model_fields], n=1)
            wrong = "there is no such key" + (f"; did you mean {near[0]!r}?" if near else "")
    key = ".".join(map(str, (under, *place) if under else place))
    return f"{key}: {wrong}" if key else wrong
