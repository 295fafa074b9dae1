"""`speed --suite NAME`: a whole set of measurements, printed and kept in the folder of results."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark.errors import BadInput
from benchmark.files import write_atomic
from benchmark.profiling import contention, targets
from benchmark.report.formatting import slug

FOLDERS = {"targets": "speed", "contention": "contention"}  # of the results


def run_suite(name: str, data: Path, results: Path, device: str, steps: int | None, repeats: int, as_json: bool) -> str:
    """Measure a suite and keep it as results/<folder>/<machine>.json.  Returns what is printed.  Raises BadInput."""
    if name not in FOLDERS:
        raise BadInput(f"--suite: there is no {name!r}; there are {' and '.join(FOLDERS)}")
    if name == "targets":
        found, show = targets.measure(data, device, steps, repeats), targets.show
    else:
        found, show = contention.measure(data, repeats=repeats), contention.show
    folder = results / FOLDERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    content = (json.dumps(found, indent=1, sort_keys=True) + "\n").encode()
    path = write_atomic(folder / f"{slug(found['machine'])}.json", content)
    return json.dumps(found, indent=1) if as_json else f"{show(found)}\nwritten: {path}"
