"""The suite file that tuning writes: each method at its best setting, judged on the test images, with fresh seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmark.errors import BadInput, printable
from benchmark.experiment.run import MAX_SEED, Recipe
from benchmark.experiment.study import Study
from benchmark.experiment.suite import Suite
from benchmark.files import file_problem, write_atomic
from benchmark.report.formatting import count_of

HEADER = "# Written by `python -m benchmark tune`: every method at its best setting on held-out training images.\n"
MIN_SEEDS = 3


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


def write_suite(path: Path, suite: Suite, studies: Sequence[Study], scores: Mapping[str, float]) -> None:
    """Write the suite that runs the studies' best settings; scores: run id -> top-1 accuracy on held-out images."""
    knobs: dict[str, list[dict[str, Any]]] = {}
    notes = []
    for study in studies:
        number = study.best(scores) or 0
        own = knobs.setdefault(study.method, [])
        setting = study.knobs | study.trials[number].values
        own += [setting] if setting not in own else []
        notes.append(f"# {describe_choice(study, scores)}\n")
    value = suite_value(suite, knobs)
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120)
    write_atomic(path, "".join([HEADER, *notes, text]).encode())


def describe_choice(study: Study, scores: Mapping[str, float]) -> str:
    """One line on what was chosen for a study, and among how many trials."""
    trials, number = count_of(len(study.trials), "trial"), study.best(scores)
    if not study.spaces:
        outcome = "nothing to tune"
    elif number is None:
        outcome = f"{trials}, none with a result: as the suite has it"
    else:
        values = json.dumps(study.trials[number].values)
        outcome = f"{trials}, best is number {number}: {values}" + ", the suite's own" * (number == 0)
    return printable(f"{study.method}: {outcome}")


def suite_value(suite: Suite, knobs: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The contents of the file: the suite with these knobs, the judge "test", and seeds that tuning has not used."""
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
        "methods": list(knobs) or suite.methods,
        "knobs": {method: settings for method, settings in knobs.items() if any(settings)},
        "recipe": recipe_value(suite.recipe),
        "teacher": recipe_value(suite.teacher),
        "lr": dict(suite.lr),
        "seeds": f"{fresh}-{last}",
        "teacher_seed": suite.teacher_seed,
    }


def recipe_value(recipe: Recipe) -> dict[str, Any]:
    """A recipe with every field, so that nothing is inherited."""
    return {"optimiser": recipe.optimiser} | recipe.model_dump(mode="json")
