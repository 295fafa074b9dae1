"""The suite file that tuning writes: each method at its best setting, judged on the test images, with fresh seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmark.errors import BadInput, printable
from benchmark.experiment.run import MAX_SEED, Recipe, Run
from benchmark.experiment.study import Study
from benchmark.experiment.suite import Pair, Suite
from benchmark.files import file_problem, write_atomic
from benchmark.report.formatting import count_of
from benchmark.tuning.trials import Planned, study_labels

HEADER = "# Written by `python -m benchmark tune`: every method at its best setting on held-out training images.\n"
MIN_SEEDS = 3
Settings = dict[str, dict[Pair, list[dict[str, Any]]]]  # method -> pair -> its settings: knob -> value


def check_target(path: Path) -> None:
    """Raises BadInput unless a suite can be written to `path`; only a file that tuning wrote is replaced."""
    if path.suffix not in (".yaml", ".yml"):
        raise BadInput(f"--tuned {path}: a suite's file ends in .yaml; give another name")
    if not path.parent.is_dir():
        raise BadInput(f"--tuned {path}: there is no folder {path.parent}; make it, or name another file")
    if not path.exists():
        return
    if problem := file_problem(path):
        raise BadInput(f"--tuned {path}: {problem}; name another file")
    if not path.read_bytes().startswith(HEADER.encode()):
        raise BadInput(f"--tuned {path} exists and was not written by `tune`; name another file")


def write_suite(path: Path, suite: Suite, planned: Sequence[Planned], scores: Mapping[str, float]) -> None:
    """Write the suite that runs the studies' best settings; scores: run id -> top-1 accuracy on held-out images."""
    notes, labels = [], study_labels([study for study, _ in planned])
    for label, (study, runs) in zip(labels, planned, strict=True):
        pairs = on_pairs(suite, runs)
        where = f" on {', '.join(map(str, pairs))}" if len(pairs) < len(suite.pairs) else ""
        notes.append(f"# {describe_choice(study, f'{label}{where}', scores)}\n")
    value = suite_value(suite, settings_by_pair(suite, planned, scores))
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    write_atomic(path, "".join([HEADER, *notes, text]).encode())


def check_expressible(suite: Suite, planned: Sequence[Planned]) -> None:
    """Raises BadInput where a suite could not have the best settings: several of a method, other ones by pair."""
    for method, by_pair in settings_by_pair(suite, planned, {}).items():
        lists = list(by_pair.values())
        if any(own != lists[0] for own in lists) and max(map(len, lists)) > 1:
            raise BadInput(
                f"{method} has several settings in `knobs` and values in `pair_knobs`: leave one setting, or no "
                "`pair_knobs`, in a copy of the suite, and tune that"
            )


def settings_by_pair(suite: Suite, planned: Sequence[Planned], scores: Mapping[str, float]) -> Settings:
    """The best settings of each method on each pair; without scores those of the suite."""
    found: Settings = {}
    for study, runs in planned:
        setting = study.knobs | study.trials[study.best(scores) or 0].values
        for pair in on_pairs(suite, runs):
            own = found.setdefault(study.method, {}).setdefault(pair, [])
            own += [setting] if setting not in own else []
    return found


def on_pairs(suite: Suite, trials: Sequence[Sequence[Run]]) -> list[Pair]:
    """The pairs of a study's runs; those without a teacher are of every pair of their student."""
    networks = {(run.teacher and run.teacher.student, run.student) for run in trials[0]}
    return [pair for pair in suite.pairs if networks & {(pair.teacher, pair.student), (None, pair.student)}]


def describe_choice(study: Study, name: str, scores: Mapping[str, float]) -> str:
    """One line on what was chosen for a study, and among how many trials; name: its method, and its own pairs."""
    trials, number = count_of(len(study.trials), "trial"), study.best(scores)
    if not study.spaces:
        outcome = "nothing to tune"
    elif number is None:
        outcome = f"{trials}, none with a result: as the suite has it"
    else:
        values = json.dumps(study.trials[number].values)
        outcome = f"{trials}, best is number {number}: {values}" + ", the suite's own" * (number == 0)
    return printable(f"{name}: {outcome}")


def suite_value(suite: Suite, settings: Settings) -> dict[str, Any]:
    """The contents of the file: the suite with these settings, the judge "test", and seeds that tuning has not used."""
    fresh = max(suite.seeds) + 1
    last = min(fresh + max(MIN_SEEDS, len(suite.seeds)) - 1, MAX_SEED)
    if fresh > last:
        raise BadInput(f"there is no seed above {max(suite.seeds)}, which tuning uses: give smaller --seeds")
    return {
        "title": f"{suite.title}, tuned",
        "about": suite.about,
        "dataset": list(suite.dataset),
        "judge": "test",
        "pairs": [str(pair) for pair in suite.pairs],
        "methods": list(settings) or suite.methods,
        **knob_values(settings),
        "recipe": recipe_value(suite.recipe),
        "teacher": recipe_value(suite.teacher),
        "lr": dict(suite.lr),
        "seeds": f"{fresh}-{last}",
        "teacher_seeds": list(suite.teacher_seeds),
    }


def knob_values(settings: Settings) -> dict[str, Any]:
    """The keys `knobs` and `pair_knobs`: what a method has on every pair, and what differs between them."""
    knobs, pair_knobs = {}, {}
    for method, by_pair in settings.items():
        (first, *others) = by_pair.values()
        shared = {knob: v for knob, v in first[0].items() if all(own[0].get(knob) == v for own in others)}
        same = all(own == first for own in others)
        knobs[method] = first if same else [shared]
        for pair, (own, *_) in () if same else by_pair.items():
            differing = {knob: value for knob, value in own.items() if knob not in shared}
            pair_knobs.setdefault(str(pair), {})[method] = differing
    knobs = {method: own for method, own in knobs.items() if any(own)}
    return {"knobs": knobs} | ({"pair_knobs": pair_knobs} if pair_knobs else {})


def recipe_value(recipe: Recipe) -> dict[str, Any]:
    """A recipe with every field, so that nothing is inherited."""
    return {"optimiser": recipe.optimiser} | recipe.model_dump(mode="json")
