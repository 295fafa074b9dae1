"""What is examined together: a teacher and the students of one protocol and one seed."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.experiment import resolve
from benchmark.experiment.run import Run
from benchmark.store import Record, Store

if TYPE_CHECKING:
    from benchmark.sweep.runner import Options


@dataclass(frozen=True, slots=True)
class Pair:
    """A teacher, a student's network under one protocol, and its runs of one seed."""

    teacher: Run
    runs: tuple[Run, ...]  # whose weights are kept
    lacking: tuple[Run, ...]  # whose weights are not

    @property
    def student(self) -> str:
        return (self.runs + self.lacking)[0].student


def pairs_of(runs: Sequence[Run], store: Store) -> list[Pair]:
    """Teacher and student under one protocol, with the runs of the lowest seed that has weights.

    A run without teacher stands in every pair of its student's network, data set and recipe.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.teacher:
            groups.setdefault((run.teacher.id, *protocol(run)), [])
    for run in runs:
        for (teacher, *terms), members in groups.items():
            if tuple(terms) == protocol(run) and (run.teacher is None or run.teacher.id == teacher):
                members.append(run)
    return [pair_of(members, store) for members in groups.values()]


def protocol(run: Run) -> tuple:
    """What the students of a pair have in common."""
    return run.dataset, run.judge, run.student, run.recipe


def pair_of(members: list[Run], store: Store) -> Pair:
    """One seed of a group."""
    kept = {run.id for run in members if store.weights(run.id)}
    seed = min((run.seed for run in members if run.id in kept), default=min(run.seed for run in members))
    own = [run for run in members if run.seed == seed]
    teacher = next(run.teacher for run in members if run.teacher)
    return Pair(teacher, tuple(r for r in own if r.id in kept), tuple(r for r in own if r.id not in kept))


def title(pair: Pair) -> str:
    """For people."""
    run = (pair.runs + pair.lacking)[0]
    return f"{run.dataset}, {pair.teacher.student} teaches {pair.student}, seed {run.seed}"


def file_stem(pair: Pair) -> str:
    """The name of a pair's two files; the hex digits hash the protocol, not the methods that were there."""
    run = pair.runs[0]
    determining = run.model_dump(mode="json", include={"dataset", "judge", "student", "recipe"}) | {
        "teacher": pair.teacher.id
    }
    mark = hashlib.sha256(json.dumps(determining, sort_keys=True).encode()).hexdigest()[:6]
    parts = (re.sub(r"[^A-Za-z0-9_]+", "_", word) for word in (run.dataset, pair.teacher.student, pair.student))
    return "-".join([*parts, mark])


def missing_weights_lines(pair: Pair, latest: Mapping[str, Record], options: Options) -> list[str]:
    """Whose weights are not there and why, with the command that makes those that can be made.

    latest: id -> the record that counts.
    """
    groups: dict[str, list[Run]] = {}
    for run in pair.lacking:
        record = latest.get(run.id)
        hopeless = record and record.status in ("unfit", "diverged")  # it would end so again
        why = f"{record.status}: {record.error['message']}" if hopeless else record.status if record else "not trained"
        groups.setdefault(why, []).append(run)
    return [f"{'; '.join(map(label, runs))}: {advice(why, runs, pair, options)}" for why, runs in groups.items()]


def advice(why: str, runs: Sequence[Run], pair: Pair, options: Options) -> str:
    """What to do about runs without weights."""
    methods = ",".join(dict.fromkeys(run.method for run in runs))
    parts = ["python", "-m", "benchmark", "run", options.suite, "-p", f"{pair.teacher.student}-{pair.student}"]
    parts += ["-m", methods, "--seeds", str(runs[0].seed), *options.suite_changes]
    if why == "done":  # `run` alone would find the records and do nothing
        parts.append("--again")
        why = "its record is kept, its weights are not"
    if options.results != Path("results"):
        parts += ["--results", str(options.results)]
    return why if ":" in why else f"{why}: {shlex.join(parts)}"


def label(run: Run) -> str:
    """A run's method, and its knobs that are not at their defaults."""
    usual = resolve.resolve_knobs(run.method, {})
    odd = [f"{knob} {value}" for knob, value in run.knobs.items() if value != usual.get(knob)]
    return ", ".join([run.method, *odd])
