"""What stands around the tables: the methods' own words, what failed, and where the numbers come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.report.docstrings import parse_docstring
from benchmark.report.formatting import count_of, differences, join_distinct, natural_key
from benchmark.report.records.cells import Protocol
from benchmark.report.records.entries import FAILURES, Entry, newest_by_method
from benchmark.report.tables.accuracy import repeat_command

VERBS = (("train", "train"), ("judged", "judge"))  # of the counts of images


@dataclass(frozen=True, slots=True)
class MethodNote:
    """A method in its own words: those of its newest record."""

    name: str
    citation: str
    status: str
    departures: str
    about: str  # all of it
    source: str
    stale: tuple[str, ...]  # records of other source


@dataclass(frozen=True, slots=True)
class Failure:
    """A run without a number."""

    what: str
    where: str
    state: str
    message: str
    trace: str
    command: str
    record: str


def method_notes(entries: Sequence[Entry]) -> list[MethodNote]:
    """One per method, in alphabetical order."""
    found = []
    for name, entry in sorted(newest_by_method(entries).items(), key=lambda item: natural_key(item[0])):
        about = entry.record.about.strip()
        stale = tuple(sorted(other.name for other in entries if other.stale and other.run.method == name))
        said = parse_docstring(about)
        fields = (said.citation, said.status, said.departures)
        found.append(MethodNote(name, *fields, about, str(entry.provenance("source") or "unknown")[:12], stale))
    return found


def failures(protocols: Iterable[Protocol]) -> list[Failure]:
    """Every run whose counting record is a failure, once, whichever pairs it serves."""
    found: dict[str, Failure] = {}
    for protocol in protocols:
        for cell in protocol.cells.values():
            for entry in (entry for entry in cell.entries if entry.state in FAILURES):
                what = f"{cell.row.label}, {cell.pair.label}, seed {entry.run.seed}"
                trace = (entry.record.error or {}).get("trace", "")
                fields = (
                    what,
                    protocol.label,
                    entry.state,
                    entry.message,
                    trace,
                    repeat_command(cell, [entry]),
                    entry.name,
                )
                found.setdefault(entry.name, Failure(*fields))
    return list(found.values())


def provenance(entries: Sequence[Entry]) -> dict[str, str]:
    """What the records say of their making: word -> distinct values."""
    recorded = [entry for entry in entries if entry.record]
    if not recorded:
        return {}
    states = Counter(entry.state for entry in recorded)
    dirty = sum(bool(entry.provenance("dirty")) for entry in recorded)
    latest = max(recorded, key=lambda entry: (entry.ended, entry.name))
    by_state = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    found = {
        "records": f"{count_of(len(recorded), 'run')} ({by_state})",
        "newest record": str(latest.provenance("ended") or "undated"),
        "commit": distinct_values(recorded, "commit", 10) + (f" ({dirty} with uncommitted changes)" if dirty else ""),
    }
    fields = ("torch", "torchvision", "cuda", "python", "device", "precision", "plugins")
    return found | {word: values for word in fields if (values := distinct_values(recorded, word))}


def distinct_values(entries: Iterable[Entry], word: str, length: int | None = None) -> str:
    """Distinct values of one word of the making."""
    values = [entry.provenance(word) for entry in entries]
    flat = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return join_distinct(str(part)[:length] for part in flat if part is not None)


def data_summary(protocol: Protocol) -> str:
    """The data that the runs saw: name, counts, the start of the hash; several if they did not see the same."""
    found = []
    for entry in protocol.entries:
        data = entry.provenance("data")
        if isinstance(data, dict) and data:
            counts = [f"{data[word]:,} images {verb}" for word, verb in VERBS if isinstance(data.get(word), int)]
            found.append(", ".join([str(data.get("name")), *counts, f"sha256 {str(data.get('sha256'))[:12]}"]))
    return "; or ".join(sorted(set(found)))


def conditions(protocol: Protocol) -> list[tuple[str, str]]:
    """How the runs of a protocol were trained, and what was not the same for all of them."""
    own, teacher = dict(protocol.terms), dict(protocol.teacher_terms)
    recipe = {word: value for word, value in own.items() if word not in ("dataset", "judge")}
    found = [
        ("data", data_summary(protocol)),
        ("recipe", " · ".join(f"{word} {value}" for word, value in recipe.items())),
    ]
    found.append(("learning rate", rates(protocol)))
    if teacher:
        shared = {word: value for word, value in teacher.items() if word not in ("dataset", "judge")}
        found.append(("teachers", shared.get("recipe") or differences([shared, recipe])[0] or "the same recipe"))
    recorded = [entry for entry in protocol.entries if entry.record]
    mixed = {word: distinct_values(recorded, word) for word in ("device", "precision", "torch")}
    found += [
        (f"mixed {word}", values)
        for word, values in mixed.items()
        if len({str(e.provenance(word)) for e in recorded}) > 1
    ]
    return [(word, value) for word, value in found if value]


def rates(protocol: Protocol) -> str:
    """The learning rate of each network, teachers too."""
    found: dict[str, set[str]] = {}
    for run in (run for pair in protocol.pairs for run in (pair.teacher,) if run and run.recipe):
        found.setdefault(f"{run.recipe.lr:g}", set()).add(run.student)
    for pair in protocol.pairs:
        if pair.rate:
            found.setdefault(f"{pair.rate:g}", set()).add(pair.student)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(
        f"{rate} for {join_distinct(found[rate])}" for rate in sorted(found, key=natural_key, reverse=True)
    )
