"""The commands that repeat a run, for the command `explain`.

Records keep the names of files and no paths.  Where a file is not found by its name, PATH stands for its folder, and a
comment of the shell says so.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import printable
from benchmark.files import file_problem
from benchmark.report.records.cells import Cell
from benchmark.report.records.entries import Entry
from benchmark.report.tables.rerun import repeat_command

PLACEHOLDER = "PATH"
FILES = (".py", ".yaml", ".yml", ".pth", ".pt", ".safetensors")  # other names are of modules and suites
DEFAULT_DATA, DEFAULT_RESULTS = Path("data"), Path("results")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the user keeps what records name without its path."""

    results: Path = DEFAULT_RESULTS
    data: Path = DEFAULT_DATA
    plugins: tuple[str, ...] = ()  # as --plugin takes them

    @property
    def data_arguments(self) -> list[str]:
        """--data and the folder; empty for the folder that is used without the option."""
        return [] if self.data == DEFAULT_DATA else ["--data", str(self.data)]

    @property
    def results_arguments(self) -> list[str]:
        """--results and the folder; empty for the folder that is used without the option."""
        return [] if self.results == DEFAULT_RESULTS else ["--results", str(self.results)]

    def find(self, name: str) -> str:
        """The path of a file that a record names; a module's name is complete without one."""
        given = next((plugin for plugin in self.plugins if Path(plugin).name == name), "")
        is_complete = not name.endswith(FILES) or not file_problem(Path(name))
        return given or (name if is_complete else f"{PLACEHOLDER}/{Path(name).name}")


def repeat_lines(entry: Entry, cells: Iterable[Cell], places: Places) -> list[str]:
    """The commands that repeat the run, after a comment for each thing that the user has to fill in."""
    if entry.run.recipe is None:
        commands = [import_command(entry, places)]
    else:
        commands = list(dict.fromkeys(run_command_of(entry, cell, places) for cell in cells))
    return [*map(printable, [*comments(commands, places), *map(shlex.join, commands)])]


def import_command(entry: Entry, places: Places) -> tuple[str, ...]:
    """The command that imports the weights again."""
    file = places.find(str(entry.provenance("file") or "FILE"))
    what = ["import-weights", file, "--model", entry.run.student, "--dataset", entry.run.dataset]
    return "python", "-m", "benchmark", *what, *places.data_arguments, *places.results_arguments


def run_command_of(entry: Entry, cell: Cell, places: Places) -> tuple[str, ...]:
    """The command that trains the run again, as a run of this cell."""
    python, m, benchmark, run, suite, *options = shlex.split(repeat_command(cell, [entry]))
    recorded = entry.provenance("plugins")
    names = recorded if isinstance(recorded, list) else []
    plugins = [word for name in names for word in ("--plugin", places.find(str(name)))]
    again = [*places.results_arguments, *["--again"] * (entry.state != "failed")]
    if cell.row.kind == "teacher" and entry.state == "done":
        again = ["--results", "ELSEWHERE"]  # a teacher that is done is not trained again in its own results
    return python, m, benchmark, run, places.find(suite), *options, *plugins, *places.data_arguments, *again


def comments(commands: Sequence[Sequence[str]], places: Places) -> list[str]:
    """What the user has to fill in, as comments of the shell."""
    arguments = dict.fromkeys(word for command in commands for word in command)
    missing = [word.removeprefix(f"{PLACEHOLDER}/") for word in arguments if word.startswith(f"{PLACEHOLDER}/")]
    found = [f"# {PLACEHOLDER}: the folder of {', '.join(missing)}; records keep no paths"] if missing else []
    if not places.data_arguments and not DEFAULT_DATA.is_dir():
        found.append("# add --data DIR where the data set is in a folder; here is none of the name data")
    return found
