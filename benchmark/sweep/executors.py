"""Where jobs are done: in this process, or each in a process of its own, one per device at a time."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Literal, TypeVar

Job = TypeVar("Job")
Executor = Literal["here", "spawn"]


def dispatch(work: Callable[[Job], None], jobs: Sequence[Job], executor: Executor, devices: Sequence[str]) -> list:
    """Do every job; one that raises or dies does not sink the others.

    devices: CUDA device numbers, one process on each; [""] on a CPU.
    Returns, per job, None or the sentence that says why it did not end well.  KeyboardInterrupt stops all.
    """
    if executor == "spawn":
        return run_in_processes(work, jobs, devices)
    return [run_here(work, job) for job in jobs]


def run_here(work: Callable[[Job], None], job: Job) -> str | None:
    """Do one job in this process."""
    try:
        work(job)
    except Exception as fault:  # noqa: BLE001  one job's fault must not sink the rest
        return "".join(traceback.format_exception_only(fault)).strip()
    return None


def run_in_processes(work: Callable[[Job], None], jobs: Sequence[Job], devices: Sequence[str]) -> list[str | None]:
    """Do each job in a fresh process, as many at a time as there are devices."""
    context = multiprocessing.get_context("spawn")
    outcome: list[str | None] = [None] * len(jobs)
    waiting, free = list(range(len(jobs))), list(devices)
    running: dict[int, tuple[int, str, BaseProcess, Connection]] = {}
    try:
        while waiting or running:
            while waiting and free:
                place, device = waiting.pop(0), free.pop(0)
                ear, mouth = context.Pipe(duplex=False)
                process = context.Process(target=child_main, args=(work, jobs[place], device, mouth))
                process.start()
                mouth.close()  # the child's end: silence then means that it is gone
                running[process.sentinel] = (place, device, process, ear)
            for sentinel in wait(list(running)):
                place, device, process, ear = running.pop(sentinel)
                process.join()
                free.append(device)
                outcome[place] = child_result(process, ear)
    finally:
        for _, _, process, _ in running.values():
            process.terminate()
            process.join()
    return outcome


def child_result(process: BaseProcess, ear: Connection) -> str | None:
    """What a child that has ended said of its job."""
    try:
        with ear:
            return ear.recv()
    except EOFError:
        return f"its process ended with exit code {process.exitcode} (memory, or a signal)"


def child_main(work: Callable[[Job], None], job: Job, device: str, mouth: Connection) -> None:
    """The life of a child process: one job on one device."""
    if device:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    try:
        mouth.send(run_here(work, job))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
