"""Errors of validation as plain sentences: which key, what it must be, what it was."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Callable, Collection
from typing import Any

from pydantic import ValidationError

Details = dict[str, Any]  # an error as pydantic gives it: type, loc, msg, input, ctx

WHOLE, NUMBER, LIST = "a whole number", "a number", "a list"
MAPPING = "a mapping of keys to values"
EXPECTED = {  # pydantic's type of an error, or its beginning -> what was expected
    "int_": WHOLE,
    "float_": NUMBER,
    "finite_number": "a finite number",
    "bool_": "a boolean, true or false",
    "string_too_long": "text of at most {max_length} characters",
    "string_too_short": "text of at least {min_length} characters",
    "string_": "text",
    "bytes_": "text",
    "none_required": "null",
    "tuple_type": LIST,
    "list_type": LIST,
    "set_type": LIST,
    "dict_type": MAPPING,
    "mapping_type": MAPPING,
    "model_": MAPPING,
    "dataclass_": MAPPING,
    "greater_than_equal": "at least {ge}",
    "greater_than": "greater than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
OTHERS: dict[str, Callable[[Details], str]] = {  # type -> the sentence, where it is not of the form above
    "missing": lambda error: "is required",
    "invalid_key": lambda error: "keys must be text",
    "too_short": lambda error: f"must have at least {entries(error, 'min_length')}",
    "too_long": lambda error: f"must have at most {entries(error, 'max_length')}",
    "union_tag_invalid": lambda error: "kind must be {expected_tags}, not {tag!r:.60}".format(**error["ctx"]),
    "union_tag_not_found": lambda error: "must be a mapping with the key {discriminator}".format(**error["ctx"]),
    "recursion_loop": lambda error: "contains itself",
    "value_error": lambda error: error["msg"].removeprefix("Value error, "),
    "assertion_error": lambda error: error["msg"].removeprefix("Assertion failed, "),
}

BRANCH = re.compile(r"steps|cosine|\[key\]|(constrained|function|lax|nullable|tuple|literal)[-\[].*")  # of a place

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60


def shown(value: object) -> str:
    """A value as a message quotes it: in one line, at most about 100 characters long."""
    if isinstance(value, int) and abs(value) >= 10**40:  # such a number cannot always be printed
        return f"a number of {value.bit_length()} bits"
    return _short.repr(value)


def plain(number: float) -> str:
    """A number as a sentence shows it: 1,000,000, 0.5, 1e-06."""
    return f"{number:,.10g}"


def entries(error: Details, limit: str) -> str:
    """ "2 entries", the limit of an error of length."""
    count = error["ctx"][limit]
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def sentence(error: Details) -> str:
    """What is wrong, as it stands after "key: "."""
    kind = error["type"]
    if kind in OTHERS:
        return OTHERS[kind](error)
    found = next((text for start, text in EXPECTED.items() if kind.startswith(start)), None)
    if found is None:  # pydantic's own words, begun as ours
        return re.sub(r"^(Input|Value) should", "must", error["msg"])
    bounds = {key: plain(value) if isinstance(value, int | float) else value for key, value in error["ctx"].items()}
    return f"must be {found.format(**bounds)}, not {shown(error['input'])}"


def explain(fault: Exception, under: str = "", keys: Collection[str] = ()) -> str:
    """The first error of a validation as "key: message"; under: a key that encloses it; keys: those that exist."""
    place: tuple[Any, ...] = ()
    message = " ".join(str(fault).split())
    if isinstance(fault, ValidationError):
        first = {"ctx": {}} | fault.errors(include_url=False)[0]
        place, message = first["loc"], sentence(first)
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(place[-1]), keys, n=1)
            message = "there is no such key" + (f"; did you mean {near[0]!r}?" if near else "")
    parts = [f"{part:.60}" for part in (under, *map(str, place)) if part and not BRANCH.fullmatch(part)]
    key = ".".join(parts)
    return " ".join((f"{key}: {message}" if key else message).split())
