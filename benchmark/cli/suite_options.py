"""Options of the commands that act on a suite, parsed into its runs and the options of the sweep."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path

import typer

from benchmark.cli.option_checks import check_texts
from benchmark.cli.options import (
    Address,
    Again,
    Budget,
    CohortGpus,
    CohortHours,
    Data,
    DataSet,
    Device,
    Download,
    Epochs,
    Executor,
    FailFast,
    Graphs,
    JudgedOn,
    Lanes,
    MaxHours,
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
from benchmark.waiting import say_if_slow


def suite_options(
    suite: SuiteName,
    methods: Methods = None,
    pairs: Pairs = None,
    seeds: Seeds = None,
    epochs: Epochs = None,
    dataset: DataSet = None,
    precision: Precision = None,
    judge: JudgedOn = None,
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
    max_hours: MaxHours = None,
    budget: Budget = "",
    fail_fast: FailFast = False,
    plugin: Plugins = (),
    download: Download = False,
    quiet: Quiet = False,
    again: Again = False,
    graphs: Graphs = True,
):
    """The suite's runs, the options of the sweep, and the folder of the report.  Raises BadInput."""
    texts = {"methods": methods, "pairs": pairs, "seeds": seeds, "precision": precision}
    check_texts(suite, **texts, settings=settings, plugins=plugin)
    from benchmark.cli import listing
    from benchmark.data import datasets
    from benchmark.experiment.origins import origins
    from benchmark.experiment.resolve import Choices, load_suite
    from benchmark.sweep.limits import make_limits
    from benchmark.sweep.options import Options

    listing.open_plugins(plugin)
    choices = Choices(
        methods=() if methods is None else split_list(methods, "--methods"),
        pairs=() if pairs is None else split_list(pairs, "--pairs"),
        seeds=seeds,
        epochs=epochs,
        dataset=dataset,
        precision=precision,
        judge=judge,
        knobs=tuple(settings),
        teachers=listing.parse_teachers(teacher, results),
    )
    runs = load_suite(suite, choices, functools.partial(datasets.content, root=data))
    known = origins(runs, suite, choices)
    changes = {
        "--epochs": epochs,
        "--dataset": dataset,
        "--precision": precision,
        "--judge": judge,
        "--set": settings,
        "--teacher": teacher,
    }
    cluster = (address, cohort_gpus, cohort_hours)
    rest = (suite, results, data, device, lanes, executor, *cluster, tuple(plugin), download, quiet, again, graphs)
    limits = make_limits(max_hours, budget, fail_fast)
    return runs, Options(*rest, limits, suite_changes=as_arguments(changes), choices=choices, origins=known), reports


def suite_command(app: typer.Typer, default: str = "", judge: str | None = None) -> Callable:
    """Decorator: makes a function of (runs, options, reports) a command with the options of `suite_options`.

    Its keyword-only arguments are further options.
    default: the suite that is used if the user names none; if empty, a suite must be named.
    judge: the images that the command always judges on, so that it has no option --judge.
    """

    def register(action: Callable) -> Callable:
        further = keyword_only(action)

        @functools.wraps(action)
        def command(**values):
            own = {parameter.name: values.pop(parameter.name) for parameter in further}
            with say_if_slow("loading torch and resolving the suite"):
                resolved = suite_options(**({"judge": judge} if judge else {}), **values)
            action(*resolved, **own)

        first, *rest = inspect.signature(suite_options, eval_str=True).parameters.values()
        shared = [first.replace(default=default or first.default), *rest]
        kept = [parameter for parameter in shared if not (judge and parameter.name == "judge")]
        signature = inspect.Signature([*(each.replace(kind=each.KEYWORD_ONLY) for each in kept), *further])
        command.__signature__ = signature
        command.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()}
        return app.command()(command)

    return register


def keyword_only(action: Callable) -> list[inspect.Parameter]:
    """The keyword-only parameters of a function, with their annotations evaluated."""
    parameters = inspect.signature(action, eval_str=True).parameters.values()
    return [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
