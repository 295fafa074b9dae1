"""Claims: which runs a process is training now, so that several processes can share one folder of results.

A claim is a lease: a lock file that its owner touches again and again.  The claim of a process that has died is taken
over at once on the same machine; that of a machine that no longer answers, after LEASE_S.  A process that was stopped
for longer than that loses its claims too: then a run may be trained twice, and both records are kept.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, SoftFileLease, Timeout

from benchmark.experiment.run import Run
from benchmark.files import write_atomic

LEASE_S = 120.0  # seconds without a sign of life after which another process may take a claim over


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that is being trained, as `status` shows it."""

    id: str
    label: str = ""
    pid: int = 0
    host: str = ""
    since: str = ""  # UTC, ISO 8601
    epoch: int = 0  # epochs that have ended
    epochs: int = 0


class Claims:
    """The claims on the runs of a folder of results; ignored by git, gone when their runs have ended."""

    def __init__(self, results: Path):
        self.folder = results / "claims"

    @contextmanager
    def take(self, runs: Sequence[Run]) -> Iterator[list[Run]]:
        """Claim runs until the end of the block.  Yields those that no other process holds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            with FileLock(self.folder / ".taking"):  # one process at a time, so that a cohort stays together
                mine = self._take_free(runs, held)
            yield [run for run in runs if run.id in mine]

    def _take_free(self, runs: Sequence[Run], held: ExitStack) -> set[str]:
        """Take the leases that are free, or whose owner has died.  Returns their runs' ids.

        Whether another machine is silent can only be seen by watching its locks for as long as a lease lasts.
        """
        mine, end = set(), time.monotonic() + 1.1 * LEASE_S
        leases = {run.id: SoftFileLease(self._lock(run.id), lease_duration=LEASE_S, thread_local=False) for run in runs}
        while True:
            for run in [run for run in runs if run.id not in mine]:
                with suppress(Timeout):
                    held.enter_context(leases[run.id].acquire(timeout=0))
                    held.callback(self._note(run.id).unlink, missing_ok=True)
                    since = datetime.now(UTC).isoformat(timespec="seconds")
                    self._write(Claim(run.id, run.label, os.getpid(), platform.node(), since))
                    mine.add(run.id)
            if time.monotonic() > end or all(id in mine or self._is_alive(self._lock(id)) for id in leases):
                return mine
            time.sleep(0.1)

    def held(self) -> list[Claim]:
        """The claims of living processes, in order of their start."""
        locks = [lock for lock in sorted(self.folder.glob("*.lock")) if self._is_alive(lock)]
        return sorted((self._read(lock.stem) for lock in locks), key=lambda claim: (claim.since, claim.id))

    def held_ids(self) -> set[str]:
        """The runs that living processes, this one among them, hold."""
        return {claim.id for claim in self.held()}

    def stale(self) -> list[Path]:
        """Files of claims whose owner has died or is silent; the next process that wants their runs replaces them."""
        alive = self.held_ids()
        files = (*self.folder.glob("*.lock"), *self.folder.glob("*.json"))
        return sorted(path for path in files if path.stem not in alive)

    def note_progress(self, runs: Iterable[Run], epoch: int, epochs: int) -> None:
        """Keep for `status` how far this process's runs have come."""
        for run in runs:
            claim = self._read(run.id)
            if claim.pid == os.getpid():
                self._write(Claim(**asdict(claim) | {"epoch": epoch, "epochs": epochs}))

    def _is_alive(self, lock: Path) -> bool:
        """Whether the owner of a lock has touched it lately and has not died on this machine."""
        claim = self._read(lock.stem)
        try:
            silent = time.time() - lock.stat().st_mtime
        except OSError:  # given up at this moment
            return False
        here = claim.host == platform.node() and claim.pid > 0
        return silent < LEASE_S and not (here and not is_running(claim.pid))

    def _lock(self, id: str) -> Path:
        return self.folder / f"{id}.lock"

    def _note(self, id: str) -> Path:
        return self.folder / f"{id}.json"

    def _write(self, claim: Claim) -> None:
        with suppress(OSError):  # only `status` reads it
            write_atomic(self._note(claim.id), json.dumps(asdict(claim)).encode())

    def _read(self, id: str) -> Claim:
        """What its owner wrote about a claim; of a note that cannot be read, the id alone."""
        with suppress(OSError, ValueError, TypeError):
            return Claim(**json.loads(self._note(id).read_text()))
        return Claim(id)


@contextmanager
def one_at_a_time(results: Path, what: str) -> Iterator[None]:
    """A block that only one process at a time executes for a folder of results; others wait for it."""
    folder = Claims(results).folder
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{what}"):
        yield


def is_running(pid: int) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def describe(claims: Sequence[Claim]) -> str:
    """A line for each claim: the run, how far it is, since when, and which process on which machine trains it."""
    if not claims:
        return "nothing is being trained"
    progress = {c.id: f"epoch {c.epoch}/{c.epochs}" if c.epochs else "first epoch" for c in claims}
    return "\n".join(
        f"{c.id}  {c.label}  {progress[c.id]}  since {c.since}  process {c.pid} on {c.host}" for c in claims
    )
