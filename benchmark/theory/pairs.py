"""Pairs that the theory measurements compare: a teacher and its students under one protocol and one seed."""

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
    """A teacher and the runs of one student network, protocol and seed."""

    teacher: Run
    runs: tuple[Run, ...]  # whose weights are stored
    without_weights: tuple[Run, ...]

    @property
    def all_runs(self) -> tuple[Run, ...]:
        return self.runs + self.without_weights

    @property
    def student(self) -> str:
        return self.all_runs[0].student


def pairs_of(runs: Sequence[Run], store: Store) -> list[Pair]:
    """The pairs among the runs, each with the runs of the lowest seed that has stored weights.

    A run without a teacher belongs to every pair with its network, data set, judge and recipe.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.teacher:
            groups.setdefault((run.teacher.id, *protocol(run)), [])
    for run in runs:
        for (teacher, *shared), members in groups.items():
            if tuple(shared) == protocol(run) and (run.teacher is None or run.teacher.id == teacher):
                members.append(run)
    return [pair_of(members, store) for members in groups.values()]


def protocol(run: Run) -> tuple:
    """What the students of a pair have in common: data set, judge, network and recipe."""
    return run.data_label, run.judge, run.student, run.recipe


def pair_of(members: list[Run], store: Store) -> Pair:
    """The pair of a group of runs: those of its lowest seed that has stored weights, or of its lowest seed."""
    stored = {run.id for run in members if store.weights(run.id)}
    seed = min((run.seed for run in members if run.id in stored), default=min(run.seed for run in members))
    runs = [run for run in members if run.seed == seed]
    teacher = next(run.teacher for run in members if run.teacher)
    return Pair(teacher, tuple(r for r in runs if r.id in stored), tuple(r for r in runs if r.id not in stored))


def title(pair: Pair) -> str:
    """A pair in words: data set, networks, seed."""
    run = pair.all_runs[0]
    return f"{run.data_label}, {pair.teacher.student} teaches {pair.student}, seed {run.seed}"


def file_stem(pair: Pair) -> str:
    """Name of a pair's two files without extension; its hex digits hash the protocol but not the methods."""
    run = pair.runs[0]
    determining = run.model_dump(mode="json", include={"dataset", "content", "judge", "student", "recipe"}) | {
        "teacher": pair.teacher.id
    }
    digest = hashlib.sha256(json.dumps(determining, sort_keys=True).encode()).hexdigest()[:6]
    parts = (re.sub(r"[^A-Za-z0-9_]+", "_", part) for part in (run.dataset, pair.teacher.student, pair.student))
    return "-".join([*parts, digest])


def missing_weights_lines(pair: Pair, latest: Mapping[str, Record], options: Options) -> list[str]:
    """The runs without weights, grouped by the reason, with the command that trains them where that can help.

    latest: id -> the record that counts.
    """
    groups: dict[str, list[Run]] = {}
    for run in pair.without_weights:
        record = latest.get(run.id)
        final = record and record.status in ("unfit", "diverged")  # training again would end the same way
        why = f"{record.status}: {record.error['message']}" if final else record.status if record else "not trained"
        groups.setdefault(why, []).append(run)
    return [f"{'; '.join(map(label, runs))}: {advice(why, runs, pair, options)}" for why, runs in groups.items()]


def advice(why: str, runs: Sequence[Run], pair: Pair, options: Options) -> str:
    """The reason why runs have no weights and, where it can help, the command that trains them."""
    methods = ",".join(dict.fromkeys(run.method for run in runs))
    parts = ["python", "-m", "benchmark", "run", options.suite, "-p", f"{pair.teacher.student}-{pair.student}"]
    parts += ["-m", methods, "--seeds", str(runs[0].seed), *options.suite_changes]
    if why == "done":  # without --again `run` skips runs that have a record
        parts.append("--again")
        why = "there is a record, but the weights are not stored"
    if options.results != Path("results"):
        parts += ["--results", str(options.results)]
    return why if ":" in why else f"{why}: {shlex.join(parts)}"


def label(run: Run) -> str:
    """A run's method, followed by its knobs that are not at their defaults."""
    defaults = resolve.resolve_knobs(run.method, {})
    changed = [f"{knob} {value}" for knob, value in run.knobs.items() if value != defaults.get(knob)]
    return ", ".join([run.method, *changed])
