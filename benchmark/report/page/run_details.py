"""What a cell opens: its runs, with each value that made them and where that came from, as JSON for the page's script.

Runs share nearly everything, so a list of values is kept once and named by its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from markupsafe import Markup

from benchmark.report.formatting import MISSING, flatten, format_percent, format_value
from benchmark.report.records.cells import Cell, Protocol
from benchmark.report.records.entries import Entry
from benchmark.report.tables.accuracy import repeat_command

POINTS = 60  # of a curve: enough for a picture of a thumb's width
NOT_RECORDED = "not recorded"
PROVENANCE_FIELDS = (
    *("suite", "options", "device", "precision", "kernels", "graphs", "did_not_fit"),
    *("torch", "torchvision", "cuda", "python", "plugins", "source"),
)
Facts = tuple[tuple[str, ...], ...]  # (path, value, origin), or (word, value)


def details_json(protocols: Iterable[Protocol]) -> Markup:
    """The details as JSON that may stand in a page: nothing in it opens or closes a tag."""
    text = json.dumps(details(protocols), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def details(protocols: Iterable[Protocol]) -> dict[str, Any]:
    """runs: name of the record -> the run; commands and lists: what runs share, by place."""
    protocols = list(protocols)
    known = {entry.run.id: entry for protocol in protocols for entry in protocol.entries}
    runs: dict[str, dict[str, Any]] = {}
    commands: dict[str, int] = {}
    lists: dict[Facts, int] = {}
    for cell in (cell for protocol in protocols for cell in protocol.cells.values()):
        fresh = [entry for entry in cell.entries if entry.record and entry.name not in runs]
        for entry in fresh:
            runs[entry.name] = run_fields(entry) | {
                "label": cell.row.label,
                "command": commands.setdefault(repeat(cell), len(commands)),
                "values": lists.setdefault(values(entry, known), len(lists)),
                "made": lists.setdefault(provenance_fields(entry), len(lists)),
            }
    return {"runs": runs, "commands": list(commands), "lists": list(lists)}


def repeat(cell: Cell) -> str:
    """The command that does the cell's runs once more.  A teacher has to be missing for that: it is never repeated."""
    command = repeat_command(cell, [entry for entry in cell.entries if entry.record])
    return command if cell.row.kind == "teacher" else f"{command} --again"


def run_fields(entry: Entry) -> dict[str, Any]:
    """A run's own: seed, state, scores, curve."""
    best, epoch, curve = entry.score("best_top1"), entry.score("best_epoch"), entry.accuracies()
    every = max(1, -(-(len(curve) - 1) // (POINTS - 1)))
    thin = curve[::every] + curve[-1:] * bool((len(curve) - 1) % every)
    score = entry.score("top1")
    return {
        "seed": entry.run.seed,
        "origin": origin("seed", origins(entry)),
        "state": entry.state,
        "message": "" if entry.state in ("done", "no score") else entry.message,
        "last": "" if score is None else format_percent(score),
        "best": "" if best is None else format_percent(best),
        "at": None if epoch is None else int(epoch),
        "epochs": len(curve),
        "every": every,
        "curve": [None if value is None else round(10_000 * value) for value in thin],
        "ended": str(entry.provenance("ended") or "undated"),
    }


def values(entry: Entry, known: Mapping[str, Entry]) -> Facts:
    """Each resolved value of a run and of its teacher, with its origin; the seed stands with the run."""
    said, teacher = origins(entry), entry.run.teacher
    found = flatten(entry.run.model_dump(mode="json", exclude={"seed"}))
    if teacher:
        own = origins(known[teacher.id]) if teacher.id in known else {}
        said = {f"teacher.{path}": source for path, source in own.items()} | said
        found["teacher.id"] = teacher.id
    found.pop("teacher.teacher", None)  # a teacher has none
    ordered = sorted(found, key=lambda path: path.startswith("teacher."))
    return tuple((path, "none" if found[path] == "null" else found[path], origin(path, said)) for path in ordered)


def origins(entry: Entry) -> dict[str, str]:
    """path -> where its value comes from, as the record has it; empty for records of before that was kept."""
    said = entry.provenance("origin")
    return {str(path): str(source) for path, source in said.items()} if isinstance(said, dict) else {}


def origin(path: str, said: Mapping[str, str]) -> str:
    """That of the value, or of the nearest whole that it is part of: recipe.schedule.at -> recipe.schedule."""
    place = path
    while place and place not in said:
        place = place.rpartition(".")[0]
    return said.get(place) or (MISSING if said else NOT_RECORDED)


def provenance_fields(entry: Entry) -> Facts:
    """By what the record was made."""
    commit = str(entry.provenance("commit") or NOT_RECORDED) + " with uncommitted changes" * bool(
        entry.provenance("dirty")
    )
    found = [("commit", commit)]
    found += [
        (word, format_value(value))
        for word in PROVENANCE_FIELDS
        if (value := entry.provenance(word)) not in (None, [], "")
    ]
    data = entry.provenance("data")
    return (*found, *((f"data {word}", text) for word, text in flatten(data if isinstance(data, dict) else {}).items()))
