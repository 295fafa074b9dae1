"""What there is to choose from: plug-ins opened, shelves described."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmark import datasets, models
from benchmark.errors import BadInput
from benchmark.run import Run
from benchmark.store import Store
from benchmark.suite import read_suite, suites
from methods import registry


def open_plugins(plugins: Iterable[str] = ()) -> None:
    """Open the installed plug-ins and those that the user names.  Raises BadInput."""
    try:
        registry.load_installed()
        for plugin in plugins:
            registry.load(plugin)
    except registry.Misnamed as fault:
        raise BadInput(str(fault)) from fault


def teachers(words: Iterable[str], results: Path) -> Mapping[str, Run]:
    """ "NETWORK=ID" -> network and the run that the record of this id holds.  Raises BadInput."""
    latest, found = Store(results).latest(), {}
    for word in words:
        network, _, id = word.partition("=")
        known = [each for each in latest if id and each.startswith(id)]
        if len(known) != 1:
            raise BadInput(f"--teacher {word}: {len(known)} records in {results} begin with {id!r}; write NETWORK=ID")
        run = Run.model_validate(latest[known[0]].run)
        if run.student != network:
            raise BadInput(f"--teacher {word}: record {run.id} is a {run.student}, not a {network}")
        found[network] = run
    return found


def named(name: str) -> list[str]:
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


def describe(shelf: str = "") -> str:
    """The lines of one shelf, methods, models, suites or datasets; without a name, of all.  Raises BadInput."""
    shelves = {"methods": _methods, "models": _models, "suites": _suites, "datasets": _datasets}
    if shelf and shelf not in shelves:
        raise BadInput(f"there is no list of {shelf!r}{registry.meant(shelf, list(shelves))}")
    return "\n\n".join(show() for name, show in shelves.items() if shelf in ("", name))


def _methods() -> str:
    rows = []
    for name in registry.names():
        knobs = ", ".join(f"{knob}={spec.default}" for knob, spec in registry.knobs(name).items())
        title = registry.about(name).partition("\n")[0]
        rows.append(f"{name:<10} {title}\n{'':<10} {knobs or 'no knobs'}")
    return "\n".join(["methods, composed with + as in kd+NAME", *rows])


def _models() -> str:
    return "\n".join(["models", *models.names(), "torchvision:NAME"])


def _suites() -> str:
    return "\n".join(["suites", *(f"{name:<10} {read_suite(name).title}" for name in suites())])


def _datasets() -> str:
    return "\n".join(["datasets", *datasets.names(), "folder:NAME  images in DIR/NAME/{train,test}/<class>/"])
