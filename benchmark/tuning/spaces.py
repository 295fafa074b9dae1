"""The values of knobs that tuning tries: declared by the methods, or written METHOD.KNOB=LOW..HIGH[:log].

A method's own space is that of its weights, a decade to each side of the suite's value, on a logarithmic scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter

from benchmark.errors import BadInput
from benchmark.experiment.error_text import shown
from benchmark.experiment.knobs import checked
from benchmark.experiment.study import Space
from methods import registry
from methods.registry import Knob

FORM = "--knob takes METHOD.KNOB=LOW..HIGH or METHOD.KNOB=LOW..HIGH:log, as in kd.alpha=0.1..0.9"
REACH = 10  # a space reaches from a tenth of the value to ten times it: two decades
Asked = Mapping[str, tuple[Space, ...]]  # method -> the spaces that the user gave for it


def parse_spaces(texts: Iterable[str], methods: Iterable[str]) -> dict[str, tuple[Space, ...]]:
    """Method -> the spaces that --knob gives for it.

    methods: those of the runs.  Raises BadInput for another method, an unknown knob, or an impossible range.
    """
    methods, found = list(methods), {}
    for text in texts:
        method, space = parse_space(text)
        if method not in methods:
            raise BadInput(
                f"--knob {text:.100}: {shown(method)} is not among the methods of this run, {', '.join(methods)}"
            )
        if any(space.knob == other.knob for other in found.get(method, ())):
            raise BadInput(f"--knob {text:.100}: {method}.{space.knob} has a range already; give one")
        found[method] = (*found.get(method, ()), space)
    return found


def parse_space(text: str) -> tuple[str, Space]:
    """ "kd.alpha=0.1..0.9" -> ("kd", its space).  Raises BadInput."""
    path, equals, values = text.partition("=")
    method, dot, knob = path.partition(".")
    limits, colon, scale = values.partition(":")
    low, dots, high = limits.partition("..")
    if not (equals and dot and knob and dots) or (colon and scale != "log"):
        raise BadInput(f"{FORM}, not {shown(text)}")
    place = f"--knob {text:.100}"
    spec, (low, high) = knob_of(place, method, knob), (parse_number(place, each) for each in (low, high))
    whole = numbers(spec.kind) == "integer"
    if whole and not (low.is_integer() and high.is_integer()):
        raise BadInput(f"{place}: the knob takes whole numbers, so that both ends of its range must be whole")
    if low >= high:
        raise BadInput(f"{place}: the range must go from a smaller number to a larger one")
    if scale and low <= 0:
        raise BadInput(f"{place}: a logarithmic range must begin above 0")
    for end in (low, high):
        checked(f"{place}: knob {knob!r} of method {method!r}", spec, int(end) if whole else end)
    return method, Space(knob=knob, low=low, high=high, log=bool(scale), whole=whole)


def knob_of(place: str, method: str, knob: str) -> Knob:
    """A knob of a method that takes numbers.  Raises BadInput that starts with `place`."""
    try:
        known = registry.knobs(method)
    except ValueError as fault:
        raise BadInput(f"{place}: {fault}") from fault
    if knob not in known:
        raise BadInput(f"{place}: unknown knob {shown(knob)} of method {method!r}{registry.suggest(knob, list(known))}")
    if not numbers(known[knob].kind):
        raise BadInput(f"{place}: the knob takes no numbers; list its values in a suite's `knobs` instead")
    return known[knob]


def parse_number(place: str, text: str) -> float:
    """A finite number.  Raises BadInput that starts with `place`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadInput(f"{place}: both ends of the range must be finite numbers, and {shown(text)} is none")
    return value


# ---- what methods declare
def declared_spaces(method: str, knobs: Mapping[str, Any]) -> tuple[Space, ...]:
    """The spaces that a method declares, around the values of `knobs`; none for a method without tuned knobs.

    Raises BadInput for a value that two decades cannot be laid around.
    """
    return tuple(space_around(method, knob, knobs[knob]) for knob in tuned_knobs(method))


def tuned_knobs(method: str) -> list[str]:
    """The knobs that a method says are tuned, or its weights; of a composition those of its parts."""
    parts, found = method.split("+"), []
    for part in parts:
        known = registry.knobs(part)
        own = registry.get(part).tuned or tuple(name for name, knob in known.items() if is_weight(knob))
        wrong = [name for name in own if name not in known or not numbers(known[name].kind)]
        if wrong:
            raise BadInput(f"method {part!r}: `tuned` names {wrong[0]!r}, which is no knob of it that takes numbers")
        found += [f"{part}.{name}" if len(parts) > 1 else name for name in own]
    return found


def space_around(method: str, knob: str, value: Any) -> Space:
    """The space of two decades around a value, within the knob's own range."""
    kind = registry.knobs(method)[knob].kind
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise BadInput(
            f"{method}.{knob} is {shown(value)}, and no range can be laid around that: "
            f"give one as --knob {method}.{knob}=LOW..HIGH"
        )
    low, high = (schema_limit(kind, name) for name in ("minimum", "maximum"))
    whole = numbers(kind) == "integer"
    reach = (math.ceil(value / REACH), value * REACH) if whole else (rounded(value / REACH), rounded(value * REACH))
    low, high = max(reach[0], low), min(reach[1], high)
    return Space(knob=knob, low=low, high=high, log=True, whole=whole)


def rounded(value: float) -> float:
    """A number to three significant digits: as exact as a trial's value is."""
    return float(f"{value:.3g}")


def is_weight(knob: Knob) -> bool:
    """Whether a knob is a term's weight: a float that may be 0, which switches the term off."""
    return numbers(knob.kind) == "number" and schema_limit(knob.kind, "minimum") == 0


def numbers(kind: object) -> str:
    """The numbers among the values of a knob's type: "number", "integer", or "" if there are none."""
    types = {each.get("type") for each in alternatives(kind)}
    return "number" if "number" in types else "integer" if "integer" in types else ""


def schema_limit(kind: object, name: str) -> float:
    """The "minimum" or "maximum" of the numbers of a knob's type; infinite if it declares none."""
    found = [each[name] for each in alternatives(kind) if name in each]
    return found[0] if found else -math.inf if name == "minimum" else math.inf


def alternatives(kind: object) -> list[dict[str, Any]]:
    """The JSON schemas of a knob's type: one, or those that a union is made of."""
    schema = TypeAdapter(kind).json_schema()
    return schema.get("anyOf", [schema])
