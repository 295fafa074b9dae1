"""The knobs of a method: their values checked against type and range, as the method's signature declares them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from benchmark.errors import BadInput
from benchmark.experiment.error_text import MAPPING, NUMBER, WHOLE, plain, shown
from benchmark.experiment.yaml_input import MAX_INTEGER
from methods import registry
from methods.registry import Knob

NAMES = {
    "integer": WHOLE,
    "number": NUMBER,
    "boolean": "true or false",
    "string": "text",
    "null": "null",
    "array": "a list",
    "object": MAPPING,
}


def resolve_knobs(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Every knob of a method: the given values, checked, and defaults for the others.  Raises BadInput."""
    known = registry.knobs(method)
    for knob in values:
        if knob not in known:
            raise BadInput(f"unknown knob {shown(knob)} of method {method!r}{registry.suggest(str(knob), list(known))}")
    return {
        name: checked(f"knob {name!r} of method {method!r}", knob, values[name])
        if name in values
        else checked(f"the default of knob {name!r} of method {method!r}", knob, knob.default)
        for name, knob in known.items()
    }


def ranges(method: str) -> dict[str, str]:
    """The values that each knob of a method takes, in words; without the knobs whose type has no range."""
    found = {}
    for name, knob in registry.knobs(method).items():
        try:
            expected = describe(TypeAdapter(knob.kind).json_schema())
        except (PydanticUserError, TypeError, ValueError):  # a type that `checked` will refuse
            continue
        if expected not in NAMES.values():
            found[name] = expected
    return found


def checked(place: str, knob: Knob, given: Any) -> Any:
    """A knob's value as JSON represents it.  Raises BadInput that starts with `place`."""
    try:
        adapter = TypeAdapter(knob.kind, config=ConfigDict(allow_inf_nan=False))
        expected = describe(adapter.json_schema())
    except Exception as fault:
        raise BadInput(
            f"{place} cannot be checked: its type is {shown(knob.kind)}; use int, float, bool, str, Literal or None"
        ) from fault
    try:
        value = adapter.validate_python(given)
        found = adapter.dump_python(value, mode="json")
        json.dumps(found, allow_nan=False)
        accepted = not isinstance(given, bool) or takes_booleans(adapter)
        if isinstance(value, int) and abs(value) >= MAX_INTEGER:  # not every reader of a record can represent it
            accepted, expected = False, f"{expected}, of less than 64 bits"
    except Exception as fault:
        raise BadInput(f"{place} must be {expected}, not {shown(given)}") from fault
    if not accepted:
        raise BadInput(f"{place} must be {expected}, not {shown(given)}")
    return found


def takes_booleans(adapter: TypeAdapter) -> bool:
    """Whether booleans are among the values of a type, and not only numbers that true and false could stand for."""
    try:
        adapter.validate_python(True, strict=True)
    except ValidationError:
        return False
    return True


def describe(schema: Mapping[str, Any]) -> str:
    """The values of a JSON schema in words: "a number from 0 to 1", "'conv' or 'maxout'"."""
    if "anyOf" in schema:
        return ", or ".join(describe(each) for each in schema["anyOf"])
    if "enum" in schema:
        *first, last = map(repr, schema["enum"])
        return f"{', '.join(first)} or {last}" if first else last
    if "const" in schema:
        return repr(schema["const"])
    kind = schema.get("type")
    return NAMES.get(kind, "a value of its type") + limits(schema)


def limits(schema: Mapping[str, Any]) -> str:
    """The range of a number in a JSON schema in words: " from 0 to 1", " above 0", or ""."""
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f" from {plain(low)} to {plain(high)}"
    bounds = (("of at least", low), ("above", above), ("of at most", high), ("below", below))
    found = [f"{relation} {plain(bound)}" for relation, bound in bounds if bound is not None]
    return f" {' and '.join(found)}" if found else ""
