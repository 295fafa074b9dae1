"""Entries sorted into what may stand in one table.

A protocol is one data set, judge, recipe of the students and recipe of the teachers, learning rates apart: those belong
to a network, and so to a pair.  Runs without a teacher serve every pair that has their student and recipe.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain

from benchmark.experiment.run import Run
from benchmark.report.formatting import disambiguate, flatten, natural_key, slug
from benchmark.report.records.cells import Cell, Pair, Protocol, Row, Terms
from benchmark.report.records.entries import Entry, finite_number
from benchmark.report.records.labels import name_pairs, name_protocols, name_rows, protocol_title

Key = tuple[Terms, Terms]  # of the students, of the teachers


def protocols(entries: Sequence[Entry]) -> list[Protocol]:
    """All entries, each in at least one protocol; the plan's protocols first, in its order."""
    groups = assign(entries)
    rows = name_rows(entries)
    keys = sorted(
        groups, key=lambda key: (first_place(chain(*groups[key].values())), natural_key(protocol_title(key[0])), key)
    )
    labels = name_protocols(keys)
    names = disambiguate([slug(label)[:80] for label in labels], keys)
    return [
        build_protocol(label, slug(name), key, groups[key], rows, {entry.run.id: entry for entry in entries})
        for label, name, key in zip(labels, names, keys, strict=True)
    ]


def assign(entries: Sequence[Entry]) -> dict[Key, dict[Pair, list[Entry]]]:
    """(students' terms, teachers' terms) -> pair -> the students' runs."""
    groups: dict[Key, dict[Pair, list[Entry]]] = {}
    teachers = set()
    for entry in (entry for entry in entries if entry.run.teacher):
        key, pair = (run_terms(entry.run), run_terms(entry.run.teacher)), pair_of(entry.run)
        groups.setdefault(key, {}).setdefault(pair, []).append(entry)
        if comparable(key):
            teachers.add(pair.teacher_id)
    taught = [(key, pair, runs) for key, pairs in groups.items() for pair, runs in pairs.items()]
    for entry in (entry for entry in entries if not entry.run.teacher):
        own, alone = run_terms(entry.run), pair_of(entry.run)
        places = [
            runs for key, pair, runs in taught if (key[0], pair.student, pair.rate) == (own, alone.student, alone.rate)
        ]
        if not places and entry.run.id not in teachers:
            places = [groups.setdefault((own, ()), {}).setdefault(alone, [])]
        for runs in places:
            runs.append(entry)
    return groups


def build_protocol(
    label: str, name: str, key: Key, pairs: dict[Pair, list[Entry]], rows: dict[str, Row], known: dict[str, Entry]
) -> Protocol:
    """A protocol with a cell for every row and pair."""
    ordered = sorted(
        pairs, key=lambda pair: (first_place(pairs[pair]), natural_key(pair.name or pair.student), repr(pair))
    )
    columns = name_pairs(ordered)
    present = {rows[entry.run.id] for runs in pairs.values() for entry in runs}
    lines = [row for row in dict.fromkeys(rows.values()) if row in present]
    cells: dict[tuple[Row, Pair], Cell] = {}
    if any(pair.teacher for pair in columns):
        lines.insert(0, Row("teacher"))
        cells |= {(lines[0], pair): teacher_cell(lines[0], pair, key, pairs[pair], known) for pair in columns}
    for pair in columns:
        runs = sorted(pairs[pair], key=lambda entry: (entry.run.seed, entry.run.id))
        for row in lines:
            own = tuple(entry for entry in runs if rows[entry.run.id] == row)
            cells.setdefault((row, pair), Cell(row, pair, own))
    return Protocol(label, name, *key, tuple(columns), tuple(lines), cells)


def teacher_cell(row: Row, pair: Pair, key: Key, students: list[Entry], known: dict[str, Entry]) -> Cell:
    """The teacher's own score, if it was read on the images that the students' were."""
    entries = tuple(filter(None, [known.get(pair.teacher_id)]))
    if not comparable(key):
        return Cell(row, pair, entries, refusal=f"judged on {pair.teacher.judge} of {pair.teacher.dataset}")
    said = {
        finite_number(one.provenance("teacher", "top1"))
        for one in students
        if one.provenance("teacher", "id") == pair.teacher_id
    }
    alone = len(said) == 1 and not any(entry.record for entry in entries)
    return Cell(row, pair, entries, reported_top1=said.pop() if alone else None)


# ---- keys
def run_terms(run: Run) -> Terms:
    """Data set, judge and recipe, without the learning rate."""
    found = {"dataset": run.dataset, "judge": run.judge}
    if run.recipe is None:
        return tuple((found | {"recipe": "found, not trained"}).items())
    return tuple((found | flatten(run.recipe.model_dump(mode="json", exclude={"lr"}))).items())


def comparable(key: Key) -> bool:
    """Whether teachers and students were scored on the same images."""
    own, teacher = map(dict, key)
    return all(own[word] == teacher.get(word) for word in ("dataset", "judge"))


def pair_of(run: Run) -> Pair:
    """The column that a run stands in."""
    rate = run.recipe.lr if run.recipe else None
    return Pair(run.teacher.id if run.teacher else "", run.student, rate, run.teacher)


def first_place(entries: Iterable[Entry]) -> float:
    """The place in the plan where the first of them stands."""
    return min((entry.place for entry in entries), default=math.inf)
