"""Load what a report of a folder of results shows: the runs that have records, and those of a sweep in progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from pydantic import ValidationError

from benchmark.errors import BadInput, printable
from benchmark.experiment.error_text import explain
from benchmark.experiment.run import Run
from benchmark.files import UnreadableFile
from benchmark.report.records.entries import Entry, require_entries
from benchmark.store import PLAN, Store

Loaded = tuple[list[Entry], list[str]]  # entries, and a sentence for each file that cannot be read


def load_for_report(store: Store) -> Loaded:
    """What a report of the store shows, with the runs of a sweep in progress.

    Raises BadInput if there is nothing to report on: an earlier report must not be replaced by an empty one.
    """
    root, hint = store.root, "name a folder of results with --results"
    if not root.is_dir():
        raise BadInput(f"{root} is not there; {hint}")
    try:
        list(root.iterdir())
    except OSError as fault:
        raise BadInput(f"{root} cannot be read ({fault.strerror}); mend its permissions or {hint}") from fault
    return with_plan(store, require_entries)


def with_plan(store: Store, load: Callable[..., Loaded], plan: Sequence[Run] | None = None) -> Loaded:
    """What `load` returns for a store with the runs of a plan, by default of a sweep in progress."""
    runs, unreadable = (plan, []) if plan else planned_runs(store)
    entries, complaints = load(store, runs)
    return entries, [*complaints, *unreadable]


def planned_runs(store: Store) -> tuple[list[Run], list[str]]:
    """The runs of a sweep in progress, and a sentence if its plan cannot be read."""
    try:
        return [Run.model_validate(run) for run in store.planned()], []
    except (UnreadableFile, ValidationError) as fault:
        why = f"{store.root / PLAN}: not the plan of a sweep, so runs without a record are left out ({explain(fault)})"
        return [], [f"{why}; remove it, or start the sweep again"]


def warn_once() -> Callable[[Iterable[str]], None]:
    """A function that prints sentences to stderr, each one only the first time."""
    said: set[str] = set()

    def warn(sentences: Iterable[str]) -> None:
        for sentence in [each for each in dict.fromkeys(sentences) if each not in said]:
            print(printable(sentence), file=sys.stderr)
            said.add(sentence)

    return warn
