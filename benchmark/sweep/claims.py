"""Claims: which runs a process is training now, so that several processes can share one folder of results.

A claim is a lease: a lock file that its owner touches again and again.  The claim of a process that has died is taken
over at once on the same machine; that of a machine that no longer answers, once a process has seen its lock unchanged
for LEASE_S by its own clock, so that clocks of machines need not agree.  A process that was stopped for longer than
that loses its claims too: then a run may be trained twice, and both records are kept.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, SoftFileLease, Timeout

from benchmark.experiment.run import Run
from benchmark.files import read_json, write_atomic

LEASE_S = 120.0  # seconds without a sign of life after which another process may take a claim over
ABANDONED_S = 86400.0  # the same for `gc`, which looks once and has to trust the clocks
NOTE_BYTES = 100_000  # of what an owner writes, at most
POLL_SECONDS = 2.0  # between two looks at what other processes train


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
    state: str = ""  # until an epoch has ended; "": it trains its first one
    silent_s: float = 0.0  # since its last sign of life, if both machines' clocks are right


class Claims:
    """The claims on the runs of a folder of results; ignored by git, gone when their runs have ended."""

    def __init__(self, results: Path):
        self.folder = results / "claims"
        self.seen: dict[str, tuple[tuple[int, ...], float]] = {}  # id -> how its lock looked, and since when

    @contextmanager
    def take(self, runs: Sequence[Run], state: str = "") -> Iterator[list[Run]]:
        """Claim runs until the end of the block.  Yields those that no other process holds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            with self._taking():
                mine = {run.id for run in runs if self._take_free(run, state, held)}
            yield [run for run in runs if run.id in mine]

    def _taking(self) -> FileLock:
        """Held by one process at a time, and briefly, so that a cohort stays together."""
        return FileLock(self.folder / ".taking")

    def _take_free(self, run: Run, state: str, held: ExitStack) -> bool:
        """Take the lease of a run if it is free, or if its owner has died on this machine."""
        lease = SoftFileLease(self._lock(run.id), lease_duration=LEASE_S, thread_local=False)
        for _ in range(2):  # where files cannot be exchanged, the first attempt only removes the lock of a dead owner
            with suppress(Timeout):
                held.enter_context(lease.acquire(timeout=0))
                held.callback(self._note(run.id).unlink, missing_ok=True)
                since = datetime.now(UTC).isoformat(timespec="seconds")
                self._write(Claim(run.id, run.label, os.getpid(), platform.node(), since, state=state))
                return True
        return False

    def release_silent(self, runs: Iterable[Run]) -> None:
        """Make the claims of silent owners free to take: those whose locks this object has watched for a lease."""
        silent = [run.id for run in runs if self._is_silent(run.id)]
        if silent:
            with self._taking():  # no process creates a lock meanwhile, so that the one removed is the one watched
                for id in silent:
                    if self._is_silent(id):
                        self._lock(id).unlink(missing_ok=True)

    def held(self) -> list[Claim]:
        """The claims of living processes, in order of their start; at the first look a silent one is alive."""
        found = [lock.stem for lock in sorted(self.folder.glob("*.lock")) if not self._is_silent(lock.stem)]
        alive = [replace(self._read(id), silent_s=self._silence(id)) for id in found if not self._has_died(id)]
        return sorted(alive, key=lambda claim: (claim.since, claim.id))

    def held_ids(self) -> set[str]:
        """The runs that living processes, this one among them, hold."""
        return {claim.id for claim in self.held()}

    def wait_for_change(self, taken: set[str], is_over: Callable[[], object]) -> None:
        """Wait until another process gives up a claim or takes one, or `is_over`.  taken: the ids held before."""
        while self.held_ids() == taken and not is_over():
            time.sleep(POLL_SECONDS)

    def stale(self) -> list[Path]:
        """Files of claims whose owner has died or was silent for a day; the next process replaces them too."""
        alive = {claim.id for claim in self.held() if claim.silent_s < ABANDONED_S}
        files = (*self.folder.glob("*.lock"), *self.folder.glob("*.json"))
        return sorted(path for path in files if path.stem not in alive)

    def note_progress(self, runs: Iterable[Run], epoch: int, epochs: int) -> None:
        """Keep for `status` how far this process's runs have come."""
        for run in runs:
            claim = self._read(run.id)
            if claim.pid == os.getpid():
                self._write(Claim(**asdict(claim) | {"epoch": epoch, "epochs": epochs}))

    def _is_silent(self, id: str) -> bool:
        """Whether a lock has not changed for a lease while this object watched it, by this machine's clock."""
        try:
            found = self._lock(id).stat()
        except OSError:  # given up
            self.seen.pop(id, None)
            return False
        state, now = (found.st_mtime_ns, found.st_ctime_ns, found.st_ino), time.monotonic()
        if self.seen.get(id, ((), now))[0] != state:
            self.seen[id] = (state, now)
        return now - self.seen[id][1] >= LEASE_S

    def _silence(self, id: str) -> float:
        """Seconds since a lock was touched, by the clocks of its machine and this one; 0 if it is given up."""
        with suppress(OSError):
            return max(0.0, time.time() - self._lock(id).stat().st_mtime)
        return 0.0

    def _has_died(self, id: str) -> bool:
        """Whether the owner of a claim was a process of this machine that has ended."""
        claim = self._read(id)
        return claim.host == platform.node() and claim.pid > 0 and not is_running(claim.pid)

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
            return Claim(**read_json(self._note(id), NOTE_BYTES))
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
    return "\n".join(f"{c.id}  {c.label}  {progress(c)}  since {c.since}  process {c.pid} on {c.host}" for c in claims)


def progress(claim: Claim) -> str:
    """How far a claimed run is, and whether its owner may be gone."""
    done = f"epoch {claim.epoch}/{claim.epochs}" if claim.epochs else claim.state or "first epoch"
    return f"{done}, no sign of life for {claim.silent_s / 60:.0f} min" if claim.silent_s > LEASE_S else done
