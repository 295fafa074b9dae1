"""A sweep on a Ray cluster whose folder of results other processes use too: it trains only what it has claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from benchmark.experiment.run import Run
from benchmark.store import Store
from benchmark.sweep.claims import Claims
from benchmark.sweep.cluster.connect import Footprint
from benchmark.sweep.cluster.executor import Sweep
from benchmark.sweep.cohort import Task, is_free, train_cohort, unanswered
from benchmark.sweep.options import Options

STATE = "queued or training on Ray"  # what `status` shows: only the driver notes claims


def trainable(waves: Sequence[Sequence[Run]], taken: Set[str], store: Store) -> list[Run]:
    """The runs that can train now or after one another: their teachers are among them or have weights.

    waves: teachers' first; taken: ids that other processes hold.
    """
    found: dict[str, Run] = {}
    for run in (run for wave in waves for run in wave):
        if is_free(run, taken, store) or (run.id not in taken and run.teacher and run.teacher.id in found):
            found[run.id] = run
    return list(found.values())


def train_on_cluster(
    runs: Sequence[Run],
    waves: Sequence[Sequence[list[Run]]],
    before: Mapping[str, int],
    store: Store,
    options: Options,
    footprint: Footprint,
    claims: Claims,
) -> None:
    """Train those of the runs, in the cohorts of `waves`, that no other process holds or has trained meanwhile.

    before: id of each run of the sweep -> attempts when it began.  Raises Stopped.
    """
    with claims.take(runs, STATE) as mine:
        others = claims.held_ids() - {run.id for run in mine}
        left = unanswered([mine], before, store)  # now: joining a cluster takes a while
        chosen = {run.id for run in trainable(left, others, store)}
        parts = [[run for run in cohort if run.id in chosen] for wave in waves for cohort in wave]
        if chosen:
            Sweep(train_cohort, store, options, footprint).train([Task(p, options, before) for p in parts if p])
