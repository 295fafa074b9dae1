"""The shelf of methods: filed by name, described by their own signatures, composed with "+".

register("sp")         files a class            knobs("sp")     its keyword-only arguments
get("sp"), get("a+b")  finds one                load(path)      opens a plug-in
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from methods.contract import Clock, Method, Shape, Stage
from methods.source_hash import source_hash

NAME = re.compile(r"[A-Za-z0-9_-]+")
_shelf: dict[str, type[Method]] = {}


class Misnamed(ValueError):
    """A method, knob or plug-in that is not there; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One keyword-only argument of a method: its type as annotated, its default."""

    kind: object
    default: object


def register(name: str) -> Callable[[type[Method]], type[Method]]:
    """File a class under `name`.  Raises Misnamed for a second claimant, naming both files."""

    def file(cls: type[Method]) -> type[Method]:
        if not NAME.fullmatch(name):
            raise Misnamed(f"{source(cls)}: {name!r} cannot name a method: use letters, digits, '_' and '-'")
        known = _shelf.get(name, cls)
        if (source(known), known.__qualname__) != (source(cls), cls.__qualname__):
            raise Misnamed(f"two classes claim the method {name!r}: {source(known)} and {source(cls)}")
        knobs(name, cls)
        cls.name = name
        _shelf[name] = cls
        return cls

    return file


def names() -> list[str]:
    """Every registered name, in alphabetical order."""
    return sorted(_shelf)


def get(name: str) -> type[Method]:
    """The class filed under `name`; "a+b" composes.  Raises Misnamed with the nearest name."""
    parts = name.split("+")
    for part in parts:
        if part not in _shelf:
            raise Misnamed(f"unknown method {part!r}{meant(part, names())} (`python -m benchmark list methods`)")
    if len(set(parts)) < len(parts):
        raise Misnamed(f"{name!r} composes a method with itself: name each part once")
    return _shelf[name] if len(parts) == 1 else compose(name)


def knobs(name: str, cls: type[Method] | None = None) -> dict[str, Knob]:
    """The knobs of a method, in order; those of a composition carry their method's name: "kd.alpha"."""
    parts = name.split("+")
    if len(parts) > 1:
        return {f"{part}.{knob}": spec for part in parts for knob, spec in knobs(part).items()}
    cls = cls or get(name)
    hints = typing.get_type_hints(cls.__init__)
    found = {}
    for p in inspect.signature(cls.__init__).parameters.values():
        if p.kind is not p.KEYWORD_ONLY:
            continue
        if p.default is p.empty or p.name not in hints:
            raise Misnamed(f"{source(cls)}: the knob {p.name!r} of {name!r} needs a type and a default")
        found[p.name] = Knob(hints[p.name], p.default)
    return found


def source(cls: type) -> Path:
    """The file a class was written in."""
    return Path(inspect.getfile(cls))


def digest(name: str) -> str:
    """12 hex digits over the code of a method's file (all of its parts' files): what made a record stale or fresh."""
    return source_hash(*(source(get(part)).read_bytes() for part in name.split("+")))


def about(name: str) -> str:
    """The docstrings of a method's file and class: citation, equation, departures."""
    texts = (f"{sys.modules[c.__module__].__doc__ or ''}\n{c.__doc__ or ''}" for c in map(get, name.split("+")))
    return "\n\n".join(inspect.cleandoc(t).strip() for t in texts)


def load(plugin: str) -> None:
    """Open a plug-in, a file path or a module's name, so that its methods register themselves.  Raises Misnamed."""
    path = Path(plugin)
    try:
        if path.suffix != ".py":
            importlib.import_module(plugin)
            return
        path = path.resolve(strict=True)
        name = f"kd_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        if name in sys.modules:
            return
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    except Misnamed:
        raise
    except FileNotFoundError:
        raise Misnamed(f"--plugin {plugin}: there is no such file; give a .py file or a module's name") from None
    except Exception as fault:
        raise Misnamed(
            f"--plugin {plugin} could not be opened: {type(fault).__name__}: {' '.join(str(fault).split())}"
        ) from fault


def load_installed() -> None:
    """Open every installed package that offers methods under the entry point group `kd.methods`."""
    for entry in entry_points(group="kd.methods"):
        load(entry.module)


def meant(word: str, choices: list[str]) -> str:
    """ "; did you mean 'sp'?", or all the choices where none is near."""
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(choices) or 'none'}"


def compose(name: str) -> type[Method]:
    """A class that adds up the terms of several methods; cross-entropy once, as the first of them weighs it.

    Extra stages of the parts run before, one after another; the last stages run together.
    """
    parts = [_shelf[part] for part in name.split("+")]

    class Composite(Method):
        needs_teacher = any(cls.needs_teacher for cls in parts)

        def __init__(self, student: Shape, teacher: Shape, **values):
            super().__init__()
            for cls in parts:
                own = {k.removeprefix(f"{cls.name}."): v for k, v in values.items() if k.startswith(f"{cls.name}.")}
                self.add_module(f"part_{cls.name}", cls(student, teacher, **own))

        def loss(self, s, t, batch):
            return add_up((part.loss for part in self.children()), s, t, batch)

        def prepare(self, student, teacher, sweep):
            for part in self.children():
                part.prepare(student, teacher, sweep)

        def stages(self, epochs):
            each = [part.stages(epochs) for part in self.children()]
            before = [stage for stages in each for stage in stages[:-1]]
            losses = [stages[-1].loss for stages in each]
            return [*before, Stage("distill", epochs, lambda s, t, b: add_up(losses, s, t, b))]

        def begin_epoch(self, clock: Clock):
            for part in self.children():
                part.begin_epoch(clock)

        def observe(self, s, t, batch):
            for part in self.children():
                part.observe(s, t, batch)

    Composite.name = Composite.__qualname__ = name
    return Composite


def add_up(losses, s, t, batch) -> dict:
    """The terms of several losses in one dict; "ce" only from the first that has it."""
    terms = {}
    for loss in losses:
        for word, value in loss(s, t, batch).items():
            if word == "ce":
                terms.setdefault("ce", value)
            elif word in terms:
                raise TypeError(f"two methods call a term {word!r}: rename one")
            else:
                terms[word] = value
    return terms
