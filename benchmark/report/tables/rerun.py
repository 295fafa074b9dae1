"""The command that runs a cell again, and its runs in words."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.experiment.study import trial_settings
from benchmark.report.formatting import join_distinct, run_command
from benchmark.report.records.cells import Cell
from benchmark.report.records.entries import Entry
from benchmark.report.records.value_origins import origins

TEACHER_SEEDS = "--teacher-seeds"


def repeat_command(cell: Cell, entries: list[Entry]) -> str:
    """The command that runs the entries of a cell again."""
    suite = next((str(entry.provenance("suite")) for entry in entries if entry.provenance("suite")), "SUITE")
    options = next(
        (entry.provenance("options") for entry in entries if isinstance(entry.provenance("options"), list)), None
    )
    options = options and without(options, TEACHER_SEEDS)
    teachers = teacher_seeds(cell, entries)
    if cell.row.kind == "teacher":
        return run_command(suite, cell.pair.name, options=[*(options or ()), *teachers])
    varied = [argument for knob in cell.row.varied for argument in ("--set", f"{cell.row.method}.{knob}")]
    seeds = [entry.run.seed for entry in entries]
    if options is not None:
        tuned = [text for entry in entries for text in trial_settings(entry.run, origins(entry))]
        varied = [*options, *(word for text in dict.fromkeys(tuned) for word in ("--set", text))]
    return run_command(suite, cell.pair.name, cell.row.method, seeds, [*varied, *teachers])


def seeds_text(cell: Cell, entries: list[Entry]) -> str:
    """The seeds of runs in words: seed 0, 1; seed 0, 1, teacher seed 2."""
    seeds = f"seed {join_distinct(entry.run.seed for entry in entries)}"
    return f"{seeds}, teacher seed {join_distinct(e.run.teacher.seed for e in entries)}" if cell.crossed else seeds


def teacher_seeds(cell: Cell, entries: list[Entry]) -> list[str]:
    """The option for the seeds of the entries' teachers, or of the entries if they are teachers; none for seed 0 alone.

    In a pair with several teachers it is always given.
    """
    runs = [entry.run if cell.row.kind == "teacher" else entry.run.teacher for entry in entries]
    seeds = sorted({run.seed for run in runs if run})
    needed = seeds and (seeds != [0] or len(cell.pair.teachers) > 1)
    return [TEACHER_SEEDS, ",".join(map(str, seeds))] if needed else []


def without(arguments: Sequence[str], option: str) -> list[str]:
    """The arguments without an option and its value."""
    places = {place for at, word in enumerate(arguments) if word == option for place in (at, at + 1)}
    return [word for place, word in enumerate(arguments) if place not in places]
