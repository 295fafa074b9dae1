"""Read suites from YAML files into validated values.  Does not import torch.

Suite: pairs x methods x seeds under one recipe · Pair: teacher and student
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from benchmark.errors import BadInput
from benchmark.experiment.error_text import explain, shown
from benchmark.experiment.recipes import make_recipe
from benchmark.experiment.run import MAX_SEED, Frozen, Judge, Rate, Recipe, Seed
from benchmark.experiment.yaml_input import read_yaml
from benchmark.files import file_problem

SUITES = Path(__file__).with_name("suites")
MAX_SEEDS, MAX_LIST, MAX_NAME = 1000, 1000, 200  # seeds of a suite; entries of its other lists; characters of a name
PAIR_ORIGIN = ", pair "  # in a record's text on the origin of a knob's value: suite NAME, pair TEACHER-STUDENT
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
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1, max_length=MAX_SEEDS)]


class Suite(Frozen):
    """A suite's YAML file: pairs x methods x seeds under one recipe."""

    title: str
    about: str = ""  # whom it is for, what it runs on
    dataset: Words  # every pair is trained on each
    judge: Judge = "test"
    pairs: tuple[Pair, ...] = Field(min_length=1, max_length=MAX_LIST)
    methods: Words | Literal["all"] = "all"
    knobs: dict[str, Settings] = {}  # method -> its settings, where the suite departs from the defaults
    pair_knobs: dict[Pair, dict[Name, dict[str, Any]]] = {}  # pair -> method -> what differs there, in every setting
    recipe: Recipe
    teacher: Recipe  # of the teachers; by default the students'
    lr: dict[str, Rate] = {}  # network -> its learning rate, where it departs from the recipe's
    seeds: Seeds = (0,)
    teacher_seeds: Seeds = (0,)  # of each pair's teachers: every student learns from each of them

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
        value["recipe"] = parse_key("recipe", lambda: make_recipe(value.get("recipe")))
        changes = {} if value.get("teacher") is None else value["teacher"]
        inherited = {"base": value["recipe"]} | changes if isinstance(changes, dict) else changes
        value["teacher"] = parse_key("teacher", lambda: make_recipe(inherited))
        for key in ("seeds", "teacher_seeds"):
            if isinstance(value.get(key), int | str):
                value[key] = parse_key(key, lambda text=f"{value[key]}": parse_seeds(text))
        return value

    @model_validator(mode="after")
    def check_names(self) -> Suite:
        networks = {network for pair in self.pairs for network in (pair.teacher, pair.student)}
        unknown = sorted(set(self.lr) - networks)
        if unknown:
            raise ValueError(f"lr: no pair has the network {unknown[0]!r}")
        strange = [str(pair) for pair in self.pair_knobs if pair not in self.pairs]
        if strange:
            near = difflib.get_close_matches(strange[0], map(str, self.pairs), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"pair_knobs: {strange[0]!r} is not among the pairs{hint}")
        named = {"knobs": self.knobs} | {f"pair_knobs.{pair}": own for pair, own in self.pair_knobs.items()}
        for key, methods in named.items():
            unknown = sorted(set(methods) - set(self.methods)) if self.methods != "all" else []
            if unknown:
                raise ValueError(f"{key}: {unknown[0]!r} is not among the methods, {', '.join(self.methods)}")
        return self


def split_list(text: str, option: str = "") -> tuple[str, ...]:
    """ "kd, sp+kd" -> ("kd", "sp+kd").  Raises BadInput, which names the option, for a list with an empty entry."""
    names = tuple(word.strip() for word in text.split(","))
    if not all(0 < len(word) <= MAX_NAME for word in names):
        place = f"{option}: " if option else ""
        raise BadInput(f"{place}a list is written a,b, of names of at most {MAX_NAME} characters, not {shown(text)}")
    return names


def parse_key(key: str, parse: Callable[[], Any]) -> Any:
    """What `parse` returns.  Raises ValueError naming the key where `parse` raises one."""
    try:
        return parse()
    except ValueError as fault:
        raise ValueError(first_error(fault, key)) from fault


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
