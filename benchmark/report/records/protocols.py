"""Group entries into protocols: the sets of runs that may be compared in one table.

A protocol has one data set, judge, recipe of the students and recipe of the teachers.  Learning rates are left out of
the recipe: they belong to a network, hence to a pair.  A run without a teacher is entered in every pair that has its
student and recipe.  Teachers that differ in nothing but their seed are of one pair.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from benchmark.experiment.run import Run
from benchmark.report.formatting import join_distinct, natural_key
from benchmark.report.records.cells import Cell, Pair, Protocol, Row, Terms
from benchmark.report.records.entries import Entry, finite_number
from benchmark.report.records.labels import Key, name_pairs, name_rows, protocol_title
from benchmark.report.records.names import make_terms, protocol_labels, protocol_names
from benchmark.report.statistics.blocks import order_of


def protocols(entries: Sequence[Entry]) -> list[Protocol]:
    """The protocols of all entries, those of the plan first and in its order.  Each entry is in at least one."""
    groups = group_by_protocol(entries)
    rows = name_rows(entries)
    keys = sorted(
        groups, key=lambda key: (first_position(chain(*groups[key].values())), natural_key(protocol_title(key[0])), key)
    )
    members = {key: list(chain(*groups[key].values())) for key in keys}
    labels, names = protocol_labels(members), protocol_names(members)
    by_id = {entry.run.id: entry for entry in entries}
    return [
        build_protocol(label, names[key], key, groups[key], rows, by_id)
        for label, key in zip(labels, keys, strict=True)
    ]


def group_by_protocol(entries: Sequence[Entry]) -> dict[Key, dict[Pair, list[Entry]]]:
    """(Students' terms, teachers' terms) -> pair -> the students' runs."""
    groups: dict[Key, dict[Pair, list[Entry]]] = {}
    teachers = set()
    for entry in (entry for entry in entries if entry.run.teacher):
        key, pair = (run_terms(entry.run), run_terms(entry.run.teacher)), pair_of(entry.run)
        groups.setdefault(key, {}).setdefault(pair, []).append(entry)
        if comparable(key):
            teachers.add(entry.run.teacher.id)
    groups = {key: {with_teachers(pair, runs): runs for pair, runs in pairs.items()} for key, pairs in groups.items()}
    taught = [(key[0], pair, runs) for key, pairs in groups.items() for pair, runs in pairs.items()]
    for entry in (entry for entry in entries if not entry.run.teacher):
        terms, own = run_terms(entry.run), pair_of(entry.run)
        matching = [
            runs for other, pair, runs in taught if (other, pair.student, pair.lr) == (terms, own.student, own.lr)
        ]
        if not matching and entry.run.id not in teachers:
            matching = [groups.setdefault((terms, ()), {}).setdefault(own, [])]
        for runs in matching:
            runs.append(entry)
    return groups


def build_protocol(
    label: str, name: str, key: Key, pairs: dict[Pair, list[Entry]], rows: dict[str, Row], entries: dict[str, Entry]
) -> Protocol:
    """A protocol with a cell for every row and pair; entries: run id -> entry."""
    ordered = sorted(
        pairs, key=lambda pair: (first_position(pairs[pair]), natural_key(pair.name or pair.student), repr(pair))
    )
    columns = name_pairs(ordered)
    present = {rows[entry.run.id] for runs in pairs.values() for entry in runs}
    lines = [row for row in dict.fromkeys(rows.values()) if row in present]
    cells: dict[tuple[Row, Pair], Cell] = {}
    if any(pair.teacher for pair in columns):
        lines.insert(0, Row("teacher"))
        cells |= {(lines[0], pair): teacher_cell(lines[0], pair, key, pairs[pair], entries) for pair in columns}
    for pair in columns:
        runs = sorted(pairs[pair], key=lambda entry: (order_of(pair.key(entry.run)), entry.run.id))
        for row in lines:
            own = tuple(entry for entry in runs if rows[entry.run.id] == row)
            cells.setdefault((row, pair), Cell(row, pair, own))
    return Protocol(label, name, *key, tuple(columns), tuple(lines), cells)


def teacher_cell(row: Row, pair: Pair, key: Key, students: list[Entry], entries: dict[str, Entry]) -> Cell:
    """The teacher's cell; its score is left out unless it was computed on the same images as the students' scores.

    A teacher's accuracy is that of its kept file, from which its students learned, as their records say.
    """
    own = tuple(filter(None, [entries.get(run.id) for run in pair.teachers]))
    if not comparable(key):
        return Cell(row, pair, own, exclusion_reason=f"judged on {pair.teacher.judge} of {pair.teacher.data_label}")
    kept = {run.id: found for run in pair.teachers if (found := kept_accuracy(run.id, students))}
    recorded = tuple(with_kept_score(entry, kept) for entry in own)
    scores = {entry.run.id: entry.score("top1") for entry in recorded if entry.state == "done"}
    scores |= {id: top1 for id, (top1, _) in kept.items() if id not in scores}
    only_source = bool(kept) and not any(entry.record for entry in own)
    return Cell(
        row,
        pair,
        recorded,
        reported_top1=sum(top1 for top1, _ in kept.values()) / len(kept) if only_source else None,
        teacher_scores=tuple((run.seed, scores[run.id]) for run in pair.teachers if run.id in scores),
        computed_in=join_distinct(precision for _, precision in kept.values()),
    )


def with_kept_score(entry: Entry, kept: Mapping[str, tuple[float, str]]) -> Entry:
    """A teacher's entry with the accuracy of its kept file, where its students' records say one."""
    if entry.run.id not in kept or entry.state != "done":
        return entry
    scores = (("top1", kept[entry.run.id][0]), ("best_top1", None))  # the best epoch is one of the training
    return replace(entry, other_scores=scores)


def kept_accuracy(teacher_id: str, students: Iterable[Entry]) -> tuple[float, str] | None:
    """(Top-1 of a teacher's kept file, precision that it was computed in): what most students' records say."""
    taught = [student for student in students if student.provenance("teacher", "id") == teacher_id]
    found = Counter(
        (top1, str(student.provenance("precision") or ""))
        for student in taught
        if (top1 := finite_number(student.provenance("teacher", "top1"))) is not None
    )
    return min(found, key=lambda each: (-found[each], each), default=None)


# ---- keys
def run_terms(run: Run) -> Terms:
    """The terms of a run: data set, judge and recipe without the learning rate."""
    return make_terms(run.data_label, run.judge, run.recipe)


def comparable(key: Key) -> bool:
    """Whether teachers and students were scored on the same data set and judge."""
    students, teachers = map(dict, key)
    return all(students[name] == teachers.get(name) for name in ("dataset", "judge"))


def pair_of(run: Run) -> Pair:
    """The pair that a run belongs to, as if its teacher had seed 0; `with_teachers` adds those that it has."""
    lr = run.recipe.lr if run.recipe else None
    teacher = run.teacher and run.teacher.model_copy(update={"seed": 0})
    return Pair(teacher.id if teacher else "", run.student, lr, teacher)


def with_teachers(pair: Pair, runs: Iterable[Entry]) -> Pair:
    """The pair with the teachers of its runs."""
    teachers = {entry.run.teacher.id: entry.run.teacher for entry in runs}
    ordered = tuple(sorted(teachers.values(), key=lambda run: (run.seed, run.id)))
    return replace(pair, teacher_id=ordered[0].id, teacher=ordered[0], teachers=ordered)


def first_position(entries: Iterable[Entry]) -> float:
    """The smallest plan position of the entries; inf if none is in the plan."""
    return min((entry.plan_position for entry in entries), default=math.inf)
