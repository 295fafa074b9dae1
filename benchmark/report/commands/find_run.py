"""Find the run that a user names by its id, the beginning of it, or the name of a record."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from benchmark.errors import BadInput
from benchmark.report.records.entries import Entry

MAX_IDS = 5  # ids that an error message lists
RUN_NAME = re.compile(r"[0-9a-f]{1,12}(-[0-9]+)?")  # an id or its beginning, with or without the number of an attempt


def find_entry(run: str, entries: dict[str, Entry], results: Path, complaints: list[str]) -> Entry:
    """The entry with an id, its beginning, or a record's name.  Raises BadInput unless exactly one matches."""
    prefix = run.strip().lower().partition("-")[0]
    ids = [id for id in entries if prefix and id.startswith(prefix)]
    if len(ids) == 1:
        return entries[ids[0]]
    if ids:
        raise BadInput(
            f"{len(ids)} runs in {results} begin with {prefix!r}: {name_ids(ids, entries)}; write more of the id"
        )
    complaint = next((complaint for complaint in complaints if prefix and f"record {prefix}" in complaint), "")
    if complaint:
        raise BadInput(complaint)
    similar = difflib.get_close_matches(prefix, entries, MAX_IDS, 0.4) or sorted(entries)
    raise BadInput(f"no run in {results} begins with {run!r}; there are {name_ids(similar, entries)}")


def name_ids(ids: list[str], entries: dict[str, Entry]) -> str:
    """The first ids with their runs' labels, for an error message."""
    labels = [f"{id} ({entries[id].run.label})" for id in ids[:MAX_IDS]]
    return ", ".join(labels) + f" and {len(ids) - MAX_IDS} more" * (len(ids) > MAX_IDS)
