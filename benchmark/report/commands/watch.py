"""The command `report --watch`: rebuild the report whenever one of its input files changes."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmark.report.build import build
from benchmark.report.formatting import count_of
from benchmark.store import Store

FOLDERS = ("records", "teachers", "predictions", "features")  # of the results: the folders that a report reads
INTERVAL = 5.0  # seconds between two checks

State = dict[str, tuple[int, int]]  # file -> (modification time in ns, size in bytes)


def watch(results: Path, out: Path, seconds: float = INTERVAL, **options: Any) -> None:
    """Build the report now and after every change, until Ctrl-C; print a line for each build.

    seconds: between two checks; options: further arguments of `build`.
    """
    store, known = Store(results), {}
    changed_files(store, known)
    changes = "first"
    print(f"watching {results}; stop with Ctrl-C", flush=True)
    try:
        while True:
            if changes:
                print(f"{datetime.now():%H:%M:%S} report: {build(store, out, **options)} ({changes})", flush=True)
            time.sleep(seconds)
            changes = describe_changes(changed_files(store, known))
    except KeyboardInterrupt:
        print(f"stopped; the report is in {out}", flush=True)


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
