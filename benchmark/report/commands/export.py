"""The command `export`: pack records, predictions and the report made from them into one archive."""

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

RESULT_FILES = ("records/*.json", "teachers/*.json", "predictions/*.npz", "features/*", "tuning/*.json")  # of results/
REPORT_LIBRARIES = ("pandas", "scipy", "matplotlib", "jinja2")  # libraries that the report's contents depend on
PROVENANCE_FIELDS = ("newest record", "commit", "torch", "torchvision", "cuda", "device", "precision")
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # fixed, so that equal contents give equal bytes
TRIES = 3

Files = dict[str, bytes]  # path in the archive -> contents


def export(target: Path, results: Path, reports: Path) -> str:
    """Write the archive with a report built from the records in it; return the message to print.

    Raises BadInput if `target` exists or cannot be written, or if there are no records.
    """
    exists_message = f"{target} exists already and stays as it is; name another file, or remove it first"
    if target.exists():
        raise BadInput(exists_message)
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
        raise BadInput(exists_message) from None
    except OSError as fault:
        raise BadInput(f"{target} cannot be written ({fault.strerror}); name another file") from fault
    summary = f"{target}: {count_of(len(files), 'file')}, {len(data) / 1e6:,.1f} MB, {count_of(len(entries), 'run')}"
    return summary + outdated_warning(files, reports)


def collect_files(store: Store) -> Files:
    """The files of the results and the report of them.  Raises BadInput if the results change during every attempt."""
    for _ in range(TRIES):
        before = file_state(store)
        files = read_files(store.root, "results", RESULT_FILES) | render_report(store)
        if file_state(store) == before:
            return files
    raise BadInput(f"{store.root} changes while it is read; export again when the sweep has finished")


def render_report(store: Store) -> Files:
    """The files of a report built from the store."""
    with tempfile.TemporaryDirectory() as folder:
        build(store, Path(folder))
        return read_files(Path(folder), "reports", ("index.html", "manifest.txt", "tables/*", "figures/*"))


def read_files(root: Path, name: str, patterns: tuple[str, ...]) -> Files:
    """The files that match the patterns, without those still being written, under `name` in the archive."""
    paths = [path for pattern in patterns for path in root.glob(pattern) if path.is_file() and path.name[0] != "."]
    return {f"{name}/{path.relative_to(root).as_posix()}": path.read_bytes() for path in paths}


def manifest(files: Files, entries: list[Entry]) -> str:
    """The text of the MANIFEST: versions as comments, and the SHA-256 of every file in the format of `sha256sum`."""
    facts = provenance(entries)
    versions = ", ".join(
        [f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in REPORT_LIBRARIES)]
    )
    lines = [
        f"records of {count_of(len(entries), 'run')}, and the report made from them",
        "check the files: sha256sum -c MANIFEST",
        "make the report again: python -m benchmark report --results results --out reports",
        f"report made with: {versions}",
        *(f"records, {name}: {facts[name]}" for name in PROVENANCE_FIELDS if name in facts),
    ]
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in sorted(files.items())]
    return "\n".join([*(f"# {' '.join(line.split())}" for line in lines), *sums, ""])


def make_zip(files: Files) -> bytes:
    """The archive with sorted names and fixed times, so that equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every operating system
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def outdated_warning(files: Files, reports: Path) -> str:
    """A warning if the report in `reports` differs from the one in the archive; "" otherwise."""
    exported = {name: data for name, data in files.items() if name.startswith("reports/")}
    if not (reports / "index.html").is_file():
        return ""
    for name, data in exported.items():
        path = reports / name.removeprefix("reports/")
        if not path.is_file() or path.read_bytes() != data:
            return f"\n{reports} is not the report of these records; update it with `python -m benchmark report`"
    return ""
