"""The options of a sweep: how and where its runs are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.experiment.resolve import Choices
from benchmark.experiment.suite import suite_label
from benchmark.sweep.executors import Executor
from benchmark.sweep.limits import Limits


@dataclass(frozen=True, slots=True)
class Options:
    """How and where to run; plain values, so that it travels to other processes."""

    suite: str
    results: Path
    data: Path
    device: str = "auto"
    lanes: int = 16
    executor: Executor = "here"
    address: str = ""  # of a Ray cluster; empty: this machine's
    cohort_gpus: float = 1.0  # share of a GPU that a cohort occupies on a cluster
    cohort_hours: float | None = None  # time limit of a cohort on a cluster
    plugins: tuple[str, ...] = ()
    download: bool = False
    quiet: bool = False
    again: bool = False  # repeat what has a record; teachers are kept
    graphs: bool = True  # steps are recorded and replayed where there is CUDA
    limits: Limits = field(default_factory=Limits)
    processes: int = 0  # to train in beside other programs on a CPU; 0: there are none, and the executor decides
    suite_changes: tuple[str, ...] = ()  # what the user changed in the suite, as typed
    choices: Choices = field(default_factory=Choices)  # the same as values
    origins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # id -> where each value comes from

    @property
    def record_fields(self) -> dict[str, Any]:
        """What records keep of all this."""
        return {
            "suite": suite_label(self.suite),
            "options": list(self.suite_changes),
            "plugins": [Path(plugin).name for plugin in self.plugins],
        }
