"""The command that repeats a run names the seed of its teacher and gives the run's id, and no other run."""

import shlex

import pytest
from test_report import a_record

from benchmark.experiment.origins import origins
from benchmark.experiment.resolve import Choices, load_suite
from benchmark.report.commands.explain import cells_of
from benchmark.report.commands.repeat import Places, repeat_lines
from benchmark.report.records.entries import Entry
from benchmark.report.records.protocols import protocols

GIVEN = {"methods": ("ce", "kd", "dkd"), "pairs": ("resnet56-resnet20", "resnet110-resnet20"), "seeds": "0-1"}


def entries_of(teacher_seeds):
    """Entries of all runs and teachers, with the origins and options that training records."""
    choices = Choices(**GIVEN, teacher_seeds=teacher_seeds)
    runs = load_suite("crd", choices)
    known = origins(runs, "crd", choices)
    found = []
    for run in {run.id: run for student in runs for run in (student.teacher, student) if run}.values():
        record = a_record(run, suite="crd")
        record.provenance.update(origin=known[run.id], options=["--teacher-seeds", teacher_seeds])
        found.append(Entry(run, record))
    return found


def choices_of(command):
    """The choices that a command `run crd …` makes."""
    words = shlex.split(command)[5:]
    given = dict(zip(words[::2], words[1::2], strict=False))
    return Choices(
        methods=tuple(given["-m"].split(",")) if "-m" in given else (),
        pairs=(given["-p"],),
        seeds=given.get("--seeds"),
        teacher_seeds=given.get("--teacher-seeds"),
    )


@pytest.mark.parametrize("teacher_seeds", ["0-1", "3", "0"])
def test_a_students_command_gives_its_id_alone(teacher_seeds):
    entries = entries_of(teacher_seeds)
    tables = protocols(entries)
    students = [entry for entry in entries if entry.run.teacher]
    assert len(students) == 2 * 2 * 2 * (2 if teacher_seeds == "0-1" else 1)
    for entry in students:
        lines = repeat_lines(entry, [cell for _, cell in cells_of(entry, tables)], Places())
        (command,) = [line for line in lines if not line.startswith("#")]
        assert [run.id for run in load_suite("crd", choices_of(command))] == [entry.run.id]


def test_a_teachers_command_trains_that_teacher_and_no_other():
    entries = entries_of("0-1")
    tables = protocols(entries)
    teachers = [entry for entry in entries if entry.run.student in ("resnet56", "resnet110")]
    assert len(teachers) == 4
    for entry in teachers:
        command = repeat_lines(entry, [cell for _, cell in cells_of(entry, tables)], Places())[-1]
        assert {run.teacher.id for run in load_suite("crd", choices_of(command)) if run.teacher} == {entry.run.id}
