"""Registry of methods: classes by name, their knobs read from their signatures, compositions written with "+".

register("sp")         adds a class             knobs("sp")     its keyword-only arguments
get("sp"), get("a+b")  returns a class          load(path)      imports a plug-in
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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from methods.composition import compose
from methods.contract import Method
from methods.source_hash import source_hash

NAME = re.compile(r"[A-Za-z0-9_-]+")
_methods: dict[str, type[Method]] = {}


class RegistryError(ValueError):
    """An unknown, duplicate or invalid method, knob or plug-in; the message is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One keyword-only argument of a method: its annotated type, which holds its range, and its default."""

    kind: object
    default: object


def register(name: str) -> Callable[[type[Method]], type[Method]]:
    """Register a class under `name`.  Raises RegistryError if another class has this name, naming both files."""

    def add(cls: type[Method]) -> type[Method]:
        if not NAME.fullmatch(name):
            raise RegistryError(f"{source(cls)}: {name!r} cannot name a method: use letters, digits, '_' and '-'")
        known = _methods.get(name, cls)
        if (source(known), known.__qualname__) != (source(cls), cls.__qualname__):
            raise RegistryError(f"two classes register {name!r}: {source(known)} and {source(cls)}; rename one")
        knobs(name, cls)
        cls.name = name
        _methods[name] = cls
        return cls

    return add


def names() -> list[str]:
    """Every registered name, in alphabetical order."""
    return sorted(_methods)


def get(name: str) -> type[Method]:
    """The class registered as `name`, or the composition "a+b".  Raises RegistryError with the closest name."""
    parts = name.split("+")
    for part in parts:
        if part not in _methods:
            raise RegistryError(
                f"unknown method {part!r:.60}{suggest(part, names())} (`python -m benchmark list methods`)"
            )
    if len(set(parts)) < len(parts):
        raise RegistryError(f"{name!r:.60} composes a method with itself: name each part once")
    return _methods[name] if len(parts) == 1 else compose(name, [_methods[part] for part in parts])


def knobs(name: str, cls: type[Method] | None = None) -> dict[str, Knob]:
    """The knobs of a method, in order; in a composition their names are prefixed: "kd.alpha"."""
    parts = name.split("+")
    if len(parts) > 1:
        return {f"{part}.{knob}": spec for part in parts for knob, spec in knobs(part).items()}
    cls = cls or get(name)
    hints = typing.get_type_hints(cls.__init__, include_extras=True)
    found = {}
    for p in inspect.signature(cls.__init__).parameters.values():
        if p.kind is not p.KEYWORD_ONLY:
            continue
        if p.default is p.empty or p.name not in hints:
            raise RegistryError(f"{source(cls)}: the knob {p.name!r} of {name!r} needs a type and a default")
        found[p.name] = Knob(hints[p.name], p.default)
    return found


def source(cls: type) -> Path:
    """The file that defines a class."""
    return Path(inspect.getfile(cls))


def preactivations_read(methods: Iterable[str]) -> bool:
    """Whether any of some methods reads maps before the last ReLU of each stage, so that networks have to show them."""
    return any(get(name).reads_preactivations for name in methods)


def digest(name: str) -> str:
    """Hash of the code of a method's file, or of its parts' files: 12 hex digits.  It tells which records are stale."""
    return source_hash(*(source(get(part)).read_bytes() for part in name.split("+")))


def docstring(name: str) -> str:
    """The docstrings of a method's module and class: citation, equation, departures."""
    texts = (f"{sys.modules[c.__module__].__doc__ or ''}\n{c.__doc__ or ''}" for c in map(get, name.split("+")))
    return "\n\n".join(inspect.cleandoc(t).strip() for t in texts)


def load(plugin: str) -> None:
    """Import a plug-in, a .py file or a module's name; its methods register themselves.

    Raises RegistryError, and leaves the registry as it was, if that fails in any way.
    """
    known = dict(_methods)
    try:
        if plugin.endswith(".py"):
            load_file(plugin_path(plugin))
        elif all(part.isidentifier() for part in plugin.split(".")):
            importlib.import_module(plugin)
        else:
            raise RegistryError(f"--plugin {plugin}: there is no such module; give a .py file or a module's name")
    except BaseException as fault:  # sys.exit too
        _methods.clear()
        _methods.update(known)
        if isinstance(fault, RegistryError | KeyboardInterrupt):
            raise
        raise RegistryError(f"--plugin {plugin} could not be imported: {describe(fault)}") from fault


def plugin_path(plugin: str) -> Path:
    """The resolved path of a plug-in's file.  Raises RegistryError if there is none; to open a pipe would wait."""
    try:
        path = Path(plugin).resolve(strict=True)
        problem = "" if path.is_file() else "this is a folder, a pipe or a device"
    except FileNotFoundError:
        problem = "there is no such file"
    except (OSError, RuntimeError, ValueError) as fault:  # a name that is too long, a link to itself, a null byte
        problem = f"this is no path of a file ({getattr(fault, 'strerror', None) or type(fault).__name__})"
    if problem:
        raise RegistryError(f"--plugin {plugin}: {problem}; give a .py file or a module's name")
    return path


def load_file(path: Path) -> None:
    """Import a file as a module of its own, unless that was done before."""
    name = f"kd_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    source_hash(path.read_bytes())  # what cannot be hashed cannot be recorded
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def describe(fault: BaseException) -> str:
    """Type and message of an exception of a plug-in, in one line of about 300 characters at most."""
    try:
        text = " ".join(str(fault).split())[:300]
    except Exception:  # noqa: BLE001  its own __str__ fails
        text = ""
    return type(fault).__name__ + (f": {text}" if text else "")


def load_installed() -> None:
    """Import every installed package that provides methods in the entry point group `kd.methods`."""
    for entry in entry_points(group="kd.methods"):
        load(entry.module)


def suggest(name: str, choices: list[str]) -> str:
    """The end of an error message: "; did you mean 'sp'?", or all choices if none is close to `name`."""
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(choices) or 'none'}"
