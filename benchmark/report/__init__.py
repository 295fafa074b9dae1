"""Records in, tables, pictures and a page out.  Equal records give equal bytes; torch is never imported.

build(store, out)      writes OUT/index.html, OUT/tables/ and OUT/figures/
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from benchmark.report.accuracy import accuracy_table
from benchmark.report.drawing import styles_of
from benchmark.report.entries import gather
from benchmark.report.figures import drawings
from benchmark.report.measures import cost_table, quality_table
from benchmark.report.page import Section, render
from benchmark.report.protocols import protocols
from benchmark.run import Run
from benchmark.store import Store, put

MANIFEST, FOLDERS = "manifest.txt", ("tables", "figures")


def build(store: Store, out: Path, plan: Sequence[Run] | None = None) -> Path:
    """Write the report of a store's records; cells of the plan that have none say so.  Returns the page's path."""
    entries, complaints = gather(store, plan)
    found = protocols(entries)
    styles = styles_of(found)
    sections = []
    for protocol in found:
        tables = (accuracy_table(protocol), quality_table(protocol), cost_table(protocol))
        written = tuple(table for table in tables if table.lines)
        sections.append(Section(protocol, written, tuple(drawings(protocol, styles))))
    files: dict[str, bytes] = {}
    for section in sections:
        for table in section.tables:
            files[f"tables/{table.name}.md"] = table.markdown().encode()
            files[f"tables/{table.name}.csv"] = table.csv().encode()
        for drawing in section.drawings:
            files[f"figures/{drawing.name}.svg"] = drawing.svg.encode()
            files[f"figures/{drawing.name}.pdf"] = drawing.pdf
    files["index.html"] = render(sections, entries, complaints).encode()
    publish(Path(out), files)
    return Path(out) / "index.html"


def publish(out: Path, files: dict[str, bytes]) -> None:
    """Write the files, the page last; then remove those that an earlier report wrote and this one does not."""
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    earlier = manifest(out)
    put(out / MANIFEST, listing(earlier | set(files)))  # whatever happens next, it is known to be ours
    for name, data in files.items():
        put(out / name, data)
    for name in earlier - set(files):
        (out / name).unlink(missing_ok=True)
    put(out / MANIFEST, listing(set(files)))


def manifest(out: Path) -> set[str]:
    """The files that earlier reports wrote into the two folders."""
    path = out / MANIFEST
    lines = path.read_text().splitlines() if path.is_file() else []
    paths = [PurePosixPath(line) for line in lines]
    return {str(path) for path in paths if len(path.parts) == 2 and path.parts[0] in FOLDERS and path.name != ".."}


def listing(names: set[str]) -> bytes:
    """Names, one a line."""
    return "".join(f"{name}\n" for name in sorted(names)).encode()
