"""Format values for tables and the page: numbers with units, distinct labels, file names, commands."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark.errors import printable

MISSING = "–"  # printed where a number is missing
JUDGES = {"test": "test images", "holdout": "images held out of the training set"}


def format_percent(fraction: float) -> str:
    """A fraction in percent: 0.7213 -> 72.13."""
    return f"{100 * fraction:.2f}"


def format_points(fraction: float) -> str:
    """A difference of two fractions in percentage points, with its sign: 0.012 -> +1.20."""
    return f"{100 * fraction:+.2f}".replace("-", "−")


def format_interval(low: float | None, high: float | None) -> str:
    """An interval of a difference of fractions in percentage points: −0.20 to +0.22; MISSING for None."""
    return MISSING if low is None else f"{format_points(low)} to {format_points(high)}"


def format_score(value: float) -> str:
    """A score without unit, three decimals."""
    return f"{value:.3f}"


def format_count(count: float) -> str:
    """A count with three significant digits: 278324 -> 278 k."""
    for size, letter in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(count) >= size * 0.9995:
            short = f"{count / size:.3g}"
            return (short if float(short) < 1000 else f"{count / size:.0f}") + letter
    return f"{count:.3g}"


def format_ratio(ratio: float) -> str:
    """A ratio: 6.2051 -> 6.21 ×."""
    return f"{ratio:.2f} ×"


def format_rounded(value: float) -> str:
    """A rounded number with a thousands separator: 1204.3 -> 1,204."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_value(value: Any) -> str:
    """The value of a knob or of a recipe's field as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value)) or "none"
    return printable(value) if isinstance(value, str) else json.dumps(value, sort_keys=True)


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as text under dotted keys: {"schedule": {"at": [2]}} -> {"schedule.at": "2"}."""
    flat: dict[str, str] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= flatten(inner, f"{prefix}{key}.")
        else:
            flat[prefix + key] = format_value(inner)
    return flat


def describe_differences(items: Sequence[Mapping[str, str]], count_missing: bool = False) -> list[str]:
    """For each item the entries that are not equal in all items, as text: "alpha 0.5, temperature 2".

    count_missing: whether a key that an item lacks counts as a difference.
    """
    keys = dict.fromkeys(key for item in items for key in item)
    values = {key: {item.get(key) for item in items if count_missing or key in item} for key in keys}
    return [", ".join(f"{key} {item[key]}" for key in keys if len(values[key]) > 1 and key in item) for item in items]


def describe_same_named(names: Sequence[str], items: Sequence[Mapping[str, str]]) -> list[str]:
    """For each item, `describe_differences` among those that have its name: empty where it alone has it."""
    found = [""] * len(names)
    for name in set(names):
        places = [place for place, other in enumerate(names) if other == name]
        for place, difference in zip(places, describe_differences([items[each] for each in places]), strict=True):
            found[place] = difference
    return found


def disambiguate(labels: Sequence[str], keys: Sequence[Any]) -> list[str]:
    """The labels, one per key; a label that several keys share gets a hash of its key appended; all can be printed."""
    labels = [*map(printable, labels)]
    marks = [hashlib.sha256(repr(key).encode()).hexdigest()[:6] for key in keys]
    return [f"{label} #{mark}" if labels.count(label) > 1 else label for label, mark in zip(labels, marks, strict=True)]


def natural_key(text: str) -> list[tuple[int, float, str]]:
    """A sort key that orders numbers inside names by value: resnet8 before resnet20."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(1, float(part), "") if index % 2 else (0, 0.0, part.lower()) for index, part in enumerate(parts)]


def slug(text: str) -> str:
    """A file name made from any text: lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"


def count_of(count: int, noun: str) -> str:
    """A count with its noun, singular or plural: 1 record, 2 records."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def join_distinct(values: Iterable[Any]) -> str:
    """The distinct values as text, sorted and separated by commas."""
    return ", ".join(sorted({str(value) for value in values}, key=natural_key))


def run_command(suite: str, pair: str, method: str = "", seeds: Iterable[int] = (), options: Iterable[str] = ()) -> str:
    """The command that runs a cell again; options: further arguments, such as --epochs 3."""
    command = ["python", "-m", "benchmark", "run", suite]
    command += ["-p", pair] if pair else []
    command += ["-m", method] if method else []
    command += ["--seeds", ",".join(map(str, sorted(set(seeds))))] if seeds else []
    return shlex.join([*command, *options])
