"""Executors: jobs run in this process, or each in a separate process, one process per device at a time.

On CUDA every job runs in a separate process, whatever the executor.  A CUDA error such as a failed device-side assert
makes the device unusable for the process in which it occurs until that process ends, and would fail all later jobs.

The cost is the start of a process for each cohort.  On 2 cores of an AMD EPYC, without a GPU, a cohort of `mini` takes
11 s of processor time from its process's start to the first step: 3 s for imports, 3 s for CIFAR-100, 5 s for the
teacher's outputs on the test images, which a GPU computes faster.  It is not measured on CUDA.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Literal, NoReturn, TypeVar

from benchmark.acceleration.device import is_sticky
from benchmark.files import WriteError
from benchmark.training.record import error_fields

Job = TypeVar("Job")
Executor = Literal["here", "spawn", "ray"]  # ray: benchmark/sweep/cluster/
STOP_SECONDS = 10  # for a process to end by itself, before it is killed


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a job failed."""

    error: dict[str, str]  # type, message and, for exceptions, trace; as in a record
    lost: bool = False  # whether its process ended or can no longer use the device: a part of the job may be innocent


def dispatch(
    work: Callable[[Job], None], jobs: Sequence[Job], executor: Executor, devices: Sequence[str]
) -> list[Fault | None]:
    """Run every job; one that raises or whose process dies does not stop the others.

    devices: CUDA devices as CUDA_VISIBLE_DEVICES names them, with one process on each at a time; [""] on a CPU, where
    the executor `here` runs the jobs in this process.  Returns, per job, None or why it failed.  KeyboardInterrupt
    stops everything.
    """
    if executor == "spawn" or devices[0]:
        return run_in_processes(work, jobs, devices)
    return [run_here(work, job) for job in jobs]


def run_here(work: Callable[[Job], None], job: Job) -> Fault | None:
    """Run one job in this process."""
    try:
        work(job)
    except Exception as fault:  # a fault of one job must not stop the others
        if isinstance(fault, WriteError) and multiprocessing.parent_process() is None:
            raise  # no run is to blame, and nothing could be kept of the next one either
        error = error_fields(fault)
        first_line = error["message"].strip().partition("\n")[0]  # CUDA's go on with general advice; the trace has it
        return Fault(error | {"message": first_line}, lost=is_sticky(fault))
    return None


def run_in_processes(work: Callable[[Job], None], jobs: Sequence[Job], devices: Sequence[str]) -> list[Fault | None]:
    """Run each job in a new process, as many at a time as there are devices."""
    context = multiprocessing.get_context("spawn")
    outcome: list[Fault | None] = [None] * len(jobs)
    waiting, free = list(range(len(jobs))), list(devices)
    running: dict[Connection, tuple[int, str, BaseProcess]] = {}
    try:
        while waiting or running:
            while waiting and free:
                place, device = waiting.pop(0), free.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=child_main, args=(work, jobs[place], device, sender))
                process.start()
                sender.close()  # only the child can still send: when it is gone, reading ends with EOFError
                running[receiver] = (place, device, process)
            for receiver in wait(list(running)):
                place, device, process = running[receiver]
                outcome[place] = child_result(process, receiver)
                del running[receiver]
                free.append(device)
    finally:
        stop([process for _, _, process in running.values()])
    return outcome


def child_result(process: BaseProcess, receiver: Connection) -> Fault | None:
    """The result that a child process sent, or how it ended without one.  Waits for its end."""
    try:
        with receiver:
            return receiver.recv()
    except EOFError:
        process.join(STOP_SECONDS)
        return Fault({"type": "Failed", "message": f"its process {describe_exit(process.exitcode)}"}, lost=True)
    finally:
        process.join(STOP_SECONDS)
        if process.is_alive():  # it hangs in the driver; what it sent is complete
            stop([process])


def describe_exit(code: int | None) -> str:
    """A process's exit code in words; None: it has not ended."""
    if code is None:
        return "does not answer and does not end"
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was ended by signal {name}" + (", as when the machine's memory runs out" if name == "SIGKILL" else "")


def stop(processes: Sequence[BaseProcess]) -> None:
    """End processes: each as on Ctrl-C, or killed if that takes too long."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(STOP_SECONDS)
        if process.is_alive():
            process.kill()
            process.join(STOP_SECONDS)


# ---- in the child process
def child_main(work: Callable[[Job], None], job: Job, device: str, sender: Connection) -> None:
    """Run one job on one device and send its result.  SIGTERM acts like Ctrl-C: exit code 130."""
    if device:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, interrupt_once)
        threading.Thread(target=end_with_parent, daemon=True).start()
        sender.send(run_here(work, job))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def interrupt_once(*_: object) -> NoReturn:
    """Raise KeyboardInterrupt for the first signal; later ones must not disturb the clean-up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def end_with_parent() -> None:
    """End this process when its parent has ended, by whatever cause: nobody would read its result."""
    wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os._exit(130)
