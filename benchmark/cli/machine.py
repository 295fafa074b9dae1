"""Commands that measure this machine, and those that move weights in and out: speed, doctor, import-, export-model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import Data, Device, Download, Graphs, Methods, Precision, Reports, Results
from benchmark.cli.tracked import say_if_tracked
from benchmark.errors import printable
from benchmark.experiment.suite import split_list
from benchmark.waiting import say_if_slow


def add_commands(app: typer.Typer) -> None:
    """Register the commands with `app`."""
    for command in (import_weights, export_model, speed, doctor):
        app.command(name=command.__name__.replace("_", "-"))(command)


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
    from benchmark.acceleration.driver import check_gpu
    from benchmark.sweep import import_weights

    check_gpu(device)

    with say_if_tracked(results, "--results"), say_if_slow("storing the weights and measuring their accuracy"):
        text = import_weights.import_weights(file, model, dataset, data, results, device, download)
    print(printable(text, keep="\n"))


def export_model(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or a unique beginning of it.")],
    out: Annotated[Path | None, typer.Option("--out", help="The file to write; default: RUN.pt2.")] = None,
    results: Results = Path("results"),
    data: Data = Path("data"),
):
    """Write a run's trained network as one file that torch runs without this suite (torch.export)."""
    with say_if_slow("exporting the network and comparing its logits"):
        from benchmark.training import export_model

        text = export_model.export_model(run, results, data, out)
    print(printable(text, keep="\n"))


def speed(
    teacher: Annotated[str, typer.Option(help="The teacher's network.")] = "resnet56",
    student: Annotated[str, typer.Option(help="The students' network.")] = "resnet20",
    methods: Methods = "kd",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in each repeat; default: 20, on CUDA 400.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats; the fastest one counts.")] = 5,
    suite: Annotated[
        str,
        typer.Option(help="targets: all speed targets, to RESULTS/speed/; contention: speed beside busy processes."),
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
    from benchmark.experiment import run
    from benchmark.experiment.choices import check_word
    from benchmark.profiling import speed, suites

    check_word("--precision", precision, run.Precision)
    chosen = split_list(methods, "--methods")
    check_gpu(device)
    with say_if_slow("measuring how fast this machine trains"):
        if suite:
            text = suites.run_suite(suite, data, results, device, steps, repeats, json)
        else:
            found = speed.measure(teacher, student, chosen, steps, repeats, data, device, precision, graphs)
            text = speed.show(found, json)
    print(text)


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
