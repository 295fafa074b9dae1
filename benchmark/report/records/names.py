"""Name the files of each protocol by its suite: mini, mini-fp32, crd.

A protocol belongs to the suite that its earliest record names.  Its name has a suffix for each term that departs from
that suite's own.  Records are only ever added, so a name stays as it is when further ones arrive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from benchmark.experiment.run import Recipe
from benchmark.experiment.suite import read_suite, suite_names
from benchmark.report.formatting import count_of, flatten, slug
from benchmark.report.records.cells import Terms
from benchmark.report.records.entries import Entry
from benchmark.report.records.labels import Key, name_protocols, protocol_title

LENGTH = 80  # characters of a name
FOUND = "found, not trained"  # stands for the recipe of imported weights
NEVER = datetime.max.replace(tzinfo=UTC)
SHARED, STUDENTS, TEACHERS = "", "students-", "teachers-"  # whose terms a suffix is about


@cache
def make_terms(data_label: str, judge: str, recipe: Recipe | None) -> Terms:
    """The terms of a run: data set, judge and recipe without the learning rate."""
    own = flatten(recipe.model_dump(mode="json", exclude={"lr"})) if recipe else {"recipe": FOUND}
    return tuple(({"dataset": data_label, "judge": judge} | own).items())


def protocol_names(groups: Mapping[Key, Iterable[Entry]], suite: str = "") -> dict[Key, str]:
    """Protocol -> the name that its files begin with; no two are equal.

    groups: protocol -> its entries; suite: the one to name all by, instead of the suite of their earliest records.
    """
    origins = {key: origin(entries) for key, entries in groups.items()}
    names: dict[Key, str] = {}
    first: dict[str, Key] = {}  # suite without a definition here -> the protocol of its earliest record
    for key in sorted(groups, key=lambda key: (origins[key], key)):
        own = suite or origins[key][1] or matching_suite(key)
        references = suite_keys(own) or (first.setdefault(own, key),)
        parts = [Path(own).stem, *departures(key, references)] if own else [protocol_title(key[0])]
        name = slug(" ".join(parts))[:LENGTH].rstrip("-")
        taken = name in names.values()
        names[key] = f"{name}-{hashlib.sha256(repr(key).encode()).hexdigest()[:6]}" if taken else name
    return names


def protocol_labels(groups: Mapping[Key, Sequence[Entry]]) -> list[str]:
    """A label for each protocol: its suite, what it has in common, and the terms in which similar ones differ.

    groups: protocol -> its entries.
    """
    suites = [suite_of(key, entries) for key, entries in groups.items()]
    return name_protocols(list(groups), suites, [precisions_text(entries) for entries in groups.values()])


def suite_of(key: Key, entries: Iterable[Entry]) -> str:
    """The suite of a protocol's earliest record or, where none names one, the first with its terms; "" for none."""
    return Path(origin(entries)[1] or matching_suite(key)).stem


def precisions_text(entries: Iterable[Entry]) -> str:
    """The precisions that runs were computed in, by their records: "bf16", "bf16 and fp32"; "" if none says."""
    return " and ".join(sorted({str(found) for entry in entries if (found := entry.provenance("precision"))}))


def origin(entries: Iterable[Entry]) -> tuple[datetime, str]:
    """(When the earliest record that names a suite was written, that suite); students with a teacher come first."""
    found: dict[bool, tuple[datetime, str]] = {}
    for entry in entries:
        for record in filter(None, (entry.record, *entry.attempts)):
            attempt = replace(entry, record=record)
            if suite := attempt.provenance("suite"):
                taught = entry.run.teacher is not None
                found[taught] = min(found.get(taught, (NEVER, "")), (attempt.ended, str(suite)))
    return found.get(True) or found.get(False) or (NEVER, "")


# ---- suites that come with the project
@cache
def suite_keys(name: str) -> tuple[Key, ...]:
    """A suite's own protocols, one for each data set; none for a suite that does not come with the project."""
    if name not in suite_names():
        return ()
    suite = read_suite(name)
    recipes = (suite.recipe, suite.teacher)
    return tuple(tuple(make_terms(data, suite.judge, recipe) for recipe in recipes) for data in suite.dataset)


def matching_suite(key: Key) -> str:
    """The first suite, by name, that has exactly this protocol; "" for none."""
    return next((name for name in suite_names() if key in suite_keys(name)), "")


# ---- suffixes
def departures(key: Key, references: Sequence[Key]) -> list[str]:
    """What of a protocol departs from a suite's own, in words: ["fp32", "3 epochs"]; nothing for the suite's own.

    Of a suite with several data sets the protocol's is always named.
    """
    terms = dict(key[0])
    reference = next((each for each in references if dict(each[0])["dataset"] == terms["dataset"]), references[0])
    named = [terms["dataset"]] if len(references) > 1 else []
    return [*dict.fromkeys([*named, *different_terms(key, reference)])]


def different_terms(key: Key, reference: Key) -> Iterator[str]:
    """The terms that differ; once for those that students and teachers share."""
    students = changed(key[0], reference[0])
    teachers = changed(key[1], reference[1]) if key[1] and reference[1] else {}
    if "epochs" in students and dict(key[1]).get("epochs") == stretched_epochs(students["epochs"], reference):
        teachers["epochs"] = students["epochs"]
    for term, value in students.items():
        shared = not key[1] or teachers.pop(term, None) == value
        yield (SHARED if shared else STUDENTS) + term_text(term, value)
    yield from (TEACHERS + term_text(term, value) for term, value in teachers.items())
    if bool(key[1]) != bool(reference[1]):
        yield "with teachers" if key[1] else "no teacher"


def stretched_epochs(epochs: str, reference: Key) -> str:
    """The teachers' epochs in proportion to those of the students, as --epochs stretches both; "" without any."""
    students, teachers = (dict(terms).get("epochs") for terms in reference)
    return str(max(1, round(int(teachers) * int(epochs) / int(students)))) if students and teachers else ""


def changed(terms: Terms, reference: Terms) -> dict[str, str]:
    """Term -> its value, where it is not that of the reference; the schedule follows from the epochs."""
    known, own = dict(reference), dict(terms)
    if ("recipe" in own) != ("recipe" in known):  # trained on one side only
        own = {term: own[term] for term in ("dataset", "judge")} | {"recipe": own.get("recipe", "trained")}
    values = {term: value for term, value in own.items() if known.get(term) != value}
    return {term: value for term, value in values.items() if not ("epochs" in values and term.startswith("schedule"))}


def term_text(term: str, value: str) -> str:
    """A term of a suffix: fp32, 3 epochs, batch 128."""
    if term == "epochs":
        return count_of(int(value), "epoch")
    return value if term in ("dataset", "judge", "precision", "recipe") else f"{term} {value}"
