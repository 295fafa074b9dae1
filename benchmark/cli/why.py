"""The command `why`: of a suite, why `run` would train; of a run, in what its nearest record differs."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.results import READING, naming_damaged_records
from benchmark.cli.suite_options import suite_command
from benchmark.errors import printable
from benchmark.experiment.suite import suite_names
from benchmark.waiting import say_if_slow

SuiteOrRun = Annotated[
    str, typer.Argument(metavar="SUITE|RUN", help="A suite's name or .yaml file; or a run's id, or its beginning.")
]


def add_commands(app: typer.Typer) -> None:
    """Register the command with `app`."""
    of_suite = suite_command(typer.Typer())(why)

    @functools.wraps(of_suite)
    def command(**values):
        if is_run(values["suite"]):
            why_run(values["suite"], values["results"])
        else:
            of_suite(**values)

    first, *others = inspect.signature(of_suite).parameters.values()
    signature = inspect.Signature([first.replace(annotation=SuiteOrRun), *others])
    command.__signature__ = signature
    command.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
    app.command()(command)


def is_run(name: str) -> bool:
    """Whether a name is that of a run or a record, or the beginning of one, and not that of a suite."""
    from benchmark.report.commands.find_run import RUN_NAME

    return RUN_NAME.fullmatch(name) is not None and name not in suite_names() and not Path(name).is_file()


def why_run(name: str, results: Path) -> None:
    """Print the record of a run, and what the nearest other run has otherwise."""
    with say_if_slow(READING), naming_damaged_records():
        from benchmark.report.commands import why

        text = why.why_run(name, results)
    print(printable(text, keep="\n"))


def why(runs, options, reports):
    """Say why `run` would train: for each missing run what the nearest record has otherwise, field by field.

    With a run's id in place of a suite: its record, and what the nearest other record has otherwise.
    """
    from benchmark.report.commands import why
    from benchmark.store import Store
    from benchmark.sweep import runner

    with naming_damaged_records():
        found = runner.make_plan(runs, options)
        text = why.why(found.runs, found.missing, found.unfit, Store(options.results), options.again)
    print(printable(text, keep="\n"))
