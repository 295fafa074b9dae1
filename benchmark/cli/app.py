"""Entry point of the command line: the commands, and bad input reported as one sentence."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli import results
from benchmark.cli.options import (
    Data,
    Device,
    Download,
    Graphs,
    Methods,
    Pairs,
    Plugins,
    Precision,
    Reports,
    Results,
)
from benchmark.cli.suite_options import suite_command
from benchmark.cli.usage import UsageError, report_problem
from benchmark.errors import BadInput
from benchmark.experiment.suite import split_list

HELP = "Train, measure and compare methods of knowledge distillation."

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=HELP)
results.add_commands(app)


@suite_command(app)
def run(runs, options, reports):
    """Train the runs of a suite that have no record yet, then write the report.  Exit code 1 if a run failed."""
    from benchmark.acceleration.driver import check_gpu
    from benchmark.profiling import cost
    from benchmark.sweep import runner

    elsewhere = options.executor == "ray"  # this machine need not be like those that train
    if not elsewhere:
        check_gpu(options.device, every=options.executor == "spawn")
    try:
        failed = runner.run(runs, options)
        if not elsewhere:
            cost.measure_or_warn(runs, options)
    except KeyboardInterrupt:
        print("stopped; run the same command again to continue from the last checkpoint", file=sys.stderr)
        raise typer.Exit(130) from None
    command = [sys.executable, "-m", "benchmark", "report", "--results", options.results, "--out", reports]
    rendered = subprocess.run(command, check=False)  # in a separate process, because training never imports pandas
    for sentence in failed:
        print(f"failed: {sentence}", file=sys.stderr)
    raise typer.Exit(1 if failed else rendered.returncode)


@suite_command(app)
def plan(runs, options, reports):
    """Print what `run` would do: runs done and missing, hours and disk space as far as they were measured."""
    from benchmark.sweep import estimate, runner

    print(estimate.describe(runner.make_plan(runs, options), options))


@suite_command(app, default="mini")
def theory(runs, options, reports):
    """Test the papers' claims on the features of a suite's trained networks; the report shows the results."""
    from benchmark.theory import examine

    print(examine.examine(runs, options))


@suite_command(app)
def cost(runs, options, reports):
    """Measure each method's training step alone: time and its parts, memory.  Runs with a cost record are skipped."""
    from benchmark.acceleration.driver import check_gpu
    from benchmark.profiling import cost

    check_gpu(options.device)
    print(f"{len(cost.measure(runs, options))} costs measured")


@app.command(name="list")
def list_(
    kind: Annotated[
        str, typer.Argument(metavar="[KIND]", help="methods, models, suites or datasets; default: all.")
    ] = "",
    pairs: Pairs = "resnet56-resnet20",
    plugin: Plugins = (),
):
    """List methods (with their knobs and, for a pair, their trained parameters), models, suites and data sets."""
    from benchmark.cli import listing

    listing.open_plugins(plugin)
    print(listing.describe(kind, pairs))


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(metavar="[NAME|FILE]", help="A method or a .py file; default: all methods.")
    ] = "",
    plugin: Plugins = (),
):
    """Run the conformance checks on a method, on the methods of a file, or on all.  Exit code 1 if one fails."""
    from benchmark.cli import listing
    from benchmark.conformance import run_checks

    listing.open_plugins(plugin)
    failed = run_checks.check_methods(listing.methods_named(name))
    raise typer.Exit(1 if failed else 0)


@app.command(name="import-weights")
def import_weights(
    file: Annotated[Path, typer.Argument(help='A checkpoint: a state_dict or {"model": state_dict}.')],
    model: Annotated[str, typer.Option(help="The network that the weights belong to.")],
    dataset: Annotated[str, typer.Option(help="The data set it was trained on.")],
    data: Data = Path("data"),
    results: Results = Path("results"),
    device: Device = "auto",
    download: Download = False,
):
    """Import published weights as a teacher and measure its accuracy."""
    from benchmark.sweep import import_weights

    print(import_weights.import_weights(file, model, dataset, data, results, device, download))


@app.command()
def speed(
    teacher: Annotated[str, typer.Option(help="The teacher's network.")] = "resnet56",
    student: Annotated[str, typer.Option(help="The students' network.")] = "resnet20",
    methods: Methods = "kd",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in each repeat; default: 20, on CUDA 400.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats; the fastest one counts.")] = 5,
    suite: Annotated[
        str, typer.Option(help="targets: measure all speed targets and write them to RESULTS/speed/.")
    ] = "",
    data: Data = Path("data"),
    results: Results = Path("results"),
    device: Device = "auto",
    precision: Precision = "auto",
    graphs: Graphs = True,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
):
    """Measure images per second of this training loop and of a plain loop, side by side on this machine."""
    from benchmark.acceleration.driver import check_gpu
    from benchmark.experiment.resolve import check_precision
    from benchmark.profiling import speed, targets

    check_precision(precision)
    chosen = split_list(methods, "--methods")
    check_gpu(device)
    if suite:
        print(targets.run_targets(suite, data, results, device, steps, repeats, json))
    else:
        found = speed.measure(teacher, student, chosen, steps, repeats, data, device, precision, graphs)
        print(speed.show(found, json))


@app.command()
def doctor(
    data: Data = Path("data"),
    results: Results = Path("results"),
    reports: Reports = Path("reports"),
    device: Device = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for a bug report.")] = False,
):
    """Check this machine: software, folders, data sets, processor and GPU.  Exit code 1 if something prevents training.

    A few seconds; with a GPU some minutes, in which every part of training on it is tried.
    """
    from benchmark.doctor import examine

    text, code = examine.doctor(data, results, reports, device, json)
    print(text)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line.  Bad input is printed as one sentence, with exit code 2."""
    try:
        code = app(prog_name="python -m benchmark", standalone_mode=False)
    except typer.Abort:
        code = 130
    except (BadInput, UsageError, OSError) as fault:
        code = report_problem(fault)
    raise SystemExit(code)
