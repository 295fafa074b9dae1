"""Keep drawn figures between reports: a figure is drawn again only if its records, or the code that draws, changed.

The files lie in results/.cache/figures, which git ignores.  A report has equal bytes with and without them.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

from benchmark.files import write_atomic
from benchmark.report.records.cells import Protocol

REPORT = Path(__file__).parents[2]
LIBRARIES = ("matplotlib", "numpy", "scipy")


@dataclass(frozen=True, slots=True)
class FigureCache:
    """A folder of figures by the hash of what they were drawn from; without a folder every figure is drawn."""

    folder: Path | None = None
    inputs: str = ""  # digest of what the figures depend on
    used: set[str] = field(default_factory=set)  # names of the files that this report needs

    @classmethod
    def beside(cls, results: Path) -> FigureCache:
        """The cache in a folder of results; without a folder if there is none."""
        return cls(results / ".cache" / "figures" if results.is_dir() else None)

    def of(self, parts: Iterable[str | bytes]) -> FigureCache:
        """The same cache for figures that depend on these parts too."""
        return replace(self, inputs=digest([self.inputs, *parts])) if self.folder else self

    def svg(self, name: str, draw: Callable[[], str]) -> str:
        """The figure of this name: the kept one, or else drawn, and kept where the folder can be written."""
        if self.folder is None:
            return draw()
        path = self.folder / f"{digest([code_digest(), self.inputs, name])[:32]}.svg"
        self.used.add(path.name)
        with contextlib.suppress(OSError, UnicodeDecodeError):  # not there, or damaged
            kept, _, checksum = path.read_text(encoding="utf-8").rpartition("\n")
            if checksum == digest([kept]):
                return kept
        drawn = draw()
        with contextlib.suppress(OSError):  # a folder that only others may write to
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, f"{drawn}\n{digest([drawn])}".encode())
        return drawn

    def remove_unused(self) -> None:
        """Remove the figures that this report did not need."""
        for path in self.folder.glob("*.svg") if self.folder else ():
            if path.name not in self.used:
                with contextlib.suppress(OSError):
                    path.unlink()


NO_CACHE = FigureCache()


def digest(parts: Iterable[str | bytes]) -> str:
    """The sha256 of the parts, each with its length."""
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(f"{len(data)} ".encode() + data)
    return found.hexdigest()


@cache
def code_digest() -> str:
    """The digest of the code and data of the report, and of the libraries that draw."""
    files = sorted(path for path in REPORT.rglob("*") if path.suffix in (".py", ".csv"))
    return digest([*(path.read_bytes() for path in files), *map(version, LIBRARIES)])


def protocol_parts(protocol: Protocol) -> Iterable[str | bytes]:
    """What the figures of a protocol depend on: its labels, and every record in it with its costs."""
    yield f"{protocol.label}\n{protocol.slug}"
    for (row, pair), cell in protocol.cells.items():
        runs = [(entry.name, entry.other_scores) for entry in cell.entries]
        yield repr((row, row.label, pair, pair.label, cell.reported_top1, cell.exclusion_reason, runs))
    for entry in protocol.entries:
        for each in (entry, *entry.costs):
            yield marshal.dumps(each.record.__dict__, 2) if each.record else each.run.id  # 2: without references
