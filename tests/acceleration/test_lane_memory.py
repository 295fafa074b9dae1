"""Lanes, their networks and their recordings are freed when they end, by counting references alone."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from fake_cuda import STREAMED, FakeCuda
from lanes import LONG
from tape import MACHINE

from benchmark.acceleration.machine import Machine
from benchmark.conformance.trial import CPU, PAIRS, Trial
from benchmark.profiling.timing import lanes_by_stage
from benchmark.training.lane import Lane
from benchmark.training.loop import Callback, train
from methods import registry
from methods.contract import Method

pytestmark = pytest.mark.usefixtures("torch_only")
MACHINES = pytest.mark.parametrize("machine", [CPU, MACHINE, STREAMED], ids=["called", "tape", "streams"])


@pytest.fixture
def trial(tmp_path):
    return Trial("kd", *PAIRS[0], tmp_path)


@pytest.fixture
def alive(trial, monkeypatch):
    """Lanes in training and what they hold that is still in memory; the garbage collector does not run.

    A training before it imports what torch imports at first use: such an import keeps all frames that led to it.
    """
    train([trial.run], trial.context())
    FakeCuda().install(monkeypatch)
    found, real = weakref.WeakSet(), Lane.begin_epoch

    def noting(lane, epoch):
        begun = real(lane, epoch)
        found.update((lane, lane.student, lane.method, lane.optimiser, lane.graphed_step))
        return begun

    monkeypatch.setattr(Lane, "begin_epoch", noting)
    monkeypatch.setattr(Machine, "free_memory", lambda self: None)
    gc.collect()
    gc.disable()
    yield found
    gc.enable()


class Counter(Callback):
    """Notes how many there were at the end of each epoch."""

    def __init__(self, alive):
        self.alive, self.counts = alive, []

    def on_epoch_end(self, lanes, epoch, epochs, rate):
        self.counts.append(len(self.alive))


def runs(trial, *methods):
    recipe = LONG.model_copy(update={"epochs": 2})
    return [replace(trial, method=name).run.model_copy(update={"recipe": recipe}) for name in methods]


@pytest.mark.parametrize(
    ("machine", "methods"),
    [(STREAMED, registry.names()), (CPU, ("crd", "kda")), (MACHINE, ("ab", "crd"))],
    ids=["streams", "called", "tape"],
)
def test_lanes_of_every_method_are_gone_when_the_cohort_has_ended(trial, alive, machine, methods):
    cohort, counter = runs(trial, *methods), Counter(alive)
    context = replace(trial.context(), machine=machine)
    records = train(cohort, context, counter)
    assert {record.status for record in records} == {"done"}
    assert max(counter.counts) >= 5 * len(cohort)
    assert list(alive) == []
    assert list(context.feed._lanes) == []


@MACHINES
def test_a_lane_that_fails_while_others_train_is_gone_when_the_cohort_has_ended(
    trial, alive, machine, isolated_registry
):
    @registry.register("broken")
    class Broken(Method):
        def loss(self, s, t, batch):
            if self.epoch:
                raise RuntimeError("no loss")
            return {"ce": F.cross_entropy(s.logits, batch.y)}

        def begin_epoch(self, clock):
            self.epoch = clock.epoch

    counter = Counter(alive)
    records = train(runs(trial, "broken", "kd"), replace(trial.context(), machine=machine), counter)
    assert [record.status for record in records] == ["failed", "done"]
    assert max(counter.counts) == 10
    assert list(alive) == []


@MACHINES
def test_lanes_that_did_not_fit_are_gone_before_their_halves_are_built(trial, alive, machine, monkeypatch):
    before, real = [], Lane.setup

    def setup(lane):
        before.append(len(alive))
        return real(lane)

    def step(lane, batch, t, real_step=Lane.step):
        if len(alive) > 5 and lane.steps == 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real_step(lane, batch, t)

    monkeypatch.setattr(Lane, "setup", setup)
    monkeypatch.setattr(Lane, "step", step)
    records = train(runs(trial, "ce", "kd"), replace(trial.context(), machine=machine))
    assert [record.status for record in records] == ["done"] * 2
    assert before == [0, 0, 0, 0], "two together, then each alone"
    assert list(alive) == []


@MACHINES
def test_lanes_that_nobody_closed_are_gone_when_nobody_uses_them(trial, alive, machine):
    context = replace(trial.context(), machine=machine)
    batches = list(context.train_split.epoch(0, 0, trial.run.recipe))
    lanes = lanes_by_stage(trial.run, context, batches)
    assert len(alive) == 5
    del lanes
    assert list(alive) == []


def test_a_method_that_keeps_the_pass_over_the_teachers_outputs_does_not_keep_its_lane(trial, alive, isolated_registry):
    @registry.register("keeper")
    class Keeper(Method):
        def prepare(self, student, teacher, sweep):
            self.sweep = sweep

        def loss(self, s, t, batch):
            return {"ce": F.cross_entropy(s.logits, batch.y)}

    (record,) = train(runs(trial, "keeper"), trial.context())
    assert record.status == "done", record.error
    assert list(alive) == []


def test_a_context_that_nobody_uses_gives_the_teachers_stream_back(trial, alive, monkeypatch):
    context = replace(trial.context(), machine=STREAMED)
    train(runs(trial, "kd"), context)
    gone = weakref.ref(context.feed), weakref.ref(context.feed.teacher)
    stream = context.feed.teacher.recorder.stream
    del context
    assert [each() for each in gone] == [None, None]
    assert STREAMED.recorder().stream is stream
