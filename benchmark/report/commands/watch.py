"""The report kept up to date while a sweep runs: rebuilt whenever what it rests on has changed."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmark.report.build import build
from benchmark.report.formatting import count_of
from benchmark.store import Store

FOLDERS = ("records", "teachers", "predictions", "features")  # what a report reads
SECONDS = 5.0  # between two looks

State = dict[str, tuple[int, int]]  # file -> when it was written (ns), bytes


def watch(results: Path, out: Path, every: float = SECONDS, **wishes: Any) -> None:
    """Rebuild the report now and after every change, a line for each, until Ctrl-C.  wishes: for `report.build`."""
    store, seen = Store(results), {}
    changed_files(store, seen)
    news = "first"
    print(f"watching {results}; Ctrl-C ends it", flush=True)
    try:
        while True:
            if news:
                print(f"{datetime.now():%H:%M:%S} report: {build(store, out, **wishes)} ({news})", flush=True)
            time.sleep(every)
            news = describe_changes(changed_files(store, seen))
    except KeyboardInterrupt:
        print(f"stopped; the report in {out} stands", flush=True)


def changed_files(store: Store, seen: State) -> list[str]:
    """The files that are new, other or gone since `seen`, which is brought up to date."""
    now = file_state(store)
    found = sorted(name for name in now.keys() | seen.keys() if now.get(name) != seen.get(name))
    seen.clear()
    seen.update(now)
    return found


def file_state(store: Store) -> State:
    """The files that a report reads, without those still being written: their names begin with a dot."""
    found = {}
    for path in (path for folder in FOLDERS for path in (store.root / folder).glob("[!.]*")):
        try:
            facts = path.stat()
        except FileNotFoundError:  # moved while we looked
            continue
        found[path.relative_to(store.root).as_posix()] = (facts.st_mtime_ns, facts.st_size)
    return found


def describe_changes(names: list[str]) -> str:
    """What changed, in words; "" for nothing."""
    records = sum(name.endswith(".json") for name in names)
    return (
        f"{count_of(records, 'record')} changed"
        if records
        else f"{count_of(len(names), 'file')} changed"
        if names
        else ""
    )
