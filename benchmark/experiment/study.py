"""A study: one setting of a method, tuned by trials that are runs judged on held-out training images; and its file.

Trial 0 has the values that the suite gives, the author's unless it says otherwise.  Does not import torch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from benchmark.experiment.run import Frozen, Judge, Run

FOLDER = "tuning"  # of the results folder: one file for each study
TRIAL_ORIGIN = "of `tune`"  # how a record's text on the origin of a knob's value ends


def trial_settings(run: Run, origin: Mapping[str, str]) -> list[str]:
    """METHOD.KNOB=VALUE, as --set takes it, for the knobs of a run that tuning has set; origin: of the run's record."""
    knobs = [path.removeprefix("knobs.") for path, text in origin.items() if f"{text}".endswith(TRIAL_ORIGIN)]
    return [f"{run.method}.{knob}={json.dumps(run.knobs[knob])}" for knob in knobs if knob in run.knobs]


class Space(Frozen):
    """The values of one knob that are tried: from `low` to `high`, evenly in the value or in its logarithm."""

    knob: str  # as the method names it; of a composition "kd.alpha"
    low: float
    high: float
    log: bool = False
    whole: bool = False  # whether the knob takes whole numbers only


class Trial(Frozen):
    """One setting of the tuned knobs, and the ids of its runs: one for each run of the suite that is tuned."""

    values: dict[str, Any]
    ids: tuple[str, ...]


class Study(Frozen):
    """A method's setting, the spaces of its tuned knobs, and the trials; all trials list their runs in one order."""

    schema_: Literal[1] = Field(1, alias="schema")
    suite: str  # as records name it
    judge: Judge = "test"  # the suite's own; if "holdout", trial 0 belongs to the suite's tables as well
    method: str
    knobs: dict[str, Any]  # of trial 0, defaults included
    spaces: tuple[Space, ...]  # none: there is nothing to tune
    seed: int  # of the sequence of trials
    trials: tuple[Trial, ...] = Field(min_length=1)

    @property
    def name(self) -> str:
        """The name of its file, without suffix: the same for any number of trials, so that more of them replace it."""
        spaces = [space.model_dump() for space in self.spaces]
        key = json.dumps([self.trials[0].ids, spaces, self.seed], sort_keys=True)
        return f"{self.method}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"

    def text(self) -> str:
        """The contents of its file; equal studies give equal text."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, sort_keys=True) + "\n"

    def best(self, scores: Mapping[str, float]) -> int | None:
        """The number of the trial with the highest mean score; of equal ones the first, so that trial 0 wins a tie.

        scores: run id -> top-1 accuracy, a fraction.  A trial that lacks a score which another trial has in its place
        is out of the choice, as after a run that diverged.  None if no trial is left.
        """
        scored = [place for place in range(len(self.trials[0].ids)) if any(t.ids[place] in scores for t in self.trials)]
        means = {}
        for number, trial in enumerate(self.trials):
            own = [scores.get(trial.ids[place]) for place in scored]
            if own and None not in own:
                means[number] = math.fsum(own) / len(own)
        return max(means, key=means.get) if means else None
