"""Names that tell apart what a report must not mix up: protocols, pairs, rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from benchmark.experiment.run import Run
from benchmark.report.formatting import count_of, differences, disambiguate, flatten, natural_key
from benchmark.report.records.cells import Pair, Row, Terms
from benchmark.report.records.entries import Entry


def protocol_title(terms: Terms) -> str:
    """A protocol in short: cifar100 · 240 epochs · batch 64 · judged on test."""
    values = dict(terms)
    found = [values["dataset"]]
    found += (
        [count_of(int(values["epochs"]), "epoch"), f"batch {values['batch']}"]
        if "epochs" in values
        else [values["recipe"]]
    )
    return " · ".join([*found, f"judged on {values['judge']}"])


def name_protocols(keys: Sequence[tuple[Terms, Terms]]) -> list[str]:
    """A title per (students' terms, teachers' terms); those with the same title say what differs."""
    titles = [protocol_title(key[0]) for key in keys]
    found = []
    for key, own in zip(keys, titles, strict=True):
        rivals = [other for other, name in zip(keys, titles, strict=True) if name == own]
        apart = differences([protocol_facts(rival) for rival in rivals])[rivals.index(key)]
        found.append(f"{own} · {apart}" if apart else own)
    return disambiguate(found, keys)


def protocol_facts(key: tuple[Terms, Terms]) -> dict[str, str]:
    """Both sides of a protocol in one mapping."""
    own, teacher = map(dict, key)
    kind = teacher.get("recipe", "trained here") if teacher else "none"
    return own | {"teacher": kind} | {f"teacher {word}": value for word, value in teacher.items() if word != "recipe"}


def name_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with labels; those of the same networks say what differs."""
    found = []
    for pair in pairs:
        own = pair.name or pair.student
        rivals = [other for other in pairs if (other.name or other.student) == own]
        apart = differences([pair_traits(rival) for rival in rivals])[rivals.index(pair)]
        found.append(f"{own} ({apart})" if apart else own)
    labels = disambiguate(found, [(pair.teacher_id, pair.student, pair.rate) for pair in pairs])
    return [replace(pair, label=label) for pair, label in zip(pairs, labels, strict=True)]


def pair_traits(pair: Pair) -> dict[str, str]:
    """What may tell a pair from others of the same networks."""
    found = {"lr": f"{pair.rate:g}" if pair.rate else "none"}
    teacher = pair.teacher.model_dump(mode="json", exclude={"teacher"}) if pair.teacher else {}
    return found | {f"teacher {word}": value for word, value in flatten(teacher).items()}


def name_rows(entries: Sequence[Entry]) -> dict[str, Row]:
    """run id -> its row, rows in the order of the tables; settings of one method say which knobs differ."""
    groups: dict[tuple[str, str], dict[str, dict]] = defaultdict(dict)
    for entry in entries:
        groups[row_kind(entry.run), entry.run.method][as_text(entry.run.knobs)] = entry.run.knobs
    rows = {}
    for (sort, method), settings in groups.items():
        base = f"student ({method})" if sort == "student" else method
        values = [flatten(knobs) for knobs in settings.values()]
        labels = [f"{base}, {apart}" if apart else base for apart in differences(values, absence=True)]
        for knobs, label in zip(settings, disambiguate(labels, list(settings)), strict=True):
            rows[sort, method, knobs] = Row(sort, method, knobs, label, varied(settings, knobs))
    found = {entry.run.id: rows[row_kind(entry.run), entry.run.method, as_text(entry.run.knobs)] for entry in entries}
    return dict(
        sorted(found.items(), key=lambda item: (item[1].kind != "student", natural_key(item[1].label), item[1].knobs))
    )


def varied(settings: dict[str, dict], own: str) -> tuple[str, ...]:
    """The knobs of a setting that others of its method have at other values, as --set takes them after the method."""
    knobs = settings[own]
    different = [
        knob for knob in knobs if any(as_text(other.get(knob)) != as_text(knobs[knob]) for other in settings.values())
    ]
    return tuple(f"{knob}={as_text(knobs[knob])}" for knob in different)


def row_kind(run: Run) -> str:
    """Whether a run's row is a student's, which has no teacher, or a method's."""
    return "method" if run.teacher else "student"


def as_text(value: object) -> str:
    """Equal values, equal text."""
    return json.dumps(value, sort_keys=True)
