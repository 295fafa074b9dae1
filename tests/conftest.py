"""Shared fixtures: the folder of data sets, a registry that is restored, the command line as a process."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.waiting import PREFIX
from methods import registry

ROOT = Path(__file__).parents[1]


@pytest.fixture
def data_root():
    """The folder of real data sets; the test is skipped if there is none."""
    if not os.environ.get("KD_DATA"):
        pytest.skip("KD_DATA names no folder of real data")
    return Path(os.environ["KD_DATA"]).resolve()


@pytest.fixture
def isolated_registry(monkeypatch):
    """A copy of the registry's dict of methods; methods and plug-in modules that a test adds are removed after it."""
    monkeypatch.setattr(registry, "_methods", dict(registry._methods))
    modules = set(sys.modules)
    yield registry._methods
    for name in set(sys.modules) - modules:
        if name.startswith(("kd_plugin_", "outside_")):
            del sys.modules[name]


@pytest.fixture
def run_cli():
    """A function: arguments -> code, out, err of `python -m benchmark`, run in the project's folder."""

    def run(*arguments, cwd=ROOT):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
        finished = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        lines = finished.stderr.splitlines(keepends=True)
        err = "".join(line for line in lines if not line.startswith(PREFIX))  # what a slow machine is busy with
        return SimpleNamespace(code=finished.returncode, out=finished.stdout, err=err)

    return run


def pytest_collection_finish():
    """Leave what the imports made out of garbage collections, each of which would go through all of it again."""
    gc.collect()
    gc.freeze()
