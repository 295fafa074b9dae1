"""Test that the committed report is what `report` writes from the committed results."""

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmark.report.build import build
from benchmark.store import Store

ROOT = Path(__file__).parents[2]
REPORT_LIBRARIES = ("matplotlib", "numpy", "pandas", "scipy", "jinja2", "tabulate", "itables")


def pinned_versions():
    """Package -> version of requirements.txt."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    return dict(line.split("==") for line in lines if "==" in line)


def test_the_committed_report_is_byte_for_byte_what_the_committed_results_give(tmp_path):
    other = [name for name in REPORT_LIBRARIES if version(name) != pinned_versions()[name]]
    if other:
        pytest.skip(f"other versions than requirements.txt pins, of {', '.join(other)}: other bytes are expected")
    shutil.copy(ROOT / "reports" / "FINDINGS.md", tmp_path)  # its prose is not made from results, its tables are
    out = build(Store(ROOT / "results"), tmp_path).parent
    for folder, other in ((out, ROOT / "reports"), (ROOT / "reports", out)):
        files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
        assert not [name for name in files if not (other / name).is_file()]
        assert not [str(name) for name in files if (folder / name).read_bytes() != (other / name).read_bytes()]


def test_every_committed_record_reads_without_complaint():
    store = Store(ROOT / "results")
    assert list(store.records())
    assert store.complaints == []
