"""Rows of methods whose knobs a suite sets by pair: one row, though its runs differ in these knobs from pair to pair.

Which knobs are set by pair is known from the origins in the records.  A run of the same method belongs to the row too
if its pair has no other candidate, as where the suite leaves a pair at the default.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark.errors import printable
from benchmark.experiment.run import Run
from benchmark.experiment.suite import PAIR_ORIGIN
from benchmark.report.formatting import flatten, natural_key
from benchmark.report.records.cells import Cell, Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.records.value_origins import origins, user_set_knobs

BY_PAIR = "by pair"  # in place of a value
SUITES_PAIR, OTHER, USERS = range(3)  # whose values of these knobs a run has; the lower ones take precedence
Column = dict[str, list[Entry]]  # setting of the knobs, as JSON -> its runs on one pair


def row_knobs(entries: Iterable[Entry]) -> dict[str, dict[str, Any]]:
    """Run id -> the knobs of its row: the run's, with BY_PAIR in place of the values that are set by pair."""
    found, methods = {}, defaultdict(list)
    for entry in entries:
        found[entry.run.id] = entry.run.knobs
        methods[bool(entry.run.teacher), entry.run.method].append(entry)
    for own in methods.values():
        varied = {knob for entry in own for knob in knobs_by_pair(entry)}
        for shared, members in group_by_rest(own, varied).items():
            marked = json.loads(shared) | dict.fromkeys(sorted(varied & set(members[0].run.knobs)), BY_PAIR)
            ordered = {knob: marked[knob] for knob in members[0].run.knobs}
            found |= dict.fromkeys(joined(members, varied), ordered)
    return found


def knobs_by_pair(entry: Entry) -> list[str]:
    """The knobs that a suite has set for the pair of a run, by the origins in its record."""
    paths = [path for path, text in origins(entry).items() if PAIR_ORIGIN in text]
    return [path.removeprefix("knobs.") for path in paths if path.removeprefix("knobs.") in entry.run.knobs]


def group_by_rest(entries: Iterable[Entry], varied: set[str]) -> dict[str, list[Entry]]:
    """The other knobs, as JSON -> the entries that share them; empty without knobs that are set by pair."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries if varied else ():
        rest = {knob: value for knob, value in entry.run.knobs.items() if knob not in varied}
        groups[json.dumps(rest, sort_keys=True)].append(entry)
    return groups


def joined(entries: Sequence[Entry], varied: set[str]) -> set[str]:
    """The ids of the runs that are in the row by pair; none if no suite has set a value for the pair of any of them.

    On each pair it is the setting of the suite, or else of a default, or else of the user: the one that has no rival
    of its kind.  A user's setting with a rival on any pair is a row of its own on every pair.
    """
    columns: dict[str, Column] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        columns[column_of(entry.run)][json.dumps(entry.run.knobs, sort_keys=True)].append(entry)
    rivalled = {setting for column in columns.values() if len(column) > 1 for setting in column}
    found, sources = set(), set()
    for column in columns.values():
        source_of = {setting: min(source(entry, varied) for entry in own) for setting, own in column.items()}
        first = min(source_of.values())
        chosen = [setting for setting, its in source_of.items() if its == first]
        if len(chosen) == 1 and not (first == USERS and chosen[0] in rivalled):
            found |= {entry.run.id for entry in column[chosen[0]]}
            sources.add(first)
    return found if SUITES_PAIR in sources else set()


def source(entry: Entry, varied: set[str]) -> int:
    """Whose values a run has of the knobs that are set by pair: SUITES_PAIR, OTHER or USERS."""
    if varied & user_set_knobs(entry):
        return USERS
    return SUITES_PAIR if knobs_by_pair(entry) else OTHER


def column_of(run: Run) -> str:
    """What runs of one column have in common, as text: all but method, knobs, and the seeds of student and teacher."""
    run = run.model_copy(update={"teacher": run.teacher and run.teacher.model_copy(update={"seed": 0})})
    return run.model_dump_json(exclude={"method", "knobs", "seed"})


# ---- in tables
def cell_knobs(cell: Cell) -> dict[str, Any]:
    """All knobs of a cell's runs: those of its row, and those that are set by pair."""
    return dict(cell.entries[0].run.knobs) if cell.entries else json.loads(cell.row.knobs or "{}")


def values_by_pair(cell: Cell) -> dict[str, str]:
    """Knob -> value as text, of the knobs that the row has by pair; empty for other rows and cells without runs."""
    shared = json.loads(cell.row.knobs or "{}")
    own = {knob: value for knob, value in cell_knobs(cell).items() if shared.get(knob, BY_PAIR) == BY_PAIR}
    return flatten(own) if cell.row.knobs else {}


def by_pair_sentences(protocol: Protocol) -> list[str]:
    """For each row with knobs by pair: "dkd, beta by pair: 2 for resnet56-resnet20; 8 elsewhere."."""
    found: dict[tuple[str, str], dict[str, dict[str, None]]] = {}  # (method, knob) -> value -> pairs
    for row in protocol.rows:
        for pair in protocol.pairs:
            for knob, value in values_by_pair(protocol.cells[row, pair]).items():
                found.setdefault((row.method, knob), {}).setdefault(value, {})[pair.name or pair.student] = None
    texts = [f"{method}, {knob} {BY_PAIR}: {values_text(values)}." for (method, knob), values in found.items()]
    return [*map(printable, texts)]


def values_text(pairs: Mapping[str, Iterable[str]]) -> str:
    """The values, each with its pairs; that of the most pairs comes last, without them."""
    most = max(pairs, key=lambda value: len(list(pairs[value])))
    others = [f"{value} for {', '.join(pairs[value])}" for value in sorted(pairs, key=natural_key) if value != most]
    return "; ".join([*others, f"{most} {'elsewhere' if others else 'everywhere'}"])
