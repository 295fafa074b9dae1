"""What several test files share: the data's folder, a shelf that forgets, the command line as a process."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from methods import registry

ROOT = Path(__file__).parents[1]


@pytest.fixture
def data_root():
    """The folder of real data sets, or a skipped test."""
    if not os.environ.get("KD_DATA"):
        pytest.skip("KD_DATA names no folder of real data")
    return Path(os.environ["KD_DATA"]).resolve()


@pytest.fixture
def shelf(monkeypatch):
    """The registry's shelf; what a test files there is forgotten after it, plug-ins' modules too."""
    monkeypatch.setattr(registry, "_shelf", dict(registry._shelf))
    modules = set(sys.modules)
    yield registry._shelf
    for name in set(sys.modules) - modules:
        if name.startswith(("kd_plugin_", "outside_")):
            del sys.modules[name]


@pytest.fixture
def run_cli():
    """A function: words of the command line -> code, out, err of `python -m benchmark` in the project's folder."""

    def run(*words, cwd=ROOT):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        command = [sys.executable, "-m", "benchmark", *map(str, words)]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    return run
