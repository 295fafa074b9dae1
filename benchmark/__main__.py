"""The command line: words become arguments, bad input becomes one sentence.  Nothing else happens here."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmark import reading
from benchmark.circumstances import shared
from benchmark.errors import BadInput
from benchmark.options import Data, Device, Download, Graphs, Methods, Pairs, Plugins, Precision, Results
from benchmark.suite import words

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
reading.add(app)


@shared(app)
def run(runs, ask, reports):
    """Do what a suite still needs: train, keep records, render the report.  Exit code 1 if a run failed."""
    from benchmark import cost, sweep

    try:
        failed = sweep.run(runs, ask)
        cost.measured(runs, ask)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        raise typer.Exit(130) from None
    again = [sys.executable, "-m", "benchmark", "report", "--results", ask.results, "--out", reports]
    rendered = subprocess.run(again, check=False)  # a process of its own: training never imports pandas
    for sentence in failed:
        print(f"failed: {sentence}", file=sys.stderr)
    raise typer.Exit(1 if failed else rendered.returncode)


@shared(app)
def plan(runs, ask, reports):
    """Say what `run` would do: what is there, what is missing, hours and disk as far as they were measured."""
    from benchmark import outlook, sweep

    print(outlook.describe(sweep.plan(runs, ask), ask))


@shared(app, default="mini")
def theory(runs, ask, reports):
    """Test the papers' claims on the features of a suite's trained networks; the report shows what was found."""
    from benchmark import theory

    print(theory.examine(runs, ask))


@shared(app)
def cost(runs, ask, reports):
    """Measure what each method's step takes, alone: time and its parts, memory.  What has a cost is left as it is."""
    from benchmark import cost

    print(f"{len(cost.measure(runs, ask))} costs measured")


@app.command(name="list")
def list_(
    shelf: Annotated[str, typer.Argument(metavar="[SHELF]")] = "",
    pairs: Pairs = "resnet56-resnet20",
    plugin: Plugins = (),
):
    """Name what there is: methods with knobs and, for a pair, what they train; models, suites, datasets."""
    from benchmark import registered

    registered.open_plugins(plugin)
    print(registered.describe(shelf, pairs))


@app.command()
def check(name: Annotated[str, typer.Argument(metavar="[NAME|FILE]")] = "", plugin: Plugins = ()):
    """Run the conformance checks on a method, on a file's methods, or on all.  Exit code 1 if one fails."""
    from benchmark import conform, registered

    registered.open_plugins(plugin)
    failed = conform.report(registered.named(name))
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
    from benchmark import adopt

    print(adopt.adopt(file, model, dataset, data, results, device, download))


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
    from benchmark import speed, targets

    if suite:
        print(targets.told(suite, data, results, device, steps, repeats, json))
    else:
        found = speed.measure(teacher, student, words(methods), steps, repeats, data, device, precision, graphs)
        print(speed.show(found, json))


def main() -> None:
    """Run a command; bad input is one sentence and exit code 2."""
    try:
        app(prog_name="python -m benchmark")
    except BadInput as fault:
        print(f"error: {fault}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
