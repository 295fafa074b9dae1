"""The command `report --watch`: rebuild the report whenever one of its input files changes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmark.errors import BadInput, printable
from benchmark.report.build import build
from benchmark.report.formatting import count_of
from benchmark.report.loading import Loaded, load_for_report, warn_once
from benchmark.store import Store

FOLDERS = ("records", "teachers", "predictions", "features")  # of the results: the folders that a report reads
INTERVAL = 5.0  # seconds between two checks

State = dict[str, tuple[int, int]]  # file -> (modification time in ns, size in bytes)


def watch(results: Path, out: Path, seconds: float = INTERVAL, **options: Any) -> None:
    """Build the report now and after every change, until Ctrl-C; print a line for each build.

    While there are no records, the report stays as it is.  seconds: between two checks; options: further arguments of
    `build`.  Raises BadInput if the first report cannot be built.
    """
    store, known = Store(results), {}
    changed_files(store, known)
    changes, loaded, warn = "first", load_for_report(store), warn_once()
    print(f"watching {results}; stop with Ctrl-C", flush=True)
    try:
        while True:
            if changes:
                outcome = rebuild(store, out, loaded, warn, options)
                print(f"{datetime.now():%H:%M:%S} {printable(outcome)} ({changes})", flush=True)
            time.sleep(seconds)
            changes, loaded = describe_changes(changed_files(store, known)), None
    except KeyboardInterrupt:
        print(f"stopped; the report is in {out}", flush=True)


def rebuild(store: Store, out: Path, loaded: Loaded | None, warn: Callable, options: dict[str, Any]) -> str:
    """Build the report; returns its place, or why the one before stays.  Raises BadInput if records were loaded."""
    try:
        found = loaded or load_for_report(store)
        warn(found[1])
        return f"report: {build(store, out, loaded=found, warn=warn, **options)}"
    except BadInput as fault:
        if loaded:
            raise
        return f"the report stays as it is: {fault}"


def changed_files(store: Store, known: State) -> list[str]:
    """The files that were added, changed or removed compared with `known`, which is updated."""
    now = file_state(store)
    changed = sorted(name for name in now.keys() | known.keys() if now.get(name) != known.get(name))
    known.clear()
    known.update(now)
    return changed


def file_state(store: Store) -> State:
    """The state of the files that a report reads; names that begin with a dot are files still being written."""
    state = {}
    for path in (path for folder in FOLDERS for path in (store.root / folder).glob("[!.]*")):
        try:
            facts = path.stat()
        except FileNotFoundError:  # removed in the meantime
            continue
        state[path.relative_to(store.root).as_posix()] = (facts.st_mtime_ns, facts.st_size)
    return state


def describe_changes(names: list[str]) -> str:
    """The number of changed files in words; "" for none."""
    records = sum(name.endswith(".json") for name in names)
    if records:
        return f"{count_of(records, 'record')} changed"
    return f"{count_of(len(names), 'file')} changed" if names else ""
