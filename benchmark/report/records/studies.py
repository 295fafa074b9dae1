"""The studies of `tune` in a report: which records are trials, and each study with the entries of its trials' runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import ValidationError

from benchmark.experiment.error_text import explain
from benchmark.experiment.run import Run
from benchmark.experiment.study import FOLDER, Study
from benchmark.files import file_problem
from benchmark.report.formatting import describe_differences, disambiguate, flatten
from benchmark.report.records.cells import Terms
from benchmark.report.records.entries import Entry
from benchmark.report.records.labels import Key
from benchmark.report.records.names import protocol_labels, protocol_names
from benchmark.report.records.protocols import run_terms
from benchmark.store import Store

MAX_BYTES = 100_000_000  # of a study's file


@dataclass(frozen=True)  # without slots: cached_property needs a __dict__
class TunedMethod:
    """A study, its label, and the entries of the trials' runs that the report has, by id."""

    study: Study
    label: str
    entries: Mapping[str, Entry]

    @cached_property
    def scores(self) -> dict[str, float]:
        """Run id -> top-1 accuracy on held-out images, a fraction; of the runs that are done."""
        return {id: entry.score("top1") for id, entry in self.entries.items() if entry.state == "done"}

    @cached_property
    def best(self) -> int | None:
        """The number of the best trial; None where there was nothing to tune, or no trial has its results."""
        return self.study.best(self.scores) if self.study.spaces else None

    @cached_property
    def pairs(self) -> tuple[str, ...]:
        """The labels of its pairs, in the suite's order."""
        return tuple(dict.fromkeys(self.pair_label(entry.run) for entry in self.in_order))

    @property
    def in_order(self) -> list[Entry]:
        """The entries in the order of trials and, in a trial, of the suite's runs."""
        ids = [id for trial in self.study.trials for id in trial.ids]
        return [self.entries[id] for id in ids if id in self.entries]

    def pair_label(self, run: Run) -> str:
        """TEACHER-STUDENT of a run, or the student alone; with the data set where the study has several."""
        name = f"{run.teacher.student}-{run.student}" if run.teacher else run.student
        several = len({entry.run.data_label for entry in self.entries.values()}) > 1
        return f"{name}, {run.data_label}" if several else name

    def runs_of(self, number: int, pair: str) -> list[Entry]:
        """The entries of a trial on one pair, one for each seed."""
        found = [self.entries[id] for id in self.study.trials[number].ids if id in self.entries]
        return [entry for entry in found if self.pair_label(entry.run) == pair]

    def accuracies(self, number: int, pair: str) -> list[float]:
        """The held-out accuracy of each seed of a trial on one pair, as fractions."""
        runs = self.runs_of(number, pair)
        return [self.scores[entry.run.id] for entry in runs if entry.run.id in self.scores]


def read_studies(store: Store) -> tuple[list[Study], list[str]]:
    """The studies of a folder of results in order of file name, and a sentence for each file that cannot be read."""
    studies, complaints = [], []
    for path in sorted((store.root / FOLDER).glob("[!.]*.json")):
        try:
            if problem := file_problem(path, MAX_BYTES):
                raise ValueError(problem)
            studies.append(Study.model_validate_json(path.read_bytes()))
        except (OSError, ValueError) as fault:
            why = explain(fault) if isinstance(fault, ValidationError) else " ".join(f"{fault}".split())
            complaints.append(f"{path}: not what `tune` writes, left out ({why})")
    return studies, complaints


def without_trials(entries: Sequence[Entry], studies: Iterable[Study]) -> list[Entry]:
    """The entries that are no trials; teachers that only trials learn from are left out as well."""
    ids = {id for study in studies for trial in study.trials[study.judge == "holdout" :] for id in trial.ids}
    trials = [entry for entry in entries if entry.run.id in ids and entry.run.judge == "holdout"]
    ids = {entry.run.id for entry in trials}
    rest = [entry for entry in entries if entry.run.id not in ids]
    unused = teachers_of(trials) - teachers_of(rest)
    return [entry for entry in rest if not (entry.run.id in unused and entry.run.judge == "holdout")]


def teachers_of(entries: Iterable[Entry]) -> set[str]:
    """The ids of the entries' teachers."""
    return {entry.run.teacher.id for entry in entries if entry.run.teacher}


@dataclass(frozen=True, slots=True)
class StudyGroup:
    """The studies that stand in one table: their runs have data set, judge and recipe in common."""

    title: str
    name: str  # that its files begin with
    methods: list[TunedMethod]


def group_studies(studies: Sequence[Study], entries: Iterable[Entry]) -> list[StudyGroup]:
    """The studies with a result, grouped, in order of title and label; those of one method differ in label."""
    known = {entry.run.id: entry for entry in entries}
    groups: dict[Terms, list[tuple[Study, dict[str, Entry]]]] = {}
    for study in studies:
        own = {id: known[id] for trial in study.trials for id in trial.ids if id in known}
        if any(entry.state == "done" for entry in own.values()):
            groups.setdefault(run_terms(next(iter(own.values())).run), []).append((study, own))
    members = {terms: [entry for _, own in found for entry in own.values()] for terms, found in groups.items()}
    titles = protocol_labels({(terms, ()): runs for terms, runs in members.items()})
    judged = {suite_key(members[terms], found[0][0].judge): terms for terms, found in groups.items()}
    names = {judged[key]: name for key, name in protocol_names({key: members[t] for key, t in judged.items()}).items()}
    trials = {id for study in studies for trial in study.trials for id in trial.ids}
    others = [entry.run for entry in known.values() if entry.run.id not in trials]
    labelled = {terms: label_studies(found, others) for terms, found in groups.items()}
    result = [StudyGroup(title, f"{names[t]}-tuning", labelled[t]) for title, t in zip(titles, groups, strict=True)]
    return sorted(result, key=lambda group: group.title)


def suite_key(members: Sequence[Entry], judge: str) -> Key:
    """The protocol of trials as their suite has it, scored on the suite's own judge; it names their files."""
    taught = [entry.run.teacher for entry in members if entry.run.teacher]
    terms = [run_terms(members[0].run), run_terms(taught[0]) if taught else ()]
    students, teachers = (tuple((term, judge if term == "judge" else value) for term, value in each) for each in terms)
    return students, teachers


def label_studies(found: Collection[tuple[Study, dict[str, Entry]]], others: Iterable[Run]) -> list[TunedMethod]:
    """The studies of a group with labels: the method, and the knobs in which studies of it differ.

    others: runs that are no trials; a method that they have in several settings is labelled as in other tables, by the
    knobs in which its study differs from them, tuned knobs aside.
    """
    labels, others = [], list(others)
    for study, own in found:
        rivals = [other for other, _ in found if other.method == study.method]
        traits = [flatten(other.knobs) | flatten({"tuned": [s.knob for s in other.spaces]}) for other in rivals]
        mine = traits[rivals.index(study)]
        tuned = {name: mine.get(name) for name in ("tuned", *(space.knob for space in study.spaces))}
        beside = [flatten(run.knobs) | tuned for run in others if is_beside(run, next(iter(own.values())).run)]
        difference = describe_differences([*traits, *beside], count_missing=True)[rivals.index(study)]
        labels.append(f"{study.method}, {difference}" if difference else study.method)
    labels = disambiguate(labels, [study.name for study, _ in found])
    named = [TunedMethod(study, label, own) for label, (study, own) in zip(labels, found, strict=True)]
    return sorted(named, key=lambda each: each.label)


def is_beside(run: Run, trial: Run) -> bool:
    """Whether a run is of the method, networks, data set and recipe of a trial."""
    teachers = [each.teacher and each.teacher.student for each in (run, trial)]
    one, other = ((each.method, each.student, each.data_label, each.recipe) for each in (run, trial))
    return one == other and teachers[0] == teachers[1]
