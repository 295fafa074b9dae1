"""What there is to choose from: plug-ins opened, shelves described."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from benchmark import models
from benchmark.conformance.method_summary import CLASSES, MethodSummary, summarise_method
from benchmark.data import datasets
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.experiment.suite import Pair, first_error, read_suite, suite_names
from benchmark.report.docstrings import parse_docstring
from benchmark.store import Store
from methods import registry

PAIR = "resnet56-resnet20"  # for counting, where the user names none


def open_plugins(plugins: Iterable[str] = ()) -> None:
    """Open the installed plug-ins and those that the user names.  Raises BadInput."""
    try:
        registry.load_installed()
        for plugin in plugins:
            registry.load(plugin)
    except registry.Misnamed as fault:
        raise BadInput(str(fault)) from fault


def teachers(given: Iterable[str], results: Path) -> Mapping[str, Run]:
    """ "NETWORK=ID" -> network and the run that the record of this id holds.  Raises BadInput."""
    latest, found = Store(results).latest(), {}
    for text in given:
        network, _, id = text.partition("=")
        known = [each for each in latest if id and each.startswith(id)]
        if len(known) != 1:
            raise BadInput(f"--teacher {text}: {len(known)} records in {results} begin with {id!r}; write NETWORK=ID")
        run = Run.model_validate(latest[known[0]].run)
        if run.student != network:
            raise BadInput(f"--teacher {text}: record {run.id} is a {run.student}, not a {network}")
        found[network] = run
    return found


def methods_named(name: str) -> list[str]:
    """The methods that a word means: one by name, those of a file, or all.  Raises BadInput."""
    before = set(registry.names())
    try:
        if not name:
            return registry.names()
        if name.endswith(".py"):
            registry.load(name)
            path = Path(name).resolve()
            own = [each for each in registry.names() if registry.source(registry.get(each)).resolve() == path]
            return sorted(own or set(registry.names()) - before)
        registry.get(name)
        return [name]
    except registry.Misnamed as fault:
        raise BadInput(str(fault)) from fault


def describe(shelf: str = "", pair: str = PAIR) -> str:
    """The lines of one shelf, methods, models, suites or datasets; without a name, of all.  Raises BadInput.

    pair: the networks, TEACHER-STUDENT, for which a method's parameters are counted.
    """
    shelves = {"methods": partial(_methods, pair), "models": _models, "suites": _suites, "datasets": _datasets}
    if shelf and shelf not in shelves:
        raise BadInput(f"there is no list of {shelf!r}{registry.meant(shelf, list(shelves))}")
    return "\n\n".join(show() for name, show in shelves.items() if shelf in ("", name))


def _methods(pair_name: str) -> str:
    try:
        pair = Pair.model_validate(pair_name)
    except ValueError as fault:
        raise BadInput(f"--pairs: {first_error(fault)}") from fault
    rows = [f"methods, composed with + as in kd+NAME; counts are for {pair} and {CLASSES} classes"]
    for name in registry.names():
        said = parse_docstring(registry.about(name))
        knobs = ", ".join(f"{knob}={spec.default}" for knob, spec in registry.knobs(name).items())
        rows += [
            f"{name:<10} {said.citation}",
            f"{'':<10} year {said.year} · status {said.status} · {_counts(summarise_method(name, pair))}",
            f"{'':<10} {knobs or 'no knobs'}",
        ]
    return "\n".join(rows)


def _counts(of: MethodSummary) -> str:
    if of.unfit:
        return f"does not serve this pair: {of.unfit}"
    reads = f"reads {', '.join(of.student)}" + (f"; of the teacher {', '.join(of.teacher)}" if of.teacher else "")
    return f"{reads} · auxiliary parameters {of.auxiliary:,} · added to the student {of.added:,}"


def _models() -> str:
    return "\n".join(["models", *models.names(), "torchvision:NAME"])


def _suites() -> str:
    return "\n".join(["suites", *(f"{name:<10} {read_suite(name).title}" for name in suite_names())])


def _datasets() -> str:
    return "\n".join(["datasets", *datasets.names(), "folder:NAME  images in DIR/NAME/{train,test}/<class>/"])
