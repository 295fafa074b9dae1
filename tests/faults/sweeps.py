"""A tiny sweep of the bundled digits as a process: three methods, a checkpoint after every epoch, no costs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from benchmark.store import Store

ROOT = Path(__file__).parents[2]
SCRIPT = """
import functools
import benchmark.training.loop as loop
from benchmark.cli import app
from benchmark.profiling import cost, deployment
loop.Context = functools.partial(loop.Context, checkpoint_interval=0.0)
cost.measure_or_warn = deployment.measure = lambda *_: []
app.main()
"""
OPTIONS = ["--seeds", "0", "--precision", "fp32", "--device", "cpu", "--quiet"]
MAY_DIFFER = {"clock", "provenance"}  # fields of a record that depend on time and machine


def command(folder, methods="ce,kd,sp", epochs=3):
    """The words of a sweep with results and reports below `folder`."""
    places = ["--results", folder / "results", "--reports", folder / "reports"]
    words = ["run", "digits", "-m", methods, "--epochs", epochs, *OPTIONS, *places]
    return [sys.executable, "-c", SCRIPT, *map(str, words)]


def start(folder, **changes):
    """The sweep as a process that leads a group of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.Popen(
        command(folder, **changes), cwd=ROOT, env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(folder, **changes):
    """The exit code and the errors of a sweep that is left alone."""
    process = start(folder, **changes)
    _, errors = process.communicate()
    return process.returncode, errors


def kill(process):
    """Kill a sweep and its children as kill -9 does, whatever they are doing."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def outcome(results):
    """Everything that a sweep found, by run: its records without times, and the bytes of its files."""
    store, found = Store(results), {}
    for record in store.records():
        name = (record.id, record.attempt)
        files = (store.weights(record.id), store.predictions(record.id), store.logits(record.id))
        found[name] = (record.model_dump(exclude=MAY_DIFFER), record.clock["epochs"], [f.read_bytes() for f in files])
    assert not store.complaints
    return found


def unfinished(results):
    """Files that a killed process may leave: incomplete ones, and checkpoints."""
    hidden = [path for path in results.rglob(".*") if path.is_file() and path.parent.name != "claims"]
    return sorted([*hidden, *(results / "checkpoints").glob("*.pt*")])
