"""The table of tuning: each method as published beside the best of its trials, on held-out and on test images."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd
from scipy.stats import kendalltau

from benchmark.experiment.run import Run
from benchmark.report.formatting import MISSING, count_of, format_percent, format_value
from benchmark.report.records.entries import Entry
from benchmark.report.records.studies import StudyGroup, TunedMethod
from benchmark.report.records.value_origins import origins
from benchmark.report.statistics.summary import rounded, summarise
from benchmark.report.tables.table import Table, TableCell, TableLine

CAPTION = (
    "As published: the suite’s values, which are the authors’ unless the suite says otherwise. Tuned: of the given "
    "number of trials, the published one among them, the setting with the best mean over pairs and seeds on images "
    "held out of the training set; one call of `tune` gives every method equally many. The held-out accuracy of the "
    "tuned setting is that of the best of several, and so too high. Test: runs with these settings that were trained "
    "on all training images and scored on the test images, on whatever seeds they have. Top-1 in percent after the "
    "last epoch, mean ± sd."
)
HEADS = ("setting", "values", "held-out top-1", "test top-1")


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of the table: a method at one setting on one pair."""

    method: TunedMethod
    pair: str
    number: int  # of the trial
    setting: str  # as published, or tuned and among how many

    @property
    def values(self) -> str:
        """The values of the tuned knobs as text."""
        values = self.method.study.trials[self.number].values
        return ", ".join(f"{knob} {format_value(value)}" for knob, value in values.items()) or MISSING


def tuning_table(group: StudyGroup, entries: Iterable[Entry]) -> Table:
    """The table of a group of studies; entries: all of the report, among them the runs on test images."""
    tested: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.state == "done" and entry.run.judge == "test":
            tested.setdefault(setting_key(entry.run), []).append(entry)
    lines, tidy = [], []
    for choice in choices(group.methods):
        held_out = [entry for entry in choice.method.runs_of(choice.number, choice.pair) if entry.state == "done"]
        test = tested.get(setting_key(held_out[0].run), []) if held_out else []
        cells = (TableCell(choice.setting), TableCell(choice.values), accuracy(held_out), accuracy(test))
        lines.append(TableLine(choice.method.label, cells, choice.pair))
        tidy.append(tidy_line(group.title, choice, held_out, test))
    frame = pd.DataFrame(tidy)
    return Table(
        name=group.name,
        title=f"As published and tuned · {group.title}",
        caption=" ".join([CAPTION, *order_sentences(frame)]),
        heads=HEADS,
        lines=tuple(lines),
        tidy=frame,
    )


def order_sentences(tidy: pd.DataFrame) -> list[str]:
    """For each pair of networks, how many pairs of tuned rows change their order; tidy: the lines of the CSV.

    With Kendall’s tau-b, which allows for ties.  Nothing where fewer than three rows have both accuracies.
    """
    found = []
    for (pair, images), scores in scores_of_both(tidy).items():
        if len(scores) > 2:
            before, after = zip(*scores, strict=True)
            both = list(combinations(scores, 2))
            changed = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in both)
            tau = kendalltau(before, after).statistic  # no number where one column has a single value
            agreement = "" if math.isnan(tau) else f" (Kendall’s tau between both orders {tau:.2f})"
            found.append(
                f"{pair}, {images}: of the {len(both)} pairs of the {len(scores)} tuned rows, "
                f"tuning reverses {changed}{agreement}."
            )
    return found


def scores_of_both(tidy: pd.DataFrame) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(Pair of networks, kind of images) -> top-1 as published and tuned, of every row that has both."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for (pair, _), lines in tidy.groupby(["pair", "row"], sort=False):
        for column, images in (("held_out_top1", "held-out images"), ("test_top1", "test images")):
            scores = tuple(map(rounded, lines[column].dropna()))  # so that equal means compare equal
            if len(scores) == 2:
                found.setdefault((str(pair), images), []).append(scores)
    return found


def choices(methods: Sequence[TunedMethod]) -> list[Choice]:
    """The lines of the table in order: pair by pair, each method as published and, if it was tuned, tuned."""
    found = []
    for pair in dict.fromkeys(pair for method in methods for pair in method.pairs):
        for method in (method for method in methods if pair in method.pairs):
            found.append(Choice(method, pair, 0, first_setting(method)))
            if method.best is not None:
                trials = count_of(len(method.study.trials), "trial")
                found.append(Choice(method, pair, method.best, f"tuned, {trials}"))
    return found


def first_setting(method: TunedMethod) -> str:
    """What the first trial is called: as published, unless the user gave a tuned knob another value."""
    first = method.study.trials[0]
    recorded = [origins(method.entries[id]) for id in first.ids if id in method.entries]
    changed = any(each.get(f"knobs.{knob}") == "--set" for each in recorded for knob in first.values)
    return "as set" if changed else "as published"


def setting_key(run: Run) -> str:
    """What a run has in common with the runs of the same setting on other seeds and judges, as text."""
    teacher = run.teacher.model_dump(mode="json", exclude={"seed", "judge", "teacher"}) if run.teacher else None
    own = run.model_dump(mode="json", exclude={"seed", "judge", "teacher"})
    return json.dumps([own, teacher], sort_keys=True)


def accuracy(entries: Sequence[Entry]) -> TableCell:
    """Mean ± sd of the entries' top-1 in percent, with n."""
    summary = summarise(entry.score("top1") for entry in entries)
    if summary is None:
        return TableCell(MISSING)
    spread = "" if summary.sd is None else f" ± {format_percent(summary.sd)}"
    names = " ".join(entry.name for entry in entries)
    return TableCell(f"{format_percent(summary.mean)}{spread}", f"n = {summary.n}", records=names)


def tidy_line(title: str, choice: Choice, held_out: Sequence[Entry], test: Sequence[Entry]) -> dict[str, object]:
    """The line of the CSV, numbers unrounded."""
    study = choice.method.study
    found: dict[str, object] = {
        "protocol": title,
        "pair": choice.pair,
        "row": choice.method.label,
        "method": study.method,
        "setting": choice.setting,
        "trial": choice.number,
        "trials": len(study.trials),
        "values": json.dumps(study.trials[choice.number].values, sort_keys=True),
    }
    for name, entries in (("held_out", held_out), ("test", test)):
        summary = summarise(entry.score("top1") for entry in entries)
        found |= {
            f"{name}_n": summary.n if summary else 0,
            f"{name}_top1": summary.mean if summary else None,
            f"{name}_sd": summary.sd if summary else None,
            f"{name}_records": " ".join(entry.name for entry in entries),
        }
    return found
