"""JSON details of the runs behind a cell, for the page's script: scores, curve, resolved values with their origins.

Runs share most of their values, so each distinct list of values is stored once and referred to by its index.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from benchmark.report.formatting import MISSING, flatten, format_percent, format_value
from benchmark.report.records.cells import Cell, Protocol
from benchmark.report.records.entries import Entry, finite_number, finite_numbers
from benchmark.report.records.value_origins import closest_origin, origins
from benchmark.report.statistics.blocks import key_text
from benchmark.report.tables.rerun import repeat_command
from benchmark.report.tables.table import device_text
from benchmark.store import Record

MAX_POINTS = 60  # of a curve; enough for a small figure
NOT_RECORDED = "not recorded"
PROVENANCE_FIELDS = (
    *("suite", "options", "device", "precision", "kernels", "graphs", "did_not_fit"),
    *("torch", "torchvision", "cuda", "python", "plugins", "source"),
)
Facts = tuple[tuple[str, ...], ...]  # (path, value, origin), or (name, value)


def details_json(protocols: Iterable[Protocol]) -> Markup:
    """The details as JSON in which <, > and & are escaped, so that it can be embedded in HTML."""
    text = json.dumps(details(protocols), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def details(protocols: Iterable[Protocol]) -> dict[str, Any]:
    """runs: name of the record -> its fields; commands, lists: shared values, which runs refer to by index."""
    protocols = list(protocols)
    entries = {entry.run.id: entry for protocol in protocols for entry in protocol.entries}
    kept = kept_scores(entries.values())
    runs: dict[str, dict[str, Any]] = {}
    commands: dict[str, int] = {}
    lists: dict[Facts, int] = {}
    known: dict[str, int] = {}  # what a list of values follows from, as text -> its index

    def index(source: object, make: Callable[..., Facts], *arguments: object) -> int:
        if (text := repr(source)) not in known:
            known[text] = lists.setdefault(make(*arguments), len(lists))
        return known[text]

    for cell in (cell for protocol in protocols for cell in protocol.cells.values()):
        new = [entry for entry in cell.entries if entry.record and entry.name not in runs]
        command = rerun_command(cell) if new else ""
        for entry in new:
            resolved = entry.record.run | {"seed": 0}, entry.provenance("origin")
            source = [entry.provenance(name) for name in ("commit", "dirty", *PROVENANCE_FIELDS, "data")]
            runs[entry.name] = run_fields(entry) | {
                "kept": kept.get(entry.run.id, []),
                "seed": seed_text(cell, entry),
                "label": cell.row.label,
                "command": commands.setdefault(command, len(commands)),
                "values": index(resolved, resolved_values, entry, entries),
                "made": index(source, provenance_fields, entry),
            }
    return {"runs": runs, "commands": list(commands), "lists": list(lists)}


def rerun_command(cell: Cell) -> str:
    """The command that repeats the cell's runs; without --again for a teacher, which is trained only if missing."""
    command = repeat_command(cell, [entry for entry in cell.entries if entry.record])
    return command if cell.row.kind == "teacher" else f"{command} --again"


def kept_scores(entries: Iterable[Entry]) -> dict[str, list[tuple[str, str]]]:
    """Id of a teacher -> (accuracy of its kept file, precision that it was computed in), as students' records say."""
    found: dict[str, dict[tuple[str, str], None]] = {}
    for entry in entries:
        id, top1 = entry.provenance("teacher", "id"), finite_number(entry.provenance("teacher", "top1"))
        if top1 is not None:
            computed = format_percent(top1), str(entry.provenance("precision") or NOT_RECORDED)
            found.setdefault(str(id), {})[computed] = None
    return {id: sorted(own, key=lambda each: each[::-1]) for id, own in found.items()}


def run_fields(entry: Entry) -> dict[str, Any]:
    """The fields of a run that it does not share: state, scores at the end of training, curve (in 1/100 percent)."""
    entry = replace(entry, other_scores=())
    best, epoch, curve = entry.score("best_top1"), entry.score("best_epoch"), entry.recorded_accuracies()
    step = max(1, -(-(len(curve) - 1) // (MAX_POINTS - 1)))
    thinned = finite_numbers(curve[::step] + curve[-1:] * bool((len(curve) - 1) % step))
    score = entry.score("top1")
    return {
        "origin": origin("seed", origins(entry)),
        "state": entry.state,
        "message": "" if entry.state in ("done", "no score") else entry.message,
        "last": "" if score is None else format_percent(score),
        "best": "" if best is None else format_percent(best),
        "at": None if epoch is None else int(epoch),
        "epochs": len(curve),
        "every": step,
        "curve": [None if value is None else round(10_000 * value) for value in thinned],
        "ended": str(entry.provenance("ended") or "undated"),
        "others": [attempt_fields(record) for record in entry.attempts],
    }


def seed_text(cell: Cell, entry: Entry) -> int | str:
    """The seed; in words, with the teacher's, where the pair has several teachers."""
    return key_text(cell.pair.key(entry.run)).removeprefix("seed ") if cell.crossed else entry.run.seed


def attempt_fields(record: Record) -> list[str]:
    """Name, outcome and time of an attempt that does not count."""
    score = finite_number((record.score or {}).get("top1"))
    outcome = record.status if score is None else f"{format_percent(score)} %"
    return [record.name, outcome, str(record.provenance.get("ended") or "undated")]


def resolved_values(entry: Entry, entries: Mapping[str, Entry]) -> Facts:
    """(Path, value, origin) of the values of a run, without its seed, and of its teacher; entries: run id -> entry."""
    known_origins, teacher = origins(entry), entry.run.teacher
    values = flatten(entry.run.model_dump(mode="json", exclude={"seed"}))
    if teacher:
        teacher_origins = origins(entries[teacher.id]) if teacher.id in entries else {}
        known_origins = {f"teacher.{path}": source for path, source in teacher_origins.items()} | known_origins
        values["teacher.id"] = teacher.id
    values.pop("teacher.teacher", None)  # a teacher has none
    ordered = sorted(values, key=lambda path: path.startswith("teacher."))
    return tuple(
        (path, "none" if values[path] == "null" else values[path], origin(path, known_origins)) for path in ordered
    )


def origin(path: str, known_origins: Mapping[str, str]) -> str:
    """The origin of a value, or of the closest enclosing one: recipe.schedule.at -> recipe.schedule."""
    return closest_origin(path, known_origins) or (MISSING if known_origins else NOT_RECORDED)


def provenance_fields(entry: Entry) -> Facts:
    """(Name, value) of the record's provenance."""
    commit = str(entry.provenance("commit") or NOT_RECORDED) + " with uncommitted changes" * bool(
        entry.provenance("dirty")
    )
    fields = [("commit", commit)]
    fields += [
        (name, device_text(value) if name == "device" else format_value(value))
        for name in PROVENANCE_FIELDS
        if (value := entry.provenance(name)) not in (None, [], "")
    ]
    data = entry.provenance("data")
    data = flatten(data) if isinstance(data, dict) else {}
    return (*fields, *((f"data {name}", text) for name, text in data.items()))
