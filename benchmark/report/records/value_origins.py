"""Where the values of a run come from, as its record says: a default, a suite, an option, a trial of tuning."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.experiment.study import TRIAL_ORIGIN
from benchmark.report.records.entries import Entry


def origins(entry: Entry) -> dict[str, str]:
    """Path of a value of the run -> its origin; empty for old records, which have none."""
    recorded = entry.provenance("origin")
    return {str(path): str(source) for path, source in recorded.items()} if isinstance(recorded, dict) else {}


def closest_origin(path: str, recorded: Mapping[str, str]) -> str | None:
    """The origin of a value or of the closest enclosing one (recipe.schedule.at: recipe.schedule); None: neither."""
    while path and path not in recorded:
        path = path.rpartition(".")[0]
    return recorded.get(path)


def user_set_knobs(entry: Entry) -> set[str]:
    """The knobs whose values come from the option `--set` or a trial of `tune`, not from a suite or a default."""
    recorded = origins(entry)
    found = {knob: recorded.get(f"knobs.{knob}", "") for knob in entry.run.knobs}
    return {knob for knob, text in found.items() if text == "--set" or text.endswith(TRIAL_ORIGIN)}
