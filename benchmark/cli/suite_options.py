"""What commands that act on a suite are told, as values: the suite's runs, and how to do them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path

import typer

from benchmark.cli.options import (
    Again,
    Data,
    DataSet,
    Device,
    Download,
    Epochs,
    Executor,
    Graphs,
    Lanes,
    Methods,
    Pairs,
    Plugins,
    Precision,
    Quiet,
    Reports,
    Results,
    Seeds,
    Settings,
    SuiteName,
    Teachers,
    as_typed,
)
from benchmark.experiment.suite import split_list


def suite_options(
    suite: SuiteName,
    methods: Methods = "",
    pairs: Pairs = "",
    seeds: Seeds = "",
    epochs: Epochs = None,
    dataset: DataSet = "",
    precision: Precision = "",
    settings: Settings = (),
    teacher: Teachers = (),
    data: Data = Path("data"),
    results: Results = Path("results"),
    reports: Reports = Path("reports"),
    device: Device = "auto",
    lanes: Lanes = 16,
    executor: Executor = "here",
    plugin: Plugins = (),
    download: Download = False,
    quiet: Quiet = False,
    again: Again = False,
    graphs: Graphs = True,
):
    """Runs, how to do them, and where the report goes.  Raises BadInput."""
    from benchmark.cli import listing
    from benchmark.experiment.origins import origins
    from benchmark.experiment.resolve import Choices, load_suite
    from benchmark.sweep import runner

    listing.open_plugins(plugin)
    choices = Choices(
        methods=split_list(methods),
        pairs=split_list(pairs),
        seeds=seeds,
        epochs=epochs,
        dataset=dataset,
        precision=precision,
        knobs=tuple(settings),
        teachers=listing.teachers(teacher, results),
    )
    runs = load_suite(suite, choices)
    known = origins(runs, suite, choices)
    given = {
        "--epochs": epochs,
        "--dataset": dataset,
        "--precision": precision,
        "--set": settings,
        "--teacher": teacher,
    }
    rest = (suite, results, data, device, lanes, executor, tuple(plugin), download, quiet, again, graphs)
    return runs, runner.Options(*rest, suite_changes=as_typed(given), origins=known), reports


def suite_command(app: typer.Typer, default: str = "") -> Callable:
    """Make an action on (runs, options, reports) a command that takes all the options of `suite_options`.

    default: the suite, where the command can do without its name.
    """

    def register(action: Callable) -> Callable:
        @functools.wraps(action)
        def command(**values):
            action(*suite_options(**values))

        signature = inspect.signature(suite_options, eval_str=True)
        if default:
            first, *rest = signature.parameters.values()
            signature = signature.replace(parameters=[first.replace(default=default), *rest])
        command.__signature__ = signature
        command.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()}
        return app.command()(command)

    return register
