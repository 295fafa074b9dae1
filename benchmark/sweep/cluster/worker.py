"""The side of a Ray worker: a cohort, and all that it needs, comes by value; all that it made goes back by value.

The worker only supervises.  The cohort trains in a process of its own, as with the executor `spawn`, in a temporary
folder of results.  So a run that ends its process or hangs costs no worker, and is told apart from the loss of a
machine, after which Ray repeats the cohort elsewhere.  No folder has to be shared between machines; where the results
folder is shared, checkpoints are written to it, and a repeated cohort goes on from them.  Does not import Ray.

A limit of the sweep ends a cohort here at the end of an epoch, or before it starts.  The time is that of the clocks on
the wall, since nobody knows how long a cohort waits in Ray's queue.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmark.store import Store
from benchmark.sweep.cluster.parcel import Parcel, failed, result_files, weights_name
from benchmark.sweep.executors import Fault, child_main, child_result, stop
from benchmark.sweep.limits import Faults, Limits

POLL_SECONDS = 0.5  # between two looks at the time limit; a blocked worker would not notice that it is cancelled


@dataclass(frozen=True, slots=True)
class Job:
    """A cohort on its way to a worker."""

    work: Callable[[Any], None]  # trains a task into its folder of results
    task: Any  # cohort and options, and a field `images` for the decoded data set
    plugins: tuple[tuple[str, bytes], ...] = ()  # name and content of each plug-in file
    environment: Mapping[str, str] = field(default_factory=dict)  # variables, as the number of threads
    seconds: float | None = None  # time limit
    stop_time: float | None = None  # of the sweep, as `time.time()` tells it
    token: str = ""  # name of a file in checkpoints/: a worker that sees it shares the folder of results


def train(job: Job, images: tuple | None, *teachers: Parcel) -> Parcel:
    """Train a cohort; what it cannot do is said in the parcel.

    images: arguments of `datasets.make_dataset`; teachers: parcels with the weights of the cohort's teachers.
    """
    if job.stop_time is not None and time.time() >= job.stop_time:
        return Parcel({}, stopped=True)
    with tempfile.TemporaryDirectory(prefix="kd-cohort-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        results = root / "results"
        try:
            task = unpack(job, root, images, teachers)
        except KeyError as missing:
            return failed("Failed", f"no weights of its teacher: {missing.args[0]}")
        fault = supervise(job, task)
        stopped = fault is None and bool(task.options.limits.reason_to_stop(Faults(Store(results), task.before)))
        return Parcel({name: path.read_bytes() for name, path in result_files(results).items()}, fault, stopped)


def unpack(job: Job, root: Path, images: tuple | None, teachers: tuple[Parcel, ...]) -> Any:
    """The task with all that it needs in the folder `root`.  Raises KeyError if a teacher has no weights."""
    options, results = job.task.options, root / "results"
    store, found = Store(results), {name: data for parcel in teachers for name, data in parcel.files.items()}
    for id in {run.teacher.id for run in job.task.cohort if run.teacher}:
        store.keep_weights(id, found[weights_name(id)])
    shared = Path(options.results) / "checkpoints"
    if job.token and (shared / job.token).is_file():
        results.mkdir(parents=True, exist_ok=True)
        (results / "checkpoints").symlink_to(shared)
    plugins = list(options.plugins)
    for number, (name, content) in enumerate(job.plugins):
        place = root / "plugins" / str(number) / Path(name).name
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
        plugins[plugins.index(name)] = str(place)
    limits = Limits.until(job.stop_time, options.limits.fail_fast)
    options = replace(options, results=results, plugins=tuple(plugins), limits=limits)
    before = {run.id: 0 for run in job.task.cohort}  # in the new folder
    return replace(job.task, images=images, options=options, before=before)


def supervise(job: Job, task: Any) -> Fault | None:
    """Train a task in a new process; None, or why it failed.  A process that exceeds the time limit is ended."""
    os.environ.update(job.environment)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child_main, args=(job.work, task, "", sender))
    process.start()
    started = time.monotonic()
    try:
        sender.close()
        while not receiver.poll(POLL_SECONDS):
            if job.seconds is not None and time.monotonic() - started > job.seconds:
                return Fault({"type": "TimeLimit", "message": too_long(job.seconds)})
        return child_result(process, receiver)
    finally:
        if process.is_alive():
            stop([process])


def too_long(seconds: float) -> str:
    """Why a cohort was ended, and what to do."""
    hours = seconds / 3600
    return (
        f"its cohort had not ended after {hours:g} hour{'' if hours == 1 else 's'} and was stopped; "
        "raise --cohort-hours, or train each run alone with --lanes 1"
    )
