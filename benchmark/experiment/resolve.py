"""Resolve a suite and the user's choices into runs whose knobs all have a value."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmark.errors import BadInput
from benchmark.experiment.choices import Choices, apply_choices
from benchmark.experiment.knobs import resolve_knobs
from benchmark.experiment.run import Recipe, Run
from benchmark.experiment.suite import Pair, Suite, first_error, read_suite
from methods import registry

PLAIN_METHOD = "ce"  # the method of teachers and of the students that others are compared with
MAX_RUNS = 20_000  # of a suite
Row = tuple[str, dict[str, Any]]  # a method and all its knobs
Content = Callable[[str], str]  # name of a data set -> hash of its files; "" for official data


def load_suite(name: str, choices: Choices | None = None, content: Content = lambda dataset: "") -> list[Run]:
    """The runs of a suite in the order of `breadth_first`; a teacher's run is a field of its students' runs.

    name: of a suite, or the path of a .yaml file.  content: data set -> hash of its files, for image folders.
    Raises BadInput for an unknown name or knob or an invalid value.
    """
    choices = choices or Choices()
    try:
        suite = chosen_suite(name, choices)
        contents = {dataset: content(dataset) for dataset in suite.dataset}
        check_teachers(choices.teachers, suite, contents)
        return suite_runs(suite, choices.teachers, contents)
    except BadInput:
        raise
    except ValueError as fault:
        raise BadInput(first_error(fault)) from fault


def chosen_suite(name: str, choices: Choices) -> Suite:
    """The suite of a name or a .yaml file, with the user's choices applied.  Raises BadInput."""
    return apply_choices(load_checked(name), choices)


def load_checked(name: str) -> Suite:
    """Read a suite and check its methods and knobs.  Raises BadInput naming the suite and the key."""
    suite, key = read_suite(name), "methods"
    try:
        for method in () if suite.methods == "all" else suite.methods:
            registry.get(method)
        key = "knobs"
        for method, settings in suite.knobs.items():
            for values in settings:
                resolve_knobs(method, values)
        for pair, methods in suite.pair_knobs.items():
            key = f"pair_knobs.{pair}"
            for method, values in methods.items():
                resolve_knobs(method, values)
    except ValueError as fault:
        raise BadInput(f"{name}: {key}: {fault}") from fault
    return suite


def check_teachers(teachers: Mapping[str, Run], suite: Suite, contents: Mapping[str, str]) -> None:
    """Raises ValueError for a teacher that no pair uses, one in place of several, or one of other data or images."""
    for network, run in teachers.items():
        if network not in {pair.teacher for pair in suite.pairs}:
            raise ValueError(f"--teacher {network}={run.id}: no pair of this run learns from a {network}")
        if len(suite.teacher_seeds) > 1:
            raise ValueError(
                f"--teacher {network}={run.id} is one teacher, and {len(suite.teacher_seeds)} seeds of teachers are "
                "asked for: leave it out, or name one seed, as in --teacher-seeds 0"
            )
        if (run.dataset,) != suite.dataset:
            raise ValueError(
                f"--teacher {network}={run.id} was trained on {run.dataset}, this run is on {', '.join(suite.dataset)}"
            )
        if run.content and run.content != contents[run.dataset]:
            raise ValueError(
                f"--teacher {network}={run.id} was trained on {run.data_label}, whose images have changed since: "
                "train another teacher"
            )


def suite_runs(suite: Suite, teachers: Mapping[str, Run], contents: Mapping[str, str]) -> list[Run]:
    """Every run of a suite, without duplicates: a method without teacher has one run per student, not per pair.

    contents: data set -> hash of its files, or "".  Raises BadInput if there are more than MAX_RUNS.
    """
    methods = registry.names() if suite.methods == "all" else suite.methods
    check_count(suite, methods)
    usual = {method: method_rows(suite, method, {}) for method in methods}
    rows = {pair: pair_rows(suite, pair, usual) for pair in suite.pairs}
    runs: dict[str, Run] = {}
    for teacher_seed, seed in breadth_first(suite.teacher_seeds, suite.seeds):
        for dataset, pair in itertools.product(suite.dataset, suite.pairs):
            data = {"dataset": dataset, "content": contents[dataset]}
            own = teachers.get(pair.teacher) or teacher_run(suite, data, pair, teacher_seed)
            for method, knobs in rows[pair]:
                teacher = own if registry.get(method).needs_teacher else None
                run = make_run(suite, data, pair.student, method=method, knobs=knobs, teacher=teacher, seed=seed)
                runs.setdefault(run.id, run)
    return list(runs.values())


def breadth_first(teacher_seeds: Sequence[int], seeds: Sequence[int]) -> list[tuple[int, int]]:
    """(Teacher's seed, student's seed): the first of both, then what else the first two of each give, and so on.

    A sweep that stops early has thus, once its teachers are trained, runs in every cell of the table, and in each as
    many teachers as seeds, all crossed.  Of each step, the seeds of earlier teachers come first.
    """
    places = itertools.product(range(len(teacher_seeds)), range(len(seeds)))
    return [(teacher_seeds[t], seeds[s]) for t, s in sorted(places, key=lambda place: (max(place), place))]


def check_count(suite: Suite, methods: Iterable[str]) -> None:
    """Raises BadInput if there are more than MAX_RUNS, before they are made."""
    counts = {True: 0, False: 0}  # whether there is a teacher -> settings of methods
    for method in methods:
        counts[bool(registry.get(method).needs_teacher)] += len(suite.knobs.get(method, ({},)))
    each = counts[True] * len(suite.teacher_seeds) + counts[False]
    count = each * len(suite.seeds) * len(suite.dataset) * len(suite.pairs)
    if count > MAX_RUNS:
        raise BadInput(f"{count:,} runs are more than {MAX_RUNS:,}: choose fewer seeds, pairs or methods")


def pair_rows(suite: Suite, pair: Pair, usual: Mapping[str, list[Row]]) -> list[Row]:
    """The rows of a pair; usual: method -> its rows on pairs without values of their own."""
    own = suite.pair_knobs.get(pair, {})
    each = (method_rows(suite, method, own[method]) if own.get(method) else rows for method, rows in usual.items())
    return list(itertools.chain.from_iterable(each))


def method_rows(suite: Suite, method: str, changes: Mapping[str, Any]) -> list[Row]:
    """A row for each setting of a method, with these changes."""
    return [(method, resolve_knobs(method, values | changes)) for values in suite.knobs.get(method, ({},))]


def teacher_run(suite: Suite, data: Mapping[str, str], pair: Pair, seed: int) -> Run:
    """The run that trains a pair's teacher, with the plain method."""
    plain = {"method": PLAIN_METHOD, "knobs": resolve_knobs(PLAIN_METHOD, {}), "seed": seed}
    return make_run(suite, data, pair.teacher, suite.teacher, **plain)


def make_run(suite: Suite, data: Mapping[str, str], network: str, recipe: Recipe | None = None, **rest: Any) -> Run:
    """A run of a network with `recipe` or the suite's, at the network's own learning rate if the suite sets one.

    data: the fields `dataset` and `content`.
    """
    recipe = recipe or suite.recipe
    recipe = recipe.model_copy(update={"lr": suite.lr.get(network, recipe.lr)})
    return Run(**data, student=network, recipe=recipe, judge=suite.judge, **rest)
