"""The command `explain`: a run's values and their origins, its record, provenance and cells, and how to repeat it."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from benchmark.report.commands.find_run import find_entry
from benchmark.report.commands.repeat import Places, repeat_lines
from benchmark.report.commands.source_now import current_source
from benchmark.report.commands.why import nearest_run
from benchmark.report.formatting import MISSING, flatten
from benchmark.report.records.cells import Cell, Protocol
from benchmark.report.records.entries import FAILURES, Entry, require_entries
from benchmark.report.records.protocols import protocols
from benchmark.report.records.value_origins import closest_origin, origins
from benchmark.store import Store

UNKNOWN = "not recorded"

Lines = list[tuple[str, ...]]


def explain(run: str, places: Places) -> str:
    """All about the run with an id or its beginning, as aligned text.  Raises BadInput unless exactly one matches."""
    results = places.results
    store = Store(results)
    entries, complaints = require_entries(store)
    entry = find_entry(run, {entry.run.id: entry for entry in entries}, results, complaints)
    cells = cells_of(entry, protocols(entries))
    parts: dict[str, Lines] = {
        f"run {entry.run.id}: {entry.run.label}": value_lines(entry),
        "record": outcome_lines(entry, store),
        "provenance": provenance_lines(entry),
        "cell": [cell_line(protocol, cell) for protocol, cell in cells],
        "the other run that is nearest": [(line,) for line in nearest_run(entry, entries)],
        "repeat": [(line,) for line in repeat_lines(entry, [cell for _, cell in cells], places)],
    }
    return "\n\n".join(f"{title}\n{aligned(lines)}" for title, lines in parts.items() if lines)


def aligned(lines: Lines) -> str:
    """The rows as aligned columns, indented."""
    table = tabulate(lines, tablefmt="plain", disable_numparse=True)
    return "\n".join(f"  {line}".rstrip() for line in table.splitlines())


# ---- values
def value_lines(entry: Entry) -> Lines:
    """(Path, value, origin) of every resolved value of the run."""
    recorded = origins(entry)
    return [(path, value, closest_origin(path, recorded) or UNKNOWN) for path, value in resolved_values(entry).items()]


def resolved_values(entry: Entry) -> dict[str, str]:
    """Path -> value as text, with the defaults that the record leaves out."""
    run = entry.run
    teacher = f"{run.teacher.id} ({run.teacher.student})" if run.teacher else "none"
    recipe: Any = "found, not trained"
    if run.recipe:
        recipe = dict(run.recipe) | {"schedule": run.recipe.schedule.model_dump(mode="json")}
    fields = {"dataset": run.dataset} | ({"content": run.content} if run.content else {})
    fields |= {"student": run.student, "method": run.method, "knobs": run.knobs}
    return flatten(fields | {"teacher": teacher, "recipe": recipe, "seed": run.seed, "judge": run.judge})


# ---- record
def outcome_lines(entry: Entry, store: Store) -> Lines:
    """(Name, value) of status, scores, attempts and the run's other files."""
    id = entry.run.id
    scores = [(name, display_value(value)) for name, value in flatten(entry.record.score or {}).items()]
    paths = {"weights": store.weights(id), "teacher's record": store.root / "teachers" / f"{id}.json"}
    paths |= {name: store.root / name / f"{id}.npz" for name in ("predictions", "logits")}
    files = [(name, str(path)) for name, path in paths.items() if path and path.is_file()]
    error = f": {entry.message}" if entry.state in FAILURES else ""
    return [("status", entry.state + error), *scores, *attempt_lines(entry, store), *files]


def attempt_lines(entry: Entry, store: Store) -> Lines:
    """(Name, path) of every record of the run, those of costs included."""
    lines: Lines = []
    for record in store.records_of(entry.run.id):
        is_run = record.kind == "run"
        path = store.root / "records" / (f"{record.name}.json" if is_run else f"{record.name}-{record.kind}.json")
        if path.is_file():
            mark = ", the one that counts" * (is_run and record.attempt == entry.record.attempt)
            kind = "attempt" if is_run else record.kind
            lines.append((f"{kind} {record.attempt}", f"{path} ({record.status}{mark})"))
    return lines


def display_value(value: str) -> str:
    """A value as text; MISSING for null, as in the tables."""
    return MISSING if value == "null" else value


def provenance_lines(entry: Entry) -> Lines:
    """(Name, value) of the provenance: code, versions, device and data."""
    facts = flatten({name: value for name, value in entry.record.provenance.items() if name != "origin"})
    lines = {name: (name, display_value(value)) for name, value in sorted(facts.items())}
    current = current_source(entry.run.method)
    if current and "source" in facts:
        comparison = "as it is now" if current == facts["source"] else f"is {current} now"
        lines["source"] = ("source", f"{facts['source']} (the method's code {comparison})")
    return list(lines.values())


# ---- cells
def cells_of(entry: Entry, protocols: list[Protocol]) -> list[tuple[Protocol, Cell]]:
    """The cells that the run belongs to, with their protocols."""
    all_cells = [(protocol, cell) for protocol in protocols for cell in protocol.cells.values()]
    return [(protocol, cell) for protocol, cell in all_cells if entry.run.id in {own.run.id for own in cell.entries}]


def cell_line(protocol: Protocol, cell: Cell) -> tuple[str, ...]:
    """Labels of protocol, pair and row, and the reason if its score is left out."""
    left_out = [f"left out: {cell.exclusion_reason}"] if cell.exclusion_reason else []
    return protocol.label, cell.pair.label, cell.row.label, *left_out
