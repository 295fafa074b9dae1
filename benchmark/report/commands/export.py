"""A paper's supplement: records, predictions, and the tables and figures that follow from them, in one archive."""

from __future__ import annotations

import hashlib
import io
import platform
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

from benchmark.errors import BadInput
from benchmark.files import write_atomic
from benchmark.report.build import build
from benchmark.report.commands.watch import file_state
from benchmark.report.formatting import count_of
from benchmark.report.page.notes import provenance
from benchmark.report.records.entries import Entry, load_entries
from benchmark.store import Store

RESULT_FILES = ("records/*.json", "teachers/*.json", "predictions/*.npz", "features/*")  # of the results
REPORT_LIBRARIES = ("pandas", "scipy", "matplotlib", "jinja2")  # what makes a report out of records
PROVENANCE_FIELDS = ("newest record", "commit", "torch", "torchvision", "cuda", "device", "precision")
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # equal contents, equal bytes
TRIES = 3

Files = dict[str, bytes]  # path in the archive -> contents


def export(target: Path, results: Path, reports: Path) -> str:
    """Write the archive, with a report made anew from the very records in it; returns what to say.  Raises BadInput."""
    taken = f"{target} exists already and stays as it is; name another file, or remove it first"
    if target.exists():
        raise BadInput(taken)
    if not target.parent.is_dir():
        raise BadInput(f"{target}: there is no folder {target.parent}; make it, or name another file")
    store = Store(results)
    entries, _ = load_entries(store)
    if not entries:
        raise BadInput(f"{results} holds no records, so there is nothing to export; run a suite, or name --results")
    files = collect_files(store)
    data = make_zip(files | {"MANIFEST": manifest(files, entries).encode()})
    try:
        write_atomic(target, data, fresh=True)
    except FileExistsError:
        raise BadInput(taken) from None
    except OSError as fault:
        raise BadInput(f"{target} cannot be written ({fault.strerror}); name another file") from fault
    summary = f"{target}: {count_of(len(files), 'file')}, {len(data) / 1e6:,.1f} MB, {count_of(len(entries), 'run')}"
    return summary + outdated_warning(files, reports)


def collect_files(store: Store) -> Files:
    """What is kept of the results, and the report of it, all of one moment.  Raises BadInput if there is none."""
    for _ in range(TRIES):
        before = file_state(store)
        files = read_files(store.root, "results", RESULT_FILES) | render_report(store)
        if file_state(store) == before:
            return files
    raise BadInput(f"{store.root} changes while it is read; export again when the sweep is through")


def render_report(store: Store) -> Files:
    """The report of the store as it is now."""
    with tempfile.TemporaryDirectory() as folder:
        build(store, Path(folder))
        return read_files(Path(folder), "reports", ("index.html", "manifest.txt", "tables/*", "figures/*"))


def read_files(root: Path, name: str, patterns: tuple[str, ...]) -> Files:
    """The files of a folder, those under way apart."""
    paths = [path for pattern in patterns for path in root.glob(pattern) if path.is_file() and path.name[0] != "."]
    return {f"{name}/{path.relative_to(root).as_posix()}": path.read_bytes() for path in paths}


def manifest(files: Files, entries: list[Entry]) -> str:
    """Versions, and the SHA-256 of every file as `sha256sum -c` reads it."""
    facts = provenance(entries)
    drawn = ", ".join(
        [f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in REPORT_LIBRARIES)]
    )
    lines = [
        f"records of {count_of(len(entries), 'run')}, and the report made from them",
        "check the files: sha256sum -c MANIFEST",
        "make the report again: python -m benchmark report --results results --out reports",
        f"report made with: {drawn}",
        *(f"records, {word}: {facts[word]}" for word in PROVENANCE_FIELDS if word in facts),
    ]
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in sorted(files.items())]
    return "\n".join([*(f"# {' '.join(word.split())}" for word in lines), *sums, ""])


def make_zip(files: Files) -> bytes:
    """The archive: names in order, no clock in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same from every system
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def outdated_warning(files: Files, reports: Path) -> str:
    """A word of warning if the report that lies outside is not the one in the archive."""
    own = {name: data for name, data in files.items() if name.startswith("reports/")}
    if not (reports / "index.html").is_file():
        return ""
    for name, data in own.items():
        path = reports / name.removeprefix("reports/")
        if not path.is_file() or path.read_bytes() != data:
            return f"\n{reports} is not the report of these records; `python -m benchmark report` renews it"
    return ""
