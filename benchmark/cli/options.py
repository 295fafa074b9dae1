"""The options of the command line: names, types and help, each said once."""

from pathlib import Path
from typing import Annotated, Any

import typer

SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name (`list suites`) or a .yaml file.")]
Methods = Annotated[str, typer.Option("-m", "--methods", help="Methods, as in kd,sp+kd.")]
Pairs = Annotated[str, typer.Option("-p", "--pairs", help="TEACHER-STUDENT pairs, as in resnet56-resnet20.")]
Seeds = Annotated[str, typer.Option("--seeds", help="Seeds, as in 0-2 or 0,3.")]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs; the schedule is stretched in proportion.")]
Data = Annotated[Path, typer.Option("--data", envvar="KD_DATA", help="The folder that holds the data.")]
DataSet = Annotated[str, typer.Option("--dataset", help="A data set in place of the suite's; folder:NAME for images.")]
Results = Annotated[Path, typer.Option("--results", help="The folder of records and weights.")]
Reports = Annotated[Path, typer.Option("--reports", "--out", help="The folder that the report is written to.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Precision = Annotated[str, typer.Option("--precision", help="auto, fp32 or bf16.")]
Lanes = Annotated[int, typer.Option("--lanes", min=1, help="Students that share a teacher's forward pass, at most.")]
Executor = Annotated[str, typer.Option("--executor", help="here, or spawn: a process for each GPU.")]
Plugins = Annotated[list[str], typer.Option("--plugin", help="A .py file or module with further methods.")]
Settings = Annotated[list[str], typer.Option("--set", help="METHOD.KNOB=VALUE.")]
Teachers = Annotated[list[str], typer.Option("--teacher", help="NETWORK=ID: learn from this run, or import.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch a missing data set.")]
Formats = Annotated[str, typer.Option("--format", help="What to write, of md,csv,tex,html,svg,pdf; by default all.")]
Baseline = Annotated[str, typer.Option("--baseline", metavar="METHOD", help="The method that others are held against.")]
Watch = Annotated[bool, typer.Option("--watch", help="Rebuild whenever records change, until Ctrl-C.")]
Again = Annotated[bool, typer.Option("--again", help="Repeat runs that have a record; teachers are kept.")]
Graphs = Annotated[bool, typer.Option(help="Replay steps from CUDA graphs, or launch each kernel anew.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Say only what failed.")]


def as_typed(given: dict[str, Any]) -> tuple[str, ...]:
    """Options as they are typed: {"--epochs": 3, "--set": ["a", "b"]} -> ("--epochs", "3", "--set", "a", …)."""
    pairs = [
        (word, v) for word, value in given.items() for v in (value if isinstance(value, list | tuple) else [value])
    ]
    return tuple(part for word, value in pairs if value for part in (word, str(value)))
