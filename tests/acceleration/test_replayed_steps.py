"""Replayed steps leave the weights that called steps leave, bit for bit, and are recorded as rarely as possible."""

from dataclasses import replace
from importlib import import_module

import pytest
import torch
from lanes import COSINE, LONG, SETTINGS, SHORT, a_lane, assert_equal, pair_of, state, trained
from tape import CALLED, MACHINE, TapeMachine, TapeRecorder

from benchmark.conformance.trial import PAIRS, Trial
from benchmark.training.lane import Lane
from benchmark.training.loop import train

pytestmark = pytest.mark.usefixtures("torch_only")


@pytest.fixture
def trial(tmp_path):
    return Trial("kd", *PAIRS[0], tmp_path)


# ---- exactness
@pytest.mark.parametrize(("method", "changes", "recipe"), [*((*each, SHORT) for each in SETTINGS), ("kd", {}, COSINE)])
def test_after_many_steps_replayed_weights_equal_those_of_called_steps(method, changes, recipe, tmp_path):
    trial = Trial(method, *pair_of(method), tmp_path)
    called, replayed = (trained(a_lane(trial, machine, recipe, **changes)) for machine in (CALLED, MACHINE))
    assert_equal(state(replayed), state(called))
    assert replayed.curve == called.curve
    assert called.graphed_step.summary() is None
    summary = replayed.graphed_step.summary()
    assert not summary["reason"]
    assert summary["replayed"] > 10


def test_a_cohort_replayed_equals_each_lane_called_alone(trial):
    others = [replace(trial, method=name).run for name in ("ce", "hint", "kda")]
    cohort = [run.model_copy(update={"recipe": LONG}) for run in (trial.run, *others)]
    context = replace(trial.context(), machine=MACHINE)
    for record in train(cohort, context):
        assert record.status == "done", record.error
        assert record.provenance["graphs"] is True
        assert record.provenance["recording"]["replayed"] > 10
    for run in cohort:
        alone = replace(trial.context(), machine=CALLED)
        train([run], alone)
        left, right = (each.store.weights(run.id).read_bytes() for each in (context, alone))
        assert left == right


@pytest.mark.parametrize(("recipe", "first"), [(LONG, MACHINE), (COSINE, CALLED)], ids=["with graphs", "without"])
def test_a_resumed_run_is_recorded_again_and_ends_as_an_uninterrupted_one(trial, recipe, first):
    context = replace(trial.context(), machine=first, checkpoint_interval=0.0)
    run = trial.run.model_copy(update={"recipe": recipe})
    interrupted = Lane(run, context)
    interrupted.setup()
    trained(interrupted, 5)
    resumed = Lane(run, replace(context, machine=MACHINE))
    resumed.setup()
    assert resumed.epoch == 5
    assert_equal(state(trained(resumed)), state(trained(a_lane(trial, CALLED, recipe))))
    assert resumed.graphed_step.summary()["recorded"] == 1


def test_rmsprop_on_a_device_that_it_can_be_recorded_on_is_replayed_with_the_same_weights(trial, monkeypatch):
    monkeypatch.setattr(import_module("torch.optim.rmsprop"), "_get_capturable_supported_devices", lambda: ["cpu"])

    class Capturable(TapeMachine):
        capturable = True

    recipe = LONG.model_copy(update={"optimiser": "rmsprop", "lr": 0.001})
    called, replayed = (
        trained(a_lane(trial, Capturable(torch.device("cpu"), "fp32", graphs), recipe)) for graphs in (False, True)
    )
    assert called.optimiser.param_groups[0]["capturable"]
    assert_equal(state(replayed), state(called))
    assert called.graphed_step.summary() is None
    summary = replayed.graphed_step.summary()
    assert (summary["recorded"], summary["reason"]) == (1, "")
    assert summary["replayed"] > 10


# ---- when it is recorded
def test_a_step_is_recorded_once_and_again_when_the_terms_of_the_loss_change(tmp_path):
    lane = trained(a_lane(Trial("kda", *PAIRS[0], tmp_path), warm=6))
    assert lane.graphed_step.summary()["recorded"] == 2, "cross-entropy alone; then with the kernel's term"
    assert trained(a_lane(Trial("kd", *PAIRS[0], tmp_path))).graphed_step.summary()["recorded"] == 1


def test_each_stage_is_recorded_once_though_a_weight_of_its_loss_falls_in_every_epoch(tmp_path):
    lane = trained(a_lane(Trial("fitnets", *PAIRS[0], tmp_path)))
    assert lane.graphed_step.summary()["recorded"] == 2
    assert lane.method.weight == 1


def test_the_teacher_is_recorded_once_for_all(trial):
    lane = trained(a_lane(trial))
    assert lane.context.feed.teacher.summary()["recorded"] == 1
    assert lane.context.feed.teacher.replayed > 15, "two batches at once, two times in an epoch"


def test_terms_of_an_earlier_stage_do_not_appear_in_later_epochs(tmp_path):
    lane = trained(a_lane(Trial("fitnets", *PAIRS[0], tmp_path)))
    first = lane.curve["stage"].count("hint")
    assert lane.curve["loss"]["hint"][first:] == [None] * 12
    assert lane.curve["loss"]["ce"][:first] == [None] * first


# ---- the stand-in is strict
def test_the_tape_fixes_what_python_held_and_executes_nothing_while_it_records():
    total, weight = torch.zeros(3), 2.0

    def action():
        total.add_(torch.ones(3) * weight)

    replay, _ = TapeRecorder().capture(action)
    assert total.tolist() == [0, 0, 0]
    weight = 5.0
    replay(), replay()
    assert total.tolist() == [4, 4, 4]


def test_the_tape_refuses_what_waits_for_the_device():
    with pytest.raises(RuntimeError, match="not permitted"):
        TapeRecorder().capture(lambda: torch.ones(2).sum().item())
