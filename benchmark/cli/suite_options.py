"""Options of the commands that act on a suite, parsed into its runs and the options of the sweep."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path

import typer

from benchmark.cli.options import (
    Address,
    Again,
    CohortGpus,
    CohortHours,
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
    as_arguments,
)
from benchmark.experiment.suite import split_list


def suite_options(
    suite: SuiteName,
    methods: Methods = None,
    pairs: Pairs = None,
    seeds: Seeds = None,
    epochs: Epochs = None,
    dataset: DataSet = None,
    precision: Precision = None,
    settings: Settings = (),
    teacher: Teachers = (),
    data: Data = Path("data"),
    results: Results = Path("results"),
    reports: Reports = Path("reports"),
    device: Device = "auto",
    lanes: Lanes = 16,
    executor: Executor = "here",
    address: Address = "",
    cohort_gpus: CohortGpus = 1.0,
    cohort_hours: CohortHours = None,
    plugin: Plugins = (),
    download: Download = False,
    quiet: Quiet = False,
    again: Again = False,
    graphs: Graphs = True,
):
    """The suite's runs, the options of the sweep, and the folder of the report.  Raises BadInput."""
    from benchmark.cli import listing
    from benchmark.experiment.origins import origins
    from benchmark.experiment.resolve import Choices, load_suite
    from benchmark.sweep import runner

    listing.open_plugins(plugin)
    choices = Choices(
        methods=() if methods is None else split_list(methods, "--methods"),
        pairs=() if pairs is None else split_list(pairs, "--pairs"),
        seeds=seeds,
        epochs=epochs,
        dataset=dataset,
        precision=precision,
        knobs=tuple(settings),
        teachers=listing.parse_teachers(teacher, results),
    )
    runs = load_suite(suite, choices)
    known = origins(runs, suite, choices)
    changes = {
        "--epochs": epochs,
        "--dataset": dataset,
        "--precision": precision,
        "--set": settings,
        "--teacher": teacher,
    }
    cluster = (address, cohort_gpus, cohort_hours)
    rest = (suite, results, data, device, lanes, executor, *cluster, tuple(plugin), download, quiet, again, graphs)
    return runs, runner.Options(*rest, suite_changes=as_arguments(changes), origins=known), reports


def suite_command(app: typer.Typer, default: str = "") -> Callable:
    """Decorator: makes a function of (runs, options, reports) a command with the options of `suite_options`.

    default: the suite that is used if the user names none; if empty, a suite must be named.
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
