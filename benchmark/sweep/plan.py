"""Planning of a sweep: which runs are missing, in which waves, and in which cohorts.  Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from benchmark import models
from benchmark.data.datasets import DatasetInfo
from benchmark.errors import BadInput
from benchmark.experiment.run import Run
from benchmark.models.unfilled import Unfilled
from benchmark.store import Record
from methods import registry
from methods.contract import BadKnob, Shape, Unfit

FINAL_STATES = ("done", "diverged", "unfit")  # repeating such a run would end the same way


def with_teachers(runs: Iterable[Run]) -> list[Run]:
    """The runs without repetition, each preceded by the teacher that it names."""
    found: dict[str, Run] = {}
    for run in runs:
        for each in (*([run.teacher] if run.teacher else []), run):
            found.setdefault(each.id, each)
    return list(found.values())


def check_runs(runs: Iterable[Run], infos: Mapping[str, DatasetInfo]) -> dict[str, str]:
    """Build every network and method on the meta device, which takes seconds and no memory for weights.

    infos: data set -> its classes and image size.  Returns id -> reason for the runs whose method does not support
    their pair.  Raises BadInput for an unknown network, a knob whose value does not fit the networks or the recipe, a
    method that cannot be built, or images that are too small for the recipe's padding.
    """
    unfit, reasons = {}, {}
    for run in with_teachers(runs):
        info = infos[run.dataset]
        classes, size = info.classes, (info.height, info.width)
        student = models.shape(run.student, classes, size)
        if run.recipe is None:
            continue
        if run.recipe.pad == "reflect" and run.recipe.crop >= min(size):
            raise BadInput(
                f"the images of {run.dataset} are {size[0]} x {size[1]} pixels, too small for a reflection padding of "
                f"{run.recipe.crop} pixels: choose a smaller `crop` in the recipe, or `pad: zero`"
            )
        teacher = models.shape(run.teacher.student, classes, size) if run.teacher else student
        key = (student, teacher, run.method, repr(run.knobs), run.recipe.epochs)
        if key not in reasons:  # as of another seed
            reasons[key] = why_unfit(run, student, teacher)
        if reasons[key]:
            unfit[run.id] = reasons[key]
    return unfit


def why_unfit(run: Run, student: Shape, teacher: Shape) -> str:
    """Why the method of a run does not support its pair; "" if it does.  Raises BadInput if a knob is at fault."""
    try:
        with torch.device("meta"), Unfilled():
            registry.get(run.method)(student, teacher, **run.knobs).stages(run.recipe.epochs)
    except Unfit as reason:
        return str(reason) or "no reason is given"
    except BadKnob as fault:
        raise BadInput(f"{run.method}.{fault.knob} = {fault.value!r:.60} for {run.label}: {fault.reason}") from fault
    except (Exception, SystemExit) as fault:
        problem = " ".join(f"{type(fault).__name__}: {fault}".split())
        raise BadInput(f"method {run.method!r} cannot be built for {run.label}: {problem}") from fault
    return ""


def pending(runs: Iterable[Run], latest: Mapping[str, Record], kept: Iterable[str]) -> list[Run]:
    """The runs without a final record, preceded by the teachers that they need and whose weights are missing.

    latest: id -> the record that counts; kept: ids whose weights are stored.
    Raises BadInput for an imported teacher whose weights are missing: it cannot be trained here.
    """
    kept = set(kept)
    without_result = {id for id, record in latest.items() if record.status in ("diverged", "unfit")}
    unanswered = {
        run.id: run
        for run in runs
        if not (run.id in latest and latest[run.id].status in FINAL_STATES)
        and not (run.teacher and run.teacher.id in without_result)
    }
    teachers: dict[str, Run] = {}
    needed = [run.teacher for run in unanswered.values()]
    for teacher in needed:  # grows during the loop: a teacher may have a teacher of its own
        if teacher is None or teacher.id in kept or teacher.id in teachers:
            continue
        if teacher.recipe is None:
            raise BadInput(
                f"the weights of imported teacher {teacher.student} ({teacher.id}) are missing: "
                "import them again with `import-weights`"
            )
        teachers[teacher.id] = teacher
        needed.append(teacher.teacher)
    return list((teachers | unanswered).values())


def waves(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs in the order of their dependencies: a teacher is in an earlier wave than the runs that learn from it.

    Each run is in the latest possible wave, so that runs without a teacher can share a cohort with runs that have one.
    """
    rest, found = list(runs), []
    while rest:  # builds the last wave first
        teachers = {run.teacher.id for run in rest if run.teacher}
        found.insert(0, [run for run in rest if run.id not in teachers])
        rest = [run for run in rest if run.id in teachers]
    return found


def cohorts(runs: Iterable[Run], lanes: int) -> list[list[Run]]:
    """Groups of at most `lanes` runs that can share batches and a teacher.

    A cohort never holds two seeds: they would see the same batches, and the variance over seeds would be too small.
    """
    runs = list(runs)
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        if run.teacher:
            groups.setdefault((*batch_key(run), run.teacher.id), []).append(run)
    for run in runs:
        if not run.teacher:
            same_batches = next((key for key in groups if key[:-1] == batch_key(run)), (*batch_key(run), ""))
            groups.setdefault(same_batches, []).append(run)
    order = {run.id: position for position, run in enumerate(runs)}
    ordered = [sorted(group, key=lambda run: order[run.id]) for group in groups.values()]
    parts = [group[i : i + lanes] for group in ordered for i in range(0, len(group), lanes)]
    return sorted(parts, key=lambda part: order[part[0].id])


def batch_key(run: Run) -> tuple:
    """What runs must have in common to share batches: data, seed, batch size, augmentation and precision."""
    recipe = run.recipe
    augmentation = (recipe.batch, recipe.crop, recipe.pad, recipe.flip)
    return (run.dataset, run.judge, run.seed, augmentation, recipe.precision)
