"""The parts of the page beside tables and figures: methods, failures, provenance and training settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.report.docstrings import parse_docstring
from benchmark.report.formatting import count_of, describe_differences, join_distinct, natural_key
from benchmark.report.records.cells import Protocol
from benchmark.report.records.entries import FAILURES, Entry, newest_by_method
from benchmark.report.tables.rerun import repeat_command, seeds_text
from benchmark.report.tables.table import device_text

VERBS = (("train", "train"), ("judged", "judge"))  # count in the record -> verb in the text


@dataclass(frozen=True, slots=True)
class MethodNote:
    """A method's docstring, from the newest record of the method."""

    name: str
    citation: str
    status: str
    departures: str
    about: str  # the whole docstring
    source: str  # hash of the method's code, 12 digits
    stale: tuple[str, ...]  # names of records made by other code


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed."""

    what: str  # row, pair and seed
    where: str  # label of the protocol
    state: str
    message: str
    trace: str
    command: str  # that runs it again
    record: str


def method_notes(entries: Sequence[Entry]) -> list[MethodNote]:
    """A note for each method, in alphabetical order."""
    notes = []
    for name, entry in sorted(newest_by_method(entries).items(), key=lambda item: natural_key(item[0])):
        about = entry.record.about.strip()
        stale = tuple(sorted(other.name for other in entries if other.stale and other.run.method == name))
        parsed = parse_docstring(about)
        fields = (parsed.citation, parsed.status, parsed.departures)
        notes.append(MethodNote(name, *fields, about, str(entry.provenance("source") or "unknown")[:12], stale))
    return notes


def failures(protocols: Iterable[Protocol]) -> list[Failure]:
    """The failed runs, each once even if it is in several cells."""
    by_record: dict[str, Failure] = {}
    for protocol in protocols:
        for cell in protocol.cells.values():
            for entry in (entry for entry in cell.entries if entry.state in FAILURES):
                what = f"{cell.row.label}, {cell.pair.label}, {seeds_text(cell, [entry])}"
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
                by_record.setdefault(entry.name, Failure(*fields))
    return list(by_record.values())


def provenance(entries: Sequence[Entry]) -> dict[str, str]:
    """Field of the provenance -> its distinct values in all records."""
    recorded = [entry for entry in entries if entry.record]
    if not recorded:
        return {}
    states = Counter(entry.state for entry in recorded)
    dirty = sum(bool(entry.provenance("dirty")) for entry in recorded)
    latest = max(recorded, key=lambda entry: (entry.ended, entry.name))
    by_state = ", ".join(f"{n} {state}" for state, n in sorted(states.items()))
    facts = {
        "records": f"{count_of(len(recorded), 'run')} ({by_state})",
        "newest record": str(latest.provenance("ended") or "undated"),
        "commit": distinct_values(recorded, "commit", 10) + (f" ({dirty} with uncommitted changes)" if dirty else ""),
    }
    fields = ("torch", "torchvision", "cuda", "python", "device", "precision", "plugins")
    return facts | {name: values for name in fields if (values := distinct_values(recorded, name))}


def distinct_values(entries: Iterable[Entry], name: str, length: int | None = None) -> str:
    """The distinct values of a field of the provenance, cut to `length` characters; names of devices have commas."""
    values = [entry.provenance(name) for entry in entries]
    flat = [part for value in values for part in (value if isinstance(value, list) else [value])]
    known = {str(part)[:length] for part in flat if part is not None}
    return "; ".join(sorted(map(device_text, known), key=natural_key)) if name == "device" else join_distinct(known)


def data_summary(protocol: Protocol) -> str:
    """The data set of a protocol's runs: name, counts, start of the hash; several if the runs differ in it."""
    summaries = []
    for entry in protocol.entries:
        data = entry.provenance("data")
        if isinstance(data, dict) and data:
            counts = [f"{data[name]:,} images {verb}" for name, verb in VERBS if isinstance(data.get(name), int)]
            summaries.append(", ".join([str(data.get("name")), *counts, f"sha256 {str(data.get('sha256'))[:12]}"]))
    return "; or ".join(sorted(set(summaries)))


def training_settings(protocol: Protocol) -> list[tuple[str, str]]:
    """(Name, value) of how a protocol's runs were trained; "mixed" names what differs between them."""
    terms, teacher_terms = dict(protocol.terms), dict(protocol.teacher_terms)
    recipe = {name: value for name, value in terms.items() if name not in ("dataset", "judge")}
    settings = [
        ("data", data_summary(protocol)),
        ("recipe", " · ".join(f"{name} {value}" for name, value in recipe.items())),
    ]
    settings.append(("learning rate", learning_rates(protocol)))
    if teacher_terms:
        teacher_recipe = {name: value for name, value in teacher_terms.items() if name not in ("dataset", "judge")}
        difference = describe_differences([teacher_recipe, recipe])[0]
        settings.append(("teachers", teacher_recipe.get("recipe") or difference or "the same recipe"))
    recorded = [entry for entry in protocol.entries if entry.record]
    mixed = {name: distinct_values(recorded, name) for name in ("device", "precision", "torch")}
    settings += [
        (f"mixed {name}", values)
        for name, values in mixed.items()
        if len({str(e.provenance(name)) for e in recorded}) > 1
    ]
    return [(name, value) for name, value in settings if value]


def learning_rates(protocol: Protocol) -> str:
    """The learning rate of each network, teachers included."""
    networks: dict[str, set[str]] = {}
    for run in (run for pair in protocol.pairs for run in (pair.teacher,) if run and run.recipe):
        networks.setdefault(f"{run.recipe.lr:g}", set()).add(run.student)
    for pair in protocol.pairs:
        if pair.lr:
            networks.setdefault(f"{pair.lr:g}", set()).add(pair.student)
    if len(networks) == 1:
        return next(iter(networks))
    return "; ".join(
        f"{rate} for {join_distinct(networks[rate])}" for rate in sorted(networks, key=natural_key, reverse=True)
    )
