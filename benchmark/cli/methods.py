"""Commands about methods: what there is, and whether a method keeps the contract."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import Pairs, Plugins
from benchmark.errors import printable
from benchmark.waiting import say_if_slow


def add_commands(app: typer.Typer) -> None:
    """Register the commands with `app`."""
    app.command(name="list")(list_)
    app.command()(check)


def list_(
    kind: Annotated[
        str, typer.Argument(metavar="[KIND]", help="methods, models, suites or datasets; default: all.")
    ] = "",
    pairs: Pairs = None,
    plugin: Plugins = (),
):
    """List methods (with their knobs and, for a pair, their trained parameters), models, suites and data sets."""
    from benchmark.cli import listing

    listing.check_kind(kind)
    with say_if_slow("loading torch and the methods"):
        if kind in ("", "methods"):
            listing.open_plugins(plugin)
        text = listing.describe(kind, pairs)
    print(printable(text, keep="\n"))


def check(
    name: Annotated[
        str, typer.Argument(metavar="[NAME|FILE]", help="A method or a .py file; default: all methods.")
    ] = "",
    plugin: Plugins = (),
):
    """Run the conformance checks on a method, on the methods of a file, or on all.  Exit code 1 if one fails."""
    with say_if_slow("loading torch and the methods"):
        from benchmark.cli import listing
        from benchmark.conformance import run_checks

        listing.open_plugins(plugin)
        names = listing.methods_named(name)
    failed = run_checks.check_methods(names)
    raise typer.Exit(1 if failed else 0)
