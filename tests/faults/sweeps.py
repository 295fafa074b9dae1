"""A tiny sweep in a process of its own: few digits, three methods, a checkpoint after every epoch, no costs."""

import functools
import sys

import pytest
from small_sweeps import Process, report_here, skip_costs, use_few_digits

from benchmark.store import Store

OPTIONS = ["--seeds", "0", "--precision", "fp32", "--device", "cpu", "--quiet"]
MAY_DIFFER = {"clock", "provenance"}  # fields of a record that depend on time and machine


def command(folder, methods="ce,kd,sp", epochs=3):
    """The words of a sweep with results and reports below `folder`."""
    places = ["--results", folder / "results", "--reports", folder / "reports"]
    return ["run", "digits", "-m", methods, "--epochs", epochs, *OPTIONS, *places]


def sweep(words):
    """Run the command, in a process that has nothing else to do."""
    from benchmark.cli import app
    from benchmark.training import loop

    patch = pytest.MonkeyPatch()
    use_few_digits(patch)
    skip_costs(patch)
    report_here(patch)
    loop.Context = functools.partial(loop.Context, checkpoint_interval=0.0)
    sys.argv = ["benchmark", *map(str, words)]
    app.main()


def start(folder, **changes):
    """The sweep as a process that leads a group of its own; its texts stand beside `folder`."""
    return Process(folder.with_name(f"{folder.name} texts"), sweep, command(folder, **changes))


def finish(folder, **changes):
    """The exit code and the errors of a sweep that is left alone."""
    process = start(folder, **changes)
    return process.wait(), process.errors


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
