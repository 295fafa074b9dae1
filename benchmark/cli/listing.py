"""The text of the `list` command, and lookup of the plug-ins, methods and teachers that a user names.

Functions import what loads torch, so that a command that does without it waits for nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.experiment.suite import Pair, first_error, read_suite, suite_names
from benchmark.report.docstrings import parse_docstring
from benchmark.store import Store

KINDS = ("methods", "models", "suites", "datasets")
PAIR = "resnet56-resnet20"  # parameters are counted for this pair unless the user names another


def open_plugins(plugins: Iterable[str] = ()) -> None:
    """Import the installed plug-ins and those that the user names.  Raises BadInput."""
    from methods import registry

    try:
        registry.load_installed()
        for plugin in plugins:
            registry.load(plugin)
    except registry.RegistryError as fault:
        raise BadInput(str(fault)) from fault


def parse_teachers(options: Iterable[str], results: Path) -> Mapping[str, Run]:
    """ "NETWORK=ID" -> {network: the run whose record has this id, or this beginning of it}.  Raises BadInput."""
    latest, teachers = Store(results).latest() if options else {}, {}
    for text in options:
        network, _, id = text.partition("=")
        matches = [each for each in latest if id and each.startswith(id)]
        if len(matches) != 1:
            raise BadInput(
                f"--teacher {text:.80}: {len(matches)} records in {results} begin with {id!r:.60}; write NETWORK=ID"
            )
        try:
            run = Run.model_validate(latest[matches[0]].run)
        except ValueError as fault:
            raise BadInput(f"--teacher {text}: record {matches[0]} holds no run: {first_error(fault)}") from fault
        if run.student != network:
            raise BadInput(f"--teacher {text}: record {run.id} is a {run.student}, not a {network}")
        teachers[network] = run
    return teachers


def methods_named(name: str) -> list[str]:
    """The method called `name`, the methods of the file `name`, or all methods if it is empty.  Raises BadInput."""
    from methods import registry

    before = set(registry.names())
    try:
        if not name:
            return registry.names()
        if name.endswith(".py"):
            registry.load(name)
            path = Path(name).resolve()
            own = [each for each in registry.names() if registry.source(registry.get(each)).resolve() == path]
            found = sorted(own or set(registry.names()) - before)
            if not found:
                raise BadInput(f'{name} registers no method: put @register("NAME") above a class of it')
            return found
        registry.get(name)
        return [name]
    except registry.RegistryError as fault:
        raise BadInput(str(fault).removeprefix("--plugin ")) from fault


def check_kind(kind: str) -> None:
    """Raises BadInput, naming the closest, for a kind that cannot be listed; "" stands for all."""
    if kind not in ("", *KINDS):
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
        raise BadInput(f"there is no list of {kind!r:.60}; {hint}")


def describe(kind: str = "", pair: str | None = None) -> str:
    """List what exists of one kind (methods, models, suites or datasets), or of all kinds.  Raises BadInput.

    pair: the networks, TEACHER-STUDENT, for which it is counted what a method trains.  Without it this is counted for
    PAIR where methods alone are listed, and left out of a list of everything.
    """
    check_kind(kind)
    counted = pair or (PAIR if kind == "methods" else "")
    show = {"methods": partial(_methods, counted), "models": _models, "suites": _suites, "datasets": _datasets}
    return "\n\n".join(show[name]() for name in KINDS if kind in ("", name))


def _methods(pair_name: str) -> str:
    from benchmark.experiment.knobs import ranges
    from methods import registry

    title, pair = "methods, composed with + as in kd+NAME", parse_pair(pair_name) if pair_name else None
    rows = [f"{title}; counts are for {pair} on CIFAR-100" if pair else title]
    for name in registry.names():
        doc = parse_docstring(registry.docstring(name))
        knobs = ", ".join(f"{knob}={spec.default}" for knob, spec in registry.knobs(name).items())
        facts = [f"year {doc.year}", f"status {doc.status}", *([_counts(name, pair)] if pair else [])]
        rows += [
            f"{name:<10} {doc.citation}",
            f"{'':<10} {' · '.join(facts)}",
            f"{'':<10} {knobs or 'no knobs'}",
            *(f"{'':<10} {knob}: {expected}" for knob, expected in ranges(name).items()),
        ]
    return "\n".join(rows)


def parse_pair(name: str) -> Pair:
    """The pair TEACHER-STUDENT.  Raises BadInput."""
    try:
        return Pair.model_validate(name)
    except ValueError as fault:
        raise BadInput(f"--pairs: {first_error(fault)}") from fault


def _counts(method: str, pair: Pair) -> str:
    from benchmark.conformance.method_summary import summarise_method

    summary = summarise_method(method, pair)
    if summary.unfit:
        return f"does not support this pair: {summary.unfit}"
    reads = f"reads {', '.join(summary.student)}"
    reads += f"; of the teacher {', '.join(summary.teacher)}" if summary.teacher else ""
    return f"{reads} · auxiliary parameters {summary.auxiliary:,} · added to the student {summary.added:,}"


def _models() -> str:
    from benchmark import models

    return "\n".join(["models", *models.names(), "torchvision:NAME"])


def _suites() -> str:
    return "\n".join(["suites", *(f"{name:<10} {read_suite(name).title}" for name in suite_names())])


def _datasets() -> str:
    from benchmark.data import datasets

    return "\n".join(["datasets", *datasets.names(), "folder:NAME  images in DIR/NAME/{train,test}/<class>/"])
