"""Checks of a suite and its options that need neither methods nor networks: they come before torch is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

from benchmark.errors import BadInput
from benchmark.experiment.error_text import shown
from benchmark.experiment.run import Precision
from benchmark.experiment.suite import Pair, first_error, parse_seeds, read_suite, split_list
from benchmark.files import file_problem


def check_texts(
    suite: str,
    *,
    methods: str | None,
    pairs: str | None,
    seeds: str | None,
    teacher_seeds: str | None,
    precision: str | None,
    settings: Iterable[str],
    plugins: Iterable[str],
) -> None:
    """Raises BadInput for a suite that cannot be read, or an option that is not written as it must be."""
    read_suite(suite)
    if methods is not None:
        split_list(methods, "--methods")
    for pair in () if pairs is None else split_list(pairs, "--pairs"):
        check("--pairs", Pair.model_validate, pair)
    for option, text in (("--seeds", seeds), ("--teacher-seeds", teacher_seeds)):
        if text is not None:
            check(option, parse_seeds, text)
    if precision is not None and precision not in get_args(Precision):
        raise BadInput(f"--precision is {', '.join(get_args(Precision))}, not {shown(precision)}")
    for assignment in settings:
        path, equals, _ = assignment.partition("=")
        if not (equals and all(path.partition("."))):
            raise BadInput(f"--set takes METHOD.KNOB=VALUE, as in kd.alpha=0.5, not {shown(assignment)}")
    for plugin in plugins:
        problem = file_problem(Path(plugin)) if plugin.endswith(".py") else ""  # or a module
        if problem:
            raise BadInput(f"--plugin {plugin}: {problem}; give a .py file or a module's name")


def check(option: str, parse: Callable[[str], Any], text: str) -> None:
    """Raises BadInput that names the option where `parse` raises ValueError."""
    try:
        parse(text)
    except ValueError as fault:
        raise BadInput(f"{option}: {first_error(fault)}") from fault
