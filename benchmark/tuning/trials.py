"""The trials of a suite's methods: which settings are tried, and their runs.

Settings are the points of a Halton sequence, shifted by random numbers: they fill a space of one or several knobs
evenly, whatever their number, and further trials leave the earlier ones as they are.

J. H. Halton, On the efficiency of certain quasi-random sequences of points, Numer. Math. 2 (1960);
R. Cranley & T. N. L. Patterson, Randomization of number theoretic methods, SIAM J. Numer. Anal. 13 (1976).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scipy.stats import qmc

from benchmark.errors import BadInput
from benchmark.experiment.knobs import resolve_knobs
from benchmark.experiment.run import Run
from benchmark.experiment.study import Space, Study, Trial
from benchmark.report.formatting import describe_same_named, flatten
from benchmark.tuning.spaces import Asked, declared_spaces, rounded

POINTS_PER_TRIAL = 64  # points of the sequence that are looked at for each trial before values are said to run out

Planned = tuple[Study, list[list[Run]]]  # a study, and the runs of each of its trials


def plan_studies(runs: Sequence[Run], suite: str, asked: Asked, count: int, seed: int) -> list[Planned]:
    """A study with `count` trials for every method and setting of the runs; one trial where there is nothing to tune.

    Pairs with values of their own in `pair_knobs` are a setting each, hence a study.

    suite: its name as records keep it.  Raises BadInput if a space has too few values.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.method, json.dumps(run.knobs, sort_keys=True)), []).append(run)
    return [plan_study(own, suite, asked, count, seed) for own in groups.values()]


def plan_study(runs: Sequence[Run], suite: str, asked: Asked, count: int, seed: int) -> Planned:
    """The study of one setting of a method; runs: those of the suite that have it."""
    method, knobs = runs[0].method, runs[0].knobs
    spaces = asked.get(method) or declared_spaces(method, knobs)
    values = trial_values(method, spaces, {space.knob: knobs[space.knob] for space in spaces}, count, seed)
    found = [[with_knobs(run, own) for run in runs] for own in values]
    trials = [Trial(values=own, ids=[run.id for run in each]) for own, each in zip(values, found, strict=True)]
    return Study(suite=suite, method=method, knobs=knobs, spaces=spaces, seed=seed, trials=trials), found


def study_labels(studies: Sequence[Study]) -> list[str]:
    """The method of each study; where studies have one method, with the knobs beside the tuned ones that differ."""
    names = [study.method for study in studies]
    differences = describe_same_named(names, [*map(fixed_knobs, studies)])
    return [f"{name}, {own}" if own else name for name, own in zip(names, differences, strict=True)]


def fixed_knobs(study: Study) -> dict[str, str]:
    """The knobs that all trials have in common, as text."""
    tuned = {space.knob for space in study.spaces}
    return flatten({knob: value for knob, value in study.knobs.items() if knob not in tuned})


def with_knobs(run: Run, values: Mapping[str, Any]) -> Run:
    """The run with other values of some knobs, checked as those of a suite are."""
    return run.model_copy(update={"knobs": resolve_knobs(run.method, run.knobs | values)})


def trial_values(
    method: str, spaces: Sequence[Space], first: dict[str, Any], count: int, seed: int
) -> list[dict[str, Any]]:
    """`count` different settings: `first`, then points of the sequence.  Without spaces only `first`."""
    found = [first]
    if spaces:
        for values in sequence(spaces, count * POINTS_PER_TRIAL, seed):
            if len(found) == count:
                break
            if values not in found:
                found.append(values)
        if len(found) < count:
            ranges = ", ".join(f"{method}.{space.knob}={space.low:g}..{space.high:g}" for space in spaces)
            raise BadInput(f"{ranges} has fewer than {count} values: widen the range with --knob, or lower --trials")
    return found


def sequence(spaces: Sequence[Space], count: int, seed: int) -> Iterator[dict[str, Any]]:
    """The first `count` points of the shifted sequence, as values of the spaces' knobs."""
    stream = random.Random(seed)
    shifts = [stream.random() for _ in spaces]
    for point in qmc.Halton(len(spaces), scramble=False).random(count):
        units = [(float(each) + shift) % 1 for each, shift in zip(point, shifts, strict=True)]
        yield {space.knob: value_at(space, unit) for space, unit in zip(spaces, units, strict=True)}


def value_at(space: Space, unit: float) -> int | float:
    """The value of a space at `unit`, 0 to 1; floats to three significant digits."""
    low, high = (space.low - 0.5, space.high + 0.5) if space.whole else (space.low, space.high)
    value = low * (high / low) ** unit if space.log else low + (high - low) * unit
    value = min(max(round(value) if space.whole else rounded(value), space.low), space.high)
    return int(value) if space.whole else float(value)
