"""The command line: words become arguments, bad input becomes one sentence.  Nothing else happens here."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli import results
from benchmark.cli.options import Data, Device, Download, Graphs, Methods, Pairs, Plugins, Precision, Results
from benchmark.cli.suite_options import suite_command
from benchmark.errors import BadInput
from benchmark.experiment.suite import split_list

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
results.add_commands(app)


@suite_command(app)
def run(runs, options, reports):
    """Do what a suite still needs: train, keep records, render the report.  Exit code 1 if a run failed."""
    from benchmark.profiling import cost
    from benchmark.sweep import runner

    try:
        failed = runner.run(runs, options)
        cost.measure_or_warn(runs, options)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        raise typer.Exit(130) from None
    again = [sys.executable, "-m", "benchmark", "report", "--results", options.results, "--out", reports]
    rendered = subprocess.run(again, check=False)  # a process of its own: training never imports pandas
    for sentence in failed:
        print(f"failed: {sentence}", file=sys.stderr)
    raise typer.Exit(1 if failed else rendered.returncode)


@suite_command(app)
def plan(runs, options, reports):
    """Say what `run` would do: what is there, what is missing, hours and disk as far as they were measured."""
    from benchmark.sweep import estimate, runner

    print(estimate.describe(runner.make_plan(runs, options), options))


@suite_command(app, default="mini")
def theory(runs, options, reports):
    """Test the papers' claims on the features of a suite's trained networks; the report shows what was found."""
    from benchmark.theory import examine

    print(examine.examine(runs, options))


@suite_command(app)
def cost(runs, options, reports):
    """Measure what each method's step takes, alone: time and its parts, memory.  What has a cost is left as it is."""
    from benchmark.profiling import cost

    print(f"{len(cost.measure(runs, options))} costs measured")


@app.command(name="list")
def list_(
    shelf: Annotated[str, typer.Argument(metavar="[SHELF]")] = "",
    pairs: Pairs = "resnet56-resnet20",
    plugin: Plugins = (),
):
    """Name what there is: methods with knobs and, for a pair, what they train; models, suites, datasets."""
    from benchmark.cli import listing

    listing.open_plugins(plugin)
    print(listing.describe(shelf, pairs))


@app.command()
def check(name: Annotated[str, typer.Argument(metavar="[NAME|FILE]")] = "", plugin: Plugins = ()):
    """Run the conformance checks on a method, on a file's methods, or on all.  Exit code 1 if one fails."""
    from benchmark.cli import listing
    from benchmark.conformance import run_checks

    listing.open_plugins(plugin)
    failed = run_checks.check_methods(listing.methods_named(name))
    raise typer.Exit(1 if failed else 0)


@app.command(name="import-weights")
def import_weights(
    file: Annotated[Path, typer.Argument(help="A checkpoint in the published format.")],
    model: Annotated[str, typer.Option(help="The network it holds.")],
    dataset: Annotated[str, typer.Option(help="The data set it was trained on.")],
    data: Data = Path("data"),
    results: Results = Path("results"),
    device: Device = "auto",
    download: Download = False,
):
    """Keep somebody's published weights as a teacher, and measure it."""
    from benchmark.sweep import import_weights

    print(import_weights.import_weights(file, model, dataset, data, results, device, download))


@app.command()
def speed(
    teacher: Annotated[str, typer.Option(help="The teacher's network.")] = "resnet56",
    student: Annotated[str, typer.Option(help="The students' network.")] = "resnet20",
    methods: Methods = "kd",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in a repeat: 20, on CUDA 400.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats; the best one counts.")] = 5,
    suite: Annotated[str, typer.Option(help="targets: what the suite asks of a machine; kept in RESULTS/speed/.")] = "",
    data: Data = Path("data"),
    results: Results = Path("results"),
    device: Device = "auto",
    precision: Precision = "auto",
    graphs: Graphs = True,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
):
    """Images per second beside a plain loop, both measured here and now."""
    from benchmark.profiling import speed, targets

    if suite:
        print(targets.run_targets(suite, data, results, device, steps, repeats, json))
    else:
        found = speed.measure(teacher, student, split_list(methods), steps, repeats, data, device, precision, graphs)
        print(speed.show(found, json))


def main() -> None:
    """Run a command; bad input is one sentence and exit code 2."""
    try:
        app(prog_name="python -m benchmark")
    except BadInput as fault:
        print(f"error: {fault}", file=sys.stderr)
        raise SystemExit(2) from None
