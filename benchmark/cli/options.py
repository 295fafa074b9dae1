"""Options of the command line: the name, type and help text of each, defined once."""

from pathlib import Path
from typing import Annotated, Any

import typer

from benchmark.errors import BadInput
from benchmark.experiment.run import MAX_EPOCHS

DEVICES = ("auto", "cpu", "cuda")
STYLES = FULL, PAPER = ("full", "paper")  # of a report


def check_device(name: str) -> str:
    """The name of a device.  Raises BadInput for an unknown one."""
    if name not in DEVICES:
        raise BadInput(f"--device is {', '.join(DEVICES[:-1])} or {DEVICES[-1]}, not {name!r:.60}")
    return name


def check_style(name: str) -> str:
    """The style of a report.  Raises BadInput for an unknown one."""
    if name not in STYLES:
        raise BadInput(f"--style is {' or '.join(STYLES)}, not {name!r:.60}")
    return name


def check_folder(param: typer.CallbackParam, path: Path) -> Path:
    """The path of a folder that exists or may be made.  Raises BadInput for a file or an impossible name."""
    option = param.opts[0]
    try:
        is_other = path.exists() and not path.is_dir()
    except OSError as fault:
        raise BadInput(f"{option} {path} cannot be a folder ({fault.strerror}): give another") from fault
    if is_other:
        raise BadInput(f"{option} {path} is not a folder: give one, or the name of one that may be made")
    return path


def check_is_there(results: Path) -> None:
    """Raises BadInput unless there is a folder of results, which this user may read."""
    if not results.is_dir():
        raise BadInput(f"{results} is not there; name a folder of results with --results")
    next(results.iterdir(), None)  # raises OSError, which is one sentence too


SuiteName = Annotated[str, typer.Argument(metavar="SUITE", help="A suite's name (`list suites`) or a .yaml file.")]
Methods = Annotated[str | None, typer.Option("-m", "--methods", help="Methods, as in kd,sp+kd, or all.")]
Pairs = Annotated[str | None, typer.Option("-p", "--pairs", help="TEACHER-STUDENT pairs, as in resnet56-resnet20.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Seeds, as in 0-2 or 0,3.")]
TeacherSeeds = Annotated[
    str | None, typer.Option("--teacher-seeds", help="Seeds of teachers: students learn from one of each.")
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", min=1, max=MAX_EPOCHS, help="Epochs; the schedule is stretched in proportion."),
]
Data = Annotated[
    Path, typer.Option("--data", envvar="KD_DATA", callback=check_folder, help="The folder that holds the data.")
]
DataSet = Annotated[
    str | None, typer.Option("--dataset", help="Data set instead of the suite's; folder:NAME for images.")
]
Results = Annotated[Path, typer.Option("--results", callback=check_folder, help="The folder of records and weights.")]
Reports = Annotated[
    Path, typer.Option("--reports", "--out", callback=check_folder, help="The folder that the report is written to.")
]
Device = Annotated[str, typer.Option("--device", callback=check_device, help="auto, cpu or cuda.")]
Precision = Annotated[str | None, typer.Option("--precision", help="auto, fp32 or bf16.")]
JudgedOn = Annotated[str | None, typer.Option("--judge", help="Images that score: test, or holdout, of the training.")]
Lanes = Annotated[int, typer.Option("--lanes", min=1, help="Maximum number of students per teacher forward pass.")]
Executor = Annotated[str, typer.Option("--executor", help="here (this process), spawn (a process per GPU) or ray.")]
Address = Annotated[str, typer.Option("--address", help="Ray: the cluster, HOST:PORT; default: this machine's.")]
CohortGpus = Annotated[float, typer.Option("--cohort-gpus", help="Ray: share of a GPU for each cohort, up to 1.")]
CohortHours = Annotated[float | None, typer.Option("--cohort-hours", help="Ray: hours until a cohort is stopped.")]
MaxHours = Annotated[float | None, typer.Option("--max-hours", help="Stop after so many hours, with checkpoints.")]
Budget = Annotated[str, typer.Option("--budget", help="Start only cohorts that end in this time, as in 4h or 90m.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop as soon as a run fails or diverges.")]
Plugins = Annotated[list[str], typer.Option("--plugin", help="A .py file or module with further methods.")]
Settings = Annotated[list[str], typer.Option("--set", help="Set a knob: METHOD.KNOB=VALUE.")]
Teachers = Annotated[list[str], typer.Option("--teacher", help="NETWORK=ID: the run to use as teacher.")]
Download = Annotated[bool, typer.Option("--download", help="Download a data set that is missing.")]
Formats = Annotated[str, typer.Option("--format", help="Formats, of md,csv,tex,html,svg,pdf; default: all but pdf.")]
Baseline = Annotated[str, typer.Option("--baseline", metavar="METHOD", help="The method to compare others with.")]
Style = Annotated[str, typer.Option("--style", callback=check_style, help="full, or paper: the table papers print.")]
OfSuite = Annotated[str, typer.Option("--suite", help="With --style paper: only this suite; default: all.")]
Watch = Annotated[bool, typer.Option("--watch", help="Rebuild whenever records change, until Ctrl-C.")]
Again = Annotated[bool, typer.Option("--again", help="Repeat runs that have a record; teachers are kept.")]
Graphs = Annotated[bool, typer.Option(help="Replay steps from CUDA graphs, or launch every kernel separately.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only failures.")]


def as_arguments(options: dict[str, Any]) -> tuple[str, ...]:
    """Command-line arguments for options: {"--epochs": 3, "--set": ["a"]} -> ("--epochs", "3", "--set", "a")."""
    pairs = [
        (name, v) for name, value in options.items() for v in (value if isinstance(value, list | tuple) else [value])
    ]
    return tuple(part for name, value in pairs if value for part in (name, str(value)))
