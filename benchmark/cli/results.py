"""Commands that read results without training: report, compare, explain, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Baseline, Formats, Reports, Results, Watch
from benchmark.experiment.suite import split_list


def add_commands(app: typer.Typer) -> None:
    """Register the commands with `app`."""
    for command in (report, compare, explain, export):
        app.command()(command)


def report(
    results: Results = Path("results"),
    reports: Reports = Path("reports"),
    format_: Formats = "",
    baseline: Baseline = "",
    watch: Watch = False,
):
    """Derive tables, figures and reports/index.html from the records."""
    from benchmark.report.build import FORMATS, build, load_for_report
    from benchmark.report.commands.watch import watch as keep_up_to_date
    from benchmark.store import Store

    options = {"formats": split_list(format_, "--format") if format_ else FORMATS, "baseline": baseline}
    if watch:
        keep_up_to_date(results, reports, **options)
    else:
        store = Store(results)
        loaded = load_for_report(store)
        for complaint in loaded[1]:
            print(complaint, file=sys.stderr)
        print(f"report: {build(store, reports, loaded=loaded, **options)}")


def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A folder of results.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The folder to compare with it.")],
):
    """List the table cells that changed between two folders of results; exit code 1 if one is significantly worse."""
    from benchmark.report.commands import compare

    text, worse = compare.compare(old, new)
    print(text)
    raise typer.Exit(1 if worse else 0)


def explain(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or a unique beginning of it.")],
    results: Results = Path("results"),
):
    """Show a run: every value with its origin, its record, its provenance and its table cell."""
    from benchmark.report.commands import explain

    print(explain.explain(run, results))


def export(
    target: Annotated[Path, typer.Argument(metavar="ZIP", help="The archive to write.")],
    results: Results = Path("results"),
    reports: Reports = Path("reports"),
):
    """Pack records, predictions, tables and figures for a paper's supplement."""
    from benchmark.report.commands import export

    print(export.export(target, results, reports))
