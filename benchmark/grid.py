"""What is left to do, and in which company: pure planning, no side effects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from benchmark import models
from benchmark.datasets import Facts
from benchmark.errors import BadInput
from benchmark.run import Run
from benchmark.store import Record
from methods import registry
from methods.contract import Unfit

SETTLED = ("done", "diverged", "unfit")  # running the same again would give the same again


def with_teachers(runs: Iterable[Run]) -> list[Run]:
    """Runs and, before them, the teachers that they name; each once."""
    found: dict[str, Run] = {}
    for run in runs:
        for each in (*([run.teacher] if run.teacher else []), run):
            found.setdefault(each.id, each)
    return list(found.values())


def vet(runs: Iterable[Run], facts: Mapping[str, Facts]) -> dict[str, str]:
    """Build every network and method on the meta device, in seconds and without memory.

    facts: of each data set.  Returns id -> reason for the runs whose pair their method cannot serve.
    Raises BadInput for unknown networks.
    """
    unfit = {}
    for run in with_teachers(runs):
        known = facts[run.dataset]
        classes, size = known.classes, (known.height, known.width)
        own = models.shape(run.student, classes, size)
        if run.recipe is None:
            continue
        if run.recipe.pad == "reflect" and run.recipe.crop >= min(size):
            raise BadInput(
                f"{run.dataset} has images of {size[0]} x {size[1]} pixels: they cannot be mirrored outwards by "
                f"{run.recipe.crop}; choose a smaller crop, or pad: zero"
            )
        other = models.shape(run.teacher.student, classes, size) if run.teacher else own
        try:
            with torch.device("meta"):
                registry.get(run.method)(own, other, **run.knobs)
        except Unfit as reason:
            unfit[run.id] = str(reason)
        except Exception as fault:
            raise BadInput(f"method {run.method!r} cannot be built for {run.label}: {fault}") from fault
    return unfit


def pending(runs: Iterable[Run], latest: Mapping[str, Record], kept: Iterable[str]) -> list[Run]:
    """The runs that the store does not answer, with the teachers that these need.

    latest: id -> the record that counts; kept: ids whose weights are there.
    Raises BadInput for a teacher that can neither be read nor trained.
    """
    kept = set(kept)
    hopeless = {id for id, record in latest.items() if record.status in ("diverged", "unfit")}
    open_ = {
        run.id: run
        for run in runs
        if not (run.id in latest and latest[run.id].status in SETTLED)
        and not (run.teacher and run.teacher.id in hopeless)
    }
    teachers: dict[str, Run] = {}
    wanted = [run.teacher for run in open_.values()]
    for teacher in wanted:  # grows while it is walked: a teacher may have been taught too
        if teacher is None or teacher.id in kept or teacher.id in teachers:
            continue
        if teacher.recipe is None:
            raise BadInput(
                f"the weights of imported teacher {teacher.student} ({teacher.id}) are gone: import them again"
            )
        teachers[teacher.id] = teacher
        wanted.append(teacher.teacher)
    return list((teachers | open_).values())


def waves(runs: Iterable[Run]) -> list[list[Run]]:
    """Teachers first, then all that learn from them; who needs no teacher flies with those who do."""
    rest, found = list(runs), []
    while rest:  # from the last wave to the first
        teachers = {run.teacher.id for run in rest if run.teacher}
        found.insert(0, [run for run in rest if run.id not in teachers])
        rest = [run for run in rest if run.id in teachers]
    return found


def cohorts(runs: Iterable[Run], lanes: int) -> list[list[Run]]:
    """Runs of one seed that may share batches and a teacher, at most `lanes` together.

    Never two seeds in one cohort: they would share batches and understate the spread.
    """
    runs = list(runs)
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.teacher:
            groups.setdefault((*company(run), run.teacher.id), []).append(run)
    for run in runs:
        if not run.teacher:
            host = next((key for key in groups if key[:-1] == company(run)), (*company(run), ""))
            groups.setdefault(host, []).append(run)
    order = {run.id: place for place, run in enumerate(runs)}
    full = [sorted(group, key=lambda run: order[run.id]) for group in groups.values()]
    parts = [group[i : i + lanes] for group in full for i in range(0, len(group), lanes)]
    return sorted(parts, key=lambda part: order[part[0].id])


def company(run: Run) -> tuple:
    """What runs must have in common to see the same batches."""
    recipe = run.recipe
    augmentation = (recipe.batch, recipe.crop, recipe.pad, recipe.flip)
    return (run.dataset, run.judge, run.seed, augmentation, recipe.precision)
