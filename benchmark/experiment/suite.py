"""Read suites from YAML files into validated values.  Does not import torch.

Suite: pairs x methods x seeds under one recipe · Pair: teacher and student
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from benchmark.errors import BadInput
from benchmark.experiment.error_text import explain, shown
from benchmark.experiment.run import MAX_SEED, Frozen, Judge, Rate, Recipe, Seed, Steps
from benchmark.experiment.yaml_input import read_yaml
from benchmark.files import file_problem

HERE = Path(__file__).parent
SUITES, RECIPES = HERE / "suites", HERE / "recipes.yaml"
MAX_SEEDS, MAX_LIST, MAX_NAME = 1000, 1000, 200  # seeds of a suite; entries of its other lists; characters of a name
Name = Annotated[str, Field(max_length=MAX_NAME)]  # of a network, a data set or a method


class Pair(Frozen):
    """A teacher's and a student's network."""

    teacher: Name
    student: Name

    @model_validator(mode="before")
    @classmethod
    def parse(cls, value: Any) -> Any:
        """Parse TEACHER-STUDENT."""
        if not isinstance(value, str):
            return value
        teacher, dash, student = value.rpartition("-")
        if not dash or not teacher or not student:
            raise ValueError(f"a pair is written TEACHER-STUDENT, as in resnet56-resnet20, not {shown(value)}")
        return {"teacher": teacher, "student": student}

    def __str__(self) -> str:
        return f"{self.teacher}-{self.student}"


Words = Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_LIST)]
Settings = Annotated[tuple[dict[str, Any], ...], Field(min_length=1, max_length=MAX_LIST)]  # {knob: value}: each a row


class Suite(Frozen):
    """A suite's YAML file: pairs x methods x seeds under one recipe."""

    title: str
    about: str = ""  # whom it is for, what it runs on
    dataset: Words  # every pair is trained on each
    judge: Judge = "test"
    pairs: tuple[Pair, ...] = Field(min_length=1, max_length=MAX_LIST)
    methods: Words | Literal["all"] = "all"
    knobs: dict[str, Settings] = {}  # method -> its settings, where the suite departs from the defaults
    recipe: Recipe
    teacher: Recipe  # of the teachers; by default the students'
    lr: dict[str, Rate] = {}  # network -> its learning rate, where it departs from the recipe's
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, max_length=MAX_SEEDS)
    teacher_seed: Seed = 0

    @model_validator(mode="before")
    @classmethod
    def parse(cls, value: Any) -> Any:
        """Expand short forms: named recipes, the teacher's recipe as changes, seeds such as 0-2, values for lists."""
        value = dict(value)
        for key in ("dataset", "methods"):
            if isinstance(value.get(key), str) and value[key] != "all":
                value[key] = split_list(value[key])
        if isinstance(value.get("knobs"), dict):
            value["knobs"] = {method: [own] if isinstance(own, dict) else own for method, own in value["knobs"].items()}
        value["recipe"] = parse_recipe("recipe", value.get("recipe"))
        changes = {} if value.get("teacher") is None else value["teacher"]
        inherited = {"base": value["recipe"]} | changes if isinstance(changes, dict) else changes
        value["teacher"] = parse_recipe("teacher", inherited)
        if isinstance(value.get("seeds"), int | str):
            value["seeds"] = parse_seeds(f"{value['seeds']}")
        return value

    @model_validator(mode="after")
    def check_names(self) -> Suite:
        networks = {network for pair in self.pairs for network in (pair.teacher, pair.student)}
        unknown = sorted(set(self.lr) - networks)
        if unknown:
            raise ValueError(f"lr: no pair has the network {unknown[0]!r}")
        unknown = sorted(set(self.knobs) - set(self.methods)) if self.methods != "all" else []
        if unknown:
            raise ValueError(f"knobs: {unknown[0]!r} is not among the methods, {', '.join(self.methods)}")
        return self


def split_list(text: str, option: str = "") -> tuple[str, ...]:
    """ "kd, sp+kd" -> ("kd", "sp+kd").  Raises BadInput, which names the option, for a list with an empty entry."""
    names = tuple(word.strip() for word in text.split(","))
    if not all(0 < len(word) <= MAX_NAME for word in names):
        place = f"{option}: " if option else ""
        raise BadInput(f"{place}a list is written a,b, of names of at most {MAX_NAME} characters, not {shown(text)}")
    return names


def parse_recipe(key: str, value: Any) -> Recipe:
    """The recipe in a suite under `key`.  Raises ValueError naming the key."""
    try:
        return make_recipe(value)
    except ValueError as fault:
        raise ValueError(first_error(fault, key)) from fault


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


def parse_seeds(text: str) -> tuple[int, ...]:
    """ "0-2" or "0,3" or "1"  ->  (0, 1, 2), (0, 3), (1,).  Raises ValueError."""
    found: dict[int, None] = {}
    for part in text.split(",", MAX_SEEDS):
        match = re.fullmatch(r"\s*([0-9]{1,10})(?:-([0-9]{1,10}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= MAX_SEED:
            raise ValueError(f"seeds are written 0-2 or 0,3, from 0 to {MAX_SEED}, not {shown(text)}")
        if len(found) + last - first >= MAX_SEEDS:
            raise ValueError(f"{shown(text)} names more than {MAX_SEEDS:,} seeds: name fewer")
        found |= dict.fromkeys(range(first, last + 1))
    return tuple(found)


def suite_names() -> list[str]:
    """The names of the suites that come with the project."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def suite_path(name: str) -> Path:
    """The file of a suite, given by name or by the path of a .yaml file.  Raises BadInput."""
    is_file = name.endswith((".yaml", ".yml"))
    path = Path(name) if is_file else SUITES / f"{name}.yaml"
    if problem := file_problem(path):
        near = difflib.get_close_matches(name, suite_names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(suite_names())}, or give a .yaml file"
        raise BadInput(f"unknown suite {shown(name)}{': ' + problem if is_file else ''}; {hint}")
    return path


def suite_label(name: str) -> str:
    """A suite's name as records keep it: of the whole path of a file only the part that names nobody's folders."""
    path = Path(name)
    if not path.is_absolute():
        return name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def read_suite(name: str) -> Suite:
    """A suite by name, or by the path of a .yaml file.  Raises BadInput naming file and key."""
    path = suite_path(name)
    try:
        value = read_yaml(path)
        if not isinstance(value, dict):
            raise ValueError("a suite must be a mapping of keys to values")
        return Suite.model_validate(value)
    except ValueError as fault:
        raise BadInput(f"{path}: {first_error(fault)}") from fault


def first_error(fault: Exception, under: str = "") -> str:
    """The first error of a validation as "key: message"; under: a key that encloses it."""
    return explain(fault, under, [*Suite.model_fields, *Recipe.model_fields])
