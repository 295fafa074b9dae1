"""Commands on results, without training: report, compare, explain, export, gc."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import PAPER, Baseline, Data, Formats, OfSuite, Plugins, Reports, Results, Style, Watch
from benchmark.cli.tracked import say_if_tracked
from benchmark.errors import BadInput, printable
from benchmark.experiment.suite import split_list
from benchmark.waiting import say_if_slow

READING = "reading the records"


def add_commands(app: typer.Typer) -> None:
    """Register the commands with `app`."""
    for command in (report, compare, explain, export, gc):
        app.command()(command)


def report(
    results: Results = Path("results"),
    reports: Reports = Path("reports"),
    format_: Formats = "",
    baseline: Baseline = "",
    watch: Watch = False,
    style: Style = "full",
    suite: OfSuite = "",
):
    """Derive tables, figures and reports/index.html from the records; or, with --style paper, the tables of a paper."""
    if style == PAPER:
        refuse("--style paper", {"--baseline": baseline, "--watch": watch})
        return report_paper(results, reports, suite, format_)
    refuse("--style full", {"--suite": suite})
    from benchmark.report.build import DEFAULT_FORMATS, build
    from benchmark.report.commands.watch import watch as keep_up_to_date
    from benchmark.report.loading import load_for_report, warn_once
    from benchmark.store import Store

    options = {"formats": split_list(format_, "--format") if format_ else DEFAULT_FORMATS, "baseline": baseline}
    if watch:
        keep_up_to_date(results, reports, **options)
    else:
        store, warn = Store(results), warn_once()
        with say_if_slow(READING):
            loaded = load_for_report(store)
        warn(loaded[1])
        with say_if_tracked(reports, "--reports"), say_if_slow("writing tables, figures and the page"):
            page = build(store, reports, loaded=loaded, warn=warn, **options)
        print(f"report: {page}")


@contextmanager
def naming_damaged_records() -> Iterator[None]:
    """Context at whose end the records that could not be read are named on stderr."""
    from benchmark.report.loading import warn_once
    from benchmark.store import collected_complaints

    with collected_complaints() as complaints:
        yield
    warn_once()(complaints)


def refuse(style: str, options: dict[str, object]) -> None:
    """Raise BadInput for the first option that was given."""
    given = next((name for name, value in options.items() if value), "")
    if given:
        raise BadInput(f"{given} does not go with {style}: leave one of them out")


def report_paper(results: Path, reports: Path, suite: str, format_: str) -> None:
    """Write the tables that papers print, and print their paths."""
    from benchmark.report.loading import load_for_report, warn_once
    from benchmark.report.paper_style import WRITERS, build_paper
    from benchmark.store import Store

    store = Store(results)
    formats = split_list(format_, "--format") if format_ else tuple(WRITERS)
    with say_if_slow(READING):
        entries, complaints = load_for_report(store)
    warn_once()(complaints)
    with say_if_tracked(reports, "--reports"), say_if_slow("writing the tables"):
        paths = build_paper(store, reports, entries, suite, formats)
    print("\n".join(f"table: {path}" for path in paths))


def write_report(results: Path, reports: Path) -> int:
    """Write the report in a separate process, because training never imports pandas.  Returns its exit code."""
    command = [sys.executable, "-m", "benchmark", "report", "--results", results, "--out", reports]
    return subprocess.run(command, check=False).returncode


def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A folder of results.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The folder to compare with it.")],
):
    """List the table cells that changed between two folders of results; exit code 1 if one is significantly worse."""
    with say_if_slow("reading both folders and comparing their cells"):
        from benchmark.report.commands import compare

        text, worse = compare.compare(old, new)
    print(printable(text, keep="\n"))
    raise typer.Exit(1 if worse else 0)


def explain(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or a unique beginning of it.")],
    results: Results = Path("results"),
    data: Data = Path("data"),
    plugin: Plugins = (),
):
    """Show a run: every value with its origin, its record, its table cell, and the command that repeats it.

    Records keep no paths: name --data and --plugin, and the command has them.
    """
    with say_if_slow(READING), naming_damaged_records():
        from benchmark.report.commands import explain
        from benchmark.report.commands.repeat import Places

        text = explain.explain(run, Places(results, data, tuple(plugin)))
    print(printable(text, keep="\n"))


def export(
    target: Annotated[Path, typer.Argument(metavar="ZIP", help="The archive to write.")],
    results: Results = Path("results"),
    reports: Reports = Path("reports"),
):
    """Pack records, predictions, tables and figures for a paper's supplement."""
    with say_if_slow("building the report and packing it with its records"), naming_damaged_records():
        from benchmark.report.commands import export

        text = export.export(target, results, reports)
    print(printable(text, keep="\n"))


def gc(
    results: Results = Path("results"),
    delete: Annotated[bool, typer.Option("--delete", help="Remove the files instead of listing them.")] = False,
):
    """List files of a folder of results that nothing needs any more, with sizes.  Records are never among them."""
    from benchmark.report.commands import gc

    in_use, claims = [], []
    if (results / "claims").is_dir():
        from benchmark.sweep.claims import Claims

        known = Claims(results)
        in_use, claims = [claim.id for claim in known.held()], known.stale()
    text, left = gc.collect(results, in_use, claims, delete)
    print(printable(text, keep="\n"))
    raise typer.Exit(1 if left else 0)
