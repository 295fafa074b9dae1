"""All that is known of one run: every value and its origin, its record, what made it, its place in the tables."""

from __future__ import annotations

import difflib
import runpy
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmark.errors import BadInput
from benchmark.report.formatting import MISSING, flatten
from benchmark.report.records.cells import Cell, Protocol
from benchmark.report.records.entries import FAILURES, Entry, load_entries
from benchmark.report.records.protocols import protocols
from benchmark.report.tables.accuracy import repeat_command
from benchmark.store import Store

METHODS = Path(__file__).parents[3] / "methods"
UNKNOWN = "not recorded"
MANY = 5  # ids that a message names

Lines = list[tuple[str, ...]]


def explain(run: str, results: Path) -> str:
    """Everything about the run whose id begins so, as aligned text.  Raises BadInput if there is none, or several."""
    store = Store(results)
    entries, complaints = load_entries(store)
    entry = found(run, {entry.run.id: entry for entry in entries}, results, complaints)
    places = cells(entry, protocols(entries))
    parts: dict[str, Lines] = {
        f"run {entry.run.id}: {entry.run.label}": values(entry),
        "record": outcome(entry, store),
        "made by": provenance_lines(entry),
        "cell": [cell_line(protocol, cell) for protocol, cell in places],
        "do it again": [(command,) for command in commands(entry, [cell for _, cell in places], results)],
    }
    return "\n\n".join(f"{title}\n{aligned(lines)}" for title, lines in parts.items() if lines)


def aligned(lines: Lines) -> str:
    """Rows in columns, a little to the right."""
    table = tabulate(lines, tablefmt="plain", disable_numparse=True)
    return "\n".join(f"  {line}".rstrip() for line in table.splitlines())


def found(run: str, entries: dict[str, Entry], results: Path, complaints: list[str]) -> Entry:
    """The one entry that is meant by an id, by its beginning, or by the name of a record.  Raises BadInput."""
    if not entries:
        raise BadInput(f"{results} holds no records of runs; name the folder of results with --results")
    begin = run.strip().lower().partition("-")[0]
    ids = [id for id in entries if begin and id.startswith(begin)]
    if len(ids) == 1:
        return entries[ids[0]]
    if ids:
        raise BadInput(
            f"{len(ids)} runs in {results} begin with {begin!r}: {name_ids(ids, entries)}; write more of the id"
        )
    odd = next((complaint for complaint in complaints if begin and f"record {begin}" in complaint), "")
    if odd:
        raise BadInput(odd)
    near = difflib.get_close_matches(begin, entries, MANY, 0.4) or sorted(entries)
    raise BadInput(f"no run in {results} begins with {run!r}; there are {name_ids(near, entries)}")


def name_ids(ids: list[str], entries: dict[str, Entry]) -> str:
    """Some ids with what they are."""
    parts = [f"{id} ({entries[id].run.label})" for id in ids[:MANY]]
    return ", ".join(parts) + f" and {len(ids) - MANY} more" * (len(ids) > MANY)


# ---- what was to be done
def values(entry: Entry) -> Lines:
    """Every resolved value with its origin."""
    origin = entry.provenance("origin")
    known = origin if isinstance(origin, dict) else {}
    return [(path, value, origin_of(path, known)) for path, value in resolved(entry).items()]


def resolved(entry: Entry) -> dict[str, str]:
    """path -> value in words, fields with their defaults too, which a record's text may leave out."""
    run, recipe = entry.run, entry.run.recipe
    teacher = f"{run.teacher.id} ({run.teacher.student})" if run.teacher else "none"
    parts: Any = "found, not trained"
    if recipe:
        parts = dict(recipe) | {"schedule": recipe.schedule.model_dump(mode="json")}
    own = {"dataset": run.dataset, "student": run.student, "method": run.method, "knobs": run.knobs}
    return flatten(own | {"teacher": teacher, "recipe": parts, "seed": run.seed, "judge": run.judge})


def origin_of(path: str, origin: dict[str, str]) -> str:
    """The origin of a value, or of what it is a part of."""
    while path and path not in origin:
        path = path.rpartition(".")[0]
    return str(origin.get(path, UNKNOWN))


# ---- what came of it
def outcome(entry: Entry, store: Store) -> Lines:
    """Status, scores, attempts, and the files that stand beside the record."""
    id = entry.run.id
    scores = [(word, shown_value(value)) for word, value in flatten(entry.record.score or {}).items()]
    places = {"weights": store.weights(id), "teacher's record": store.root / "teachers" / f"{id}.json"}
    places |= {word: store.root / word / f"{id}.npz" for word in ("predictions", "logits")}
    files = [(word, str(path)) for word, path in places.items() if path and path.is_file()]
    why = f": {entry.message}" if entry.state in FAILURES else ""
    return [("status", entry.state + why), *scores, *attempts(entry, store), *files]


def attempts(entry: Entry, store: Store) -> Lines:
    """Every record of the run, those of costs too."""
    lines: Lines = []
    for record in (record for record in store.records() if record.id == entry.run.id):
        run = record.kind == "run"
        path = store.root / "records" / (f"{record.name}.json" if run else f"{record.name}-{record.kind}.json")
        if path.is_file():
            counts = ", the one that counts" * (run and record.attempt == entry.record.attempt)
            lines.append((f"{'attempt' if run else record.kind} {record.attempt}", f"{path} ({record.status}{counts})"))
    return lines


def shown_value(value: str) -> str:
    """A value in words; what is not there as in the tables."""
    return MISSING if value == "null" else value


def provenance_lines(entry: Entry) -> Lines:
    """Code, versions, device and data."""
    facts = flatten({word: value for word, value in entry.record.provenance.items() if word != "origin"})
    lines = {word: (word, shown_value(value)) for word, value in sorted(facts.items())}
    now = current_source(entry.run.method)
    if now and "source" in facts:
        same = "as it is now" if now == facts["source"] else f"is {now} now"
        lines["source"] = ("source", f"{facts['source']} (the method's code {same})")
    return list(lines.values())


def current_source(method: str) -> str:
    """The hash of a method's code as it is now, as methods/registry.py takes it; "" for what lies elsewhere."""
    texts = []
    for part in method.split("+"):
        path = METHODS / f"{part}.py"
        text = path.read_bytes() if part.isidentifier() and path.is_file() else b""
        if f'@register("{part}")'.encode() not in text:
            return ""
        texts.append(text)
    # Run from its file: importing the package `methods` would load torch.
    return runpy.run_path(str(METHODS / "source_hash.py"))["source_hash"](*texts)


# ---- where it stands
def cells(entry: Entry, protocols: list[Protocol]) -> list[tuple[Protocol, Cell]]:
    """Every cell that the run belongs to."""
    known = [(protocol, cell) for protocol in protocols for cell in protocol.cells.values()]
    return [(protocol, cell) for protocol, cell in known if any(own.run.id == entry.run.id for own in cell.entries)]


def cell_line(protocol: Protocol, cell: Cell) -> tuple[str, ...]:
    """Table, pair and method, and why its score is not in there."""
    return protocol.label, cell.pair.label, cell.row.label, *([f"left out: {cell.refusal}"] if cell.refusal else [])


def commands(entry: Entry, cells: Iterable[Cell], results: Path) -> list[str]:
    """What to type to do it again."""
    if entry.run.recipe is None:
        arguments = [
            str(entry.provenance("file") or "FILE"),
            "--model",
            entry.run.student,
            "--dataset",
            entry.run.dataset,
        ]
        return [shlex.join(["python", "-m", "benchmark", "import-weights", *arguments])]
    plugins = [word for plugin in entry.provenance("plugins") or () for word in ("--plugin", plugin)]
    elsewhere = [] if results == Path("results") else ["--results", str(results)]
    found = []
    for cell in cells:
        arguments = [*elsewhere, *["--again"] * (entry.state != "failed")]
        if cell.row.kind == "teacher" and entry.state == "done":
            arguments = ["--results", "ELSEWHERE"]  # where it is, it is kept
        found.append(" ".join(filter(None, [repeat_command(cell, [entry]), shlex.join([*plugins, *arguments])])))
    return list(dict.fromkeys(found))
