"""Steps that cannot be recorded are called instead, with the same results, and say why."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from lanes import LONG, a_lane, assert_equal, state, trained
from tape import CALLED, MACHINE, TapeRecorder

from benchmark import models
from benchmark.acceleration import graphed_function
from benchmark.acceleration.feed import BatchFeed
from benchmark.acceleration.graphed_function import MAX_UNSTEADY_STEPS, WARMUP_STEPS, GraphedFunction, Guard
from benchmark.conformance.trial import PAIRS, Trial
from benchmark.training.loop import train
from methods import registry
from methods.contract import Method

pytestmark = pytest.mark.usefixtures("torch_only")


@pytest.fixture
def trial(tmp_path):
    return Trial("kd", *PAIRS[0], tmp_path)


class Plain(Method):
    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}


# ---- methods
def summary_of_unrecorded(trial, name, method):
    """The summary of a lane whose method cannot be recorded; it ends as it would without recording."""
    registry.register(name)(method)
    own = replace(trial, method=name)
    taped, called = trained(a_lane(own)), trained(a_lane(own, CALLED))
    assert_equal(state(taped), state(called))
    assert taped.curve == called.curve
    return taped.graphed_step.summary()


@pytest.fixture
def few_tries(monkeypatch):
    """An epoch of these few images has only five steps."""
    monkeypatch.setattr(graphed_function, "MAX_UNSTEADY_STEPS", 3)


def test_a_method_that_reads_a_value_to_python_is_called(trial, isolated_registry, few_tries):
    class Reader(Plain):
        def loss(self, s, t, batch):
            ce = F.cross_entropy(s.logits, batch.y)
            return {"ce": ce, "more": ce * (0.1 if ce.item() > 2 else 0.2)}

    summary = summary_of_unrecorded(trial, "reader", Reader)
    assert summary["recorded"] == 0
    assert "waits for the device" in summary["reason"]


def test_a_method_that_counts_in_python_is_called(trial, isolated_registry, few_tries):
    class Counter(Plain):
        steps = 0

        def observe(self, s, t, batch):
            self.steps += 1

        def loss(self, s, t, batch):
            return super().loss(s, t, batch) | {"more": s.logits.square().mean() / (1 + self.steps)}

    summary = summary_of_unrecorded(trial, "counter", Counter)
    assert summary["recorded"] == 0
    assert "changes in Python" in summary["reason"]


def test_a_method_that_replaces_its_buffers_is_called(trial, isolated_registry, few_tries):
    class Mover(Plain):
        def __init__(self, student, teacher):
            super().__init__()
            self.register_buffer("mean", torch.zeros(student.logits))

        def observe(self, s, t, batch):
            self.mean = 0.9 * self.mean + 0.1 * s.logits.mean(0)

        def loss(self, s, t, batch):
            return super().loss(s, t, batch) | {"more": (s.logits - self.mean).square().mean()}

    assert summary_of_unrecorded(trial, "mover", Mover)["recorded"] == 0


def test_a_method_that_gathers_in_a_list_is_called(trial, isolated_registry, few_tries):
    class Gatherer(Plain):
        def __init__(self, student, teacher):
            super().__init__()
            self.kept = []

        def observe(self, s, t, batch):
            self.kept = [*self.kept, s.logits.mean(0)][-3:]

        def loss(self, s, t, batch):
            past = sum(self.kept) if self.kept else 0.0
            return super().loss(s, t, batch) | {"more": (s.logits - past).square().mean()}

    assert summary_of_unrecorded(trial, "gatherer", Gatherer)["recorded"] == 0


# ---- students, optimisers, short runs
def test_a_student_with_dropout_is_called(trial, monkeypatch):
    def build(name, classes, preactivations=False, real=models.build):
        net = real(name, classes)
        net.embed = torch.nn.Dropout(0.5)
        return net

    monkeypatch.setattr(models, "build", build)
    lane = trained(a_lane(trial), 2)
    assert lane.graphed_step.recorded == 0
    assert "dropout" in lane.graphed_step.summary()["reason"]


def test_an_optimiser_that_reads_its_rate_in_python_is_called(trial, few_tries):
    recipe = LONG.model_copy(update={"optimiser": "rmsprop", "lr": 0.001})
    taped, called = (trained(a_lane(trial, machine, recipe), 3) for machine in (MACHINE, CALLED))
    assert_equal(state(taped), state(called))
    assert "waits for the device" in taped.graphed_step.summary()["reason"]


def test_an_optimiser_restored_on_another_kind_of_device_is_as_capturable_as_a_new_one_there(trial):
    recipe = LONG.model_copy(update={"optimiser": "rmsprop", "lr": 0.001})
    lane = trained(a_lane(trial, CALLED, recipe), 1)
    saved = lane.optimiser.state_dict()
    saved["param_groups"][0] |= {"capturable": True, "lr": torch.tensor(0.001)}
    lane.restore_optimiser(saved)
    assert lane.optimiser.param_groups[0]["capturable"] is False
    assert_equal(state(trained(lane)), state(trained(a_lane(trial, CALLED, recipe))))


def test_a_run_too_short_to_be_recorded_says_so(trial):
    lane = trained(a_lane(trial, recipe=LONG.model_copy(update={"batch": 24})), 2)
    assert "never steady" in lane.graphed_step.summary()["reason"]


# ---- recordings that fail
def failing(monkeypatch, fault):
    """Every recording raises `fault` after it has begun; returns a list with an entry for each."""
    tried = []

    def capture(self, action):
        tried.append(action)
        raise fault

    monkeypatch.setattr(TapeRecorder, "capture", capture)
    return tried


def test_a_step_that_failed_to_be_recorded_is_called_and_not_tried_again(monkeypatch, trial):
    tried = failing(monkeypatch, RuntimeError("capture failed\nwith a long trace"))
    plain = replace(trial, method="ce")
    lane = trained(a_lane(plain))
    assert_equal(state(lane), state(trained(a_lane(plain, CALLED))))
    assert lane.graphed_step.summary() == {
        "recorded": 0, "replayed": 0, "reason": "it could not be recorded: RuntimeError: capture failed",
    }  # fmt: skip
    assert len(tried) == 1


def out_of_memory():
    """Two exceptions: as torch raises it, and as it is masked by one that ending the recording raised."""
    masked = RuntimeError("operation failed due to a previous error during capture")
    masked.__context__ = torch.OutOfMemoryError("CUDA out of memory.")
    return [torch.OutOfMemoryError("CUDA out of memory.\nTried"), masked]


@pytest.mark.parametrize("fault", out_of_memory(), ids=["plain", "masked"])
def test_memory_that_runs_out_while_recording_is_freed_and_the_only_lane_is_called(monkeypatch, trial, fault):
    tried, freed = failing(monkeypatch, fault), []
    monkeypatch.setattr(TapeRecorder, "free_memory", lambda self: freed.append(len(tried)))
    context = replace(trial.context(), machine=MACHINE)
    run = trial.run.model_copy(update={"recipe": LONG})
    (record,) = train([run], context)
    assert record.status == "done", record.error
    assert record.provenance["recording"]["reason"].startswith(f"it could not be recorded: {type(fault).__name__}: ")
    assert "did_not_fit" not in record.provenance
    assert freed == [1, 2], "once each for the teacher and the lane"
    called = replace(trial.context(), machine=CALLED)
    train([run], called)
    assert context.store.weights(run.id).read_bytes() == called.store.weights(run.id).read_bytes()


@pytest.mark.parametrize("fault", out_of_memory(), ids=["plain", "masked"])
def test_memory_that_runs_out_while_one_of_several_lanes_is_recorded_halves_the_cohort(monkeypatch, trial, fault):
    failing(monkeypatch, fault)
    cohort = [replace(trial, method=name).run.model_copy(update={"recipe": LONG}) for name in ("ce", "kd")]
    records = train(cohort, replace(trial.context(), machine=MACHINE))
    assert [record.status for record in records] == ["done"] * 2
    assert [record.provenance["did_not_fit"] for record in records] == [[2]] * 2


def test_what_a_failed_recording_held_is_freed_before_the_step_is_called(monkeypatch):
    class Big:
        pass

    alive = weakref.WeakSet()

    def capture(self, action):
        big = Big()
        alive.add(big)
        raise torch.OutOfMemoryError("no")

    monkeypatch.setattr(TapeRecorder, "capture", capture)
    seen = []
    function = GraphedFunction(lambda x: seen.append(len(alive)), Guard, TapeRecorder())
    function.begin()
    given = object()
    gc.disable()
    try:
        for _ in range(WARMUP_STEPS + 3):
            function(given)
    finally:
        gc.enable()
    assert seen == [0] * (WARMUP_STEPS + 3)
    assert function.reason == "it could not be recorded: OutOfMemoryError: no"


def test_a_lane_that_was_closed_does_not_count_as_one_that_could_give_memory_back():
    feed = BatchFeed(None, 1, TapeRecorder)
    one, other = (feed.graphed(lambda: None, Guard) for _ in range(2))
    assert not one.alone()
    other.close()
    assert one.alone()


# ---- guards
def test_a_guard_sees_every_value_that_python_holds():
    module = torch.nn.Linear(2, 2)
    module.options = {"weight": 1.0, "names": ["a"]}
    before = Guard(module)
    assert before == Guard(module)
    for change in (
        lambda: module.options.update(weight=2.0),
        lambda: module.options["names"].append("b"),
        module.eval,
        lambda: setattr(module, "more", None),
        lambda: module.weight.requires_grad_(False),
        lambda: setattr(module, "bias", torch.nn.Parameter(module.bias.detach().clone())),
    ):
        change()
        after = Guard(module)
        assert before != after
        before = after
    module.weight.data = module.weight.data.clone()
    assert before != Guard(module), "the same tensor at another address"


def test_a_guard_ignores_the_values_of_tensors_and_allows_a_module_that_holds_itself():
    module = torch.nn.Linear(2, 2)
    module.others = [module]
    before = Guard(module)
    module.weight.data.fill_(3)
    assert before == Guard(module)


def test_a_function_that_changes_something_in_every_call_is_given_up_after_some_tries():
    values = []
    given = object()
    function = GraphedFunction(lambda x: values.append(0), lambda: Guard(list(values)), TapeRecorder())
    function.begin()
    for _ in range(MAX_UNSTEADY_STEPS + 3):
        function(given)
    assert (function.recorded, len(values)) == (0, MAX_UNSTEADY_STEPS + 3)
    assert "changes in Python" in function.reason
