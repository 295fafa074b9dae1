"""Options of the commands that act on a suite, parsed into its runs and the options of the sweep."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
    TeacherSeeds,
    as_arguments,
)
from benchmark.experiment.suite import split_list
from benchmark.waiting import say_if_slow


def suite_options(
    suite: SuiteName,
    methods: Methods = None,
    pairs: Pairs = None,
    seeds: Seeds = None,
    teacher_seeds: TeacherSeeds = None,
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
    return resolve(SimpleNamespace(**locals()))


def resolve(given: SimpleNamespace):
    """What `suite_options` returns for these options.  Raises BadInput, before torch is loaded for what is misspelt."""
    texts = {name: getattr(given, name) for name in ("methods", "pairs", "seeds", "teacher_seeds", "precision")}
    check_texts(given.suite, **texts, settings=given.settings, plugins=given.plugin)
    from benchmark.cli import listing
    from benchmark.data import datasets
    from benchmark.experiment.origins import origins
    from benchmark.experiment.resolve import load_suite
    from benchmark.sweep.limits import make_limits
    from benchmark.sweep.options import Options

    listing.open_plugins(given.plugin)
    choices = choices_of(given)
    runs = load_suite(given.suite, choices, functools.partial(datasets.content, root=given.data))
    same = ("suite", "results", "data", "device", "lanes", "executor", "address", "cohort_gpus", "cohort_hours")
    options = Options(
        **{name: getattr(given, name) for name in (*same, "download", "quiet", "again", "graphs")},
        plugins=tuple(given.plugin),
        limits=make_limits(given.max_hours, given.budget, given.fail_fast),
        suite_changes=as_arguments(changes_of(given)),
        choices=choices,
        origins=origins(runs, given.suite, choices),
    )
    return runs, options, given.reports


def choices_of(given: SimpleNamespace):
    """The user's changes to the suite.  Raises BadInput."""
    from benchmark.cli.listing import parse_teachers
    from benchmark.experiment.choices import Choices

    plain = ("seeds", "teacher_seeds", "epochs", "dataset", "precision", "judge")
    return Choices(
        methods=() if given.methods is None else split_list(given.methods, "--methods"),
        pairs=() if given.pairs is None else split_list(given.pairs, "--pairs"),
        knobs=tuple(given.settings),
        teachers=parse_teachers(given.teacher, given.results),
        **{name: getattr(given, name) for name in plain},
    )


def changes_of(given: SimpleNamespace) -> dict[str, Any]:
    """The options that a record keeps: what changes a run beside its pair, method and seed."""
    return {
        "--teacher-seeds": given.teacher_seeds,
        "--epochs": given.epochs,
        "--dataset": given.dataset,
        "--precision": given.precision,
        "--judge": given.judge,
        "--set": given.settings,
        "--teacher": given.teacher,
    }


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
