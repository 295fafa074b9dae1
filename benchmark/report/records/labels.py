"""Unique labels for the protocols, pairs and rows of a report."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmark.experiment.run import Run
from benchmark.report.formatting import (
    count_of,
    describe_differences,
    describe_same_named,
    disambiguate,
    flatten,
    natural_key,
)
from benchmark.report.records.by_pair import BY_PAIR, row_knobs
from benchmark.report.records.cells import Pair, Row, Terms
from benchmark.report.records.entries import Entry
from benchmark.report.records.marks import method_marks

Key = tuple[Terms, Terms]  # terms of the students, terms of the teachers


def protocol_title(terms: Terms) -> str:
    """A short title of a protocol: cifar100 · 240 epochs · batch 64 · judged on test."""
    values = dict(terms)
    parts = [values["dataset"]]
    parts += (
        [count_of(int(values["epochs"]), "epoch"), f"batch {values['batch']}"]
        if "epochs" in values
        else [values["recipe"]]
    )
    return " · ".join([*parts, f"judged on {values['judge']}"])


def name_protocols(keys: Sequence[Key], suites: Sequence[str] = (), computed: Sequence[str] = ()) -> list[str]:
    """A title for each (students' terms, teachers' terms); equal titles have the terms that differ appended.

    suites: the suite of each, named in front; computed: the precisions that the runs of each were computed in, as text,
    named in place of the recipe's.
    """
    titles = [protocol_title(key[0]) for key in keys]
    titles = [in_suite(*each) for each in zip(titles, suites, strict=True)] if suites else titles
    names = []
    for place, title in enumerate(titles):
        rivals = [other for other, other_title in enumerate(titles) if other_title == title]
        facts = [protocol_facts(keys[other]) for other in rivals]
        facts = with_computed(facts, [computed[other] for other in rivals]) if computed else facts
        difference = describe_differences(facts)[rivals.index(place)]
        names.append(f"{title} · {difference}" if difference else title)
    return disambiguate(names, keys)


def in_suite(title: str, suite: str) -> str:
    """The title with its suite in front; a suite that is called as its data set is named once."""
    return title if suite in ("", title.partition(" · ")[0]) else f"{suite} · {title}"


def protocol_facts(key: Key) -> dict[str, str]:
    """The terms of students and teachers in one mapping."""
    students, teacher = map(dict, key)
    kind = teacher.get("recipe", "trained here") if teacher else "none"
    return (
        students | {"teacher": kind} | {f"teacher {name}": value for name, value in teacher.items() if name != "recipe"}
    )


def with_computed(facts: Sequence[dict[str, str]], computed: Sequence[str]) -> list[dict[str, str]]:
    """The facts of rivals with the precisions that each was computed in, in place of its recipe's: auto says neither.

    Beside it where rivals with different recipes were computed alike; as they are where the recipes do not differ.
    """
    recipes = [each.get("precision", "") for each in facts]
    if len(set(recipes)) < 2 or not all(recipes) or not all(computed):
        return list(facts)
    if len(set(zip(recipes, computed, strict=True))) == len(set(computed)):
        own = [{"computed in": text} for text in computed]
    else:
        own = [{"precision": f"{recipe}, computed in {text}"} for recipe, text in zip(recipes, computed, strict=True)]
    rest = [{name: value for name, value in each.items() if name != "precision"} for each in facts]
    return [each | precision for each, precision in zip(rest, own, strict=True)]


def name_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with their labels; pairs of the same networks have the values that differ appended."""
    names = [pair.name or pair.student for pair in pairs]
    differences = describe_same_named(names, [*map(pair_traits, pairs)])
    labels = [f"{name} ({own})" if own else name for name, own in zip(names, differences, strict=True)]
    unique_labels = disambiguate(labels, [(pair.teacher_id, pair.student, pair.lr) for pair in pairs])
    return [replace(pair, label=label) for pair, label in zip(pairs, unique_labels, strict=True)]


def pair_traits(pair: Pair) -> dict[str, str]:
    """The values in which pairs of the same networks can differ: learning rate and the teacher's run."""
    traits = {"lr": f"{pair.lr:g}" if pair.lr else "none"}
    teacher = pair.teacher.model_dump(mode="json", exclude={"teacher"}) if pair.teacher else {}
    return traits | {f"teacher {name}": value for name, value in flatten(teacher).items()}


def name_rows(entries: Sequence[Entry]) -> dict[str, Row]:
    """Run id -> its row, in the order of the tables; rows of one method are labelled with the knobs that differ.

    Runs whose knobs a suite sets by pair share a row, whose knobs are those that they have in common.
    """
    knobs_of, marks = row_knobs(entries), method_marks(entries)
    groups: dict[tuple[str, str], dict[str, dict]] = defaultdict(dict)
    for entry in entries:
        own = knobs_of[entry.run.id]
        groups[row_kind(entry.run), entry.run.method][canonical_json(own)] = own
    rows = {}
    for (kind, method), settings in groups.items():
        base = f"student ({method})" if kind == "student" else method
        values = [flatten(knobs) for knobs in settings.values()]
        labels = [
            f"{base}, {difference}" if difference else base
            for difference in describe_differences(values, count_missing=True)
        ]
        for setting, label in zip(settings, disambiguate(labels, list(settings)), strict=True):
            shared = {knob: value for knob, value in settings[setting].items() if value != BY_PAIR}
            text = canonical_json(shared)
            text = setting if text in settings else text  # runs of an older method may have just these knobs
            mark = marks.get(method, "") if kind == "method" else ""
            rows[kind, method, setting] = Row(kind, method, text, label, varied_knobs(shared, settings.values()), mark)
    row_by_run = {
        entry.run.id: rows[row_kind(entry.run), entry.run.method, canonical_json(knobs_of[entry.run.id])]
        for entry in entries
    }
    return dict(
        sorted(
            row_by_run.items(), key=lambda item: (item[1].kind != "student", natural_key(item[1].label), item[1].knobs)
        )
    )


def varied_knobs(knobs: dict, settings: Iterable[dict]) -> tuple[str, ...]:
    """KNOB=VALUE, as --set takes it after the method's name, for the knobs that differ between a method's settings."""
    known = [{knob: canonical_json(value) for knob, value in other.items()} for other in settings]
    own = {knob: canonical_json(value) for knob, value in knobs.items()}
    differing = [knob for knob in own if any(other.get(knob, "null") != own[knob] for other in known)]
    return tuple(f"{knob}={own[knob]}" for knob in differing)


def row_kind(run: Run) -> str:
    """The kind of a run's row: "student" without a teacher, "method" with one."""
    return "method" if run.teacher else "student"


def canonical_json(value: object) -> str:
    """The value as JSON with sorted keys, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True)
