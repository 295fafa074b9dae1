"""The conformance checks, as plain functions: for our methods, for CI, for methods from outside.

Each takes a Trial (a method on a pair of small networks and a few images) and raises AssertionError with a sentence.

N images in a batch
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchmark.acceleration.guards import Guard
from benchmark.acceleration.output_cast import detach_outputs
from benchmark.conformance.trial import (
    EPOCHS,
    Trial,
    each_stage,
    failure_reason,
    named_parameters,
    outputs,
    train_one_epoch,
    train_to_end,
)
from benchmark.experiment import resolve
from benchmark.training.lane import Lane
from benchmark.training.loop import steps, train
from methods.contract import Stage

Check = Callable[[Trial], None]
WAITS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__")


def knobs_can_be_recorded(trial: Trial) -> None:
    """Every knob has a type, a default that fits it, and a value that JSON can say."""
    json.dumps(resolve.resolve_knobs(trial.method, {}), allow_nan=False)


def terms_are_finite_scalars(trial: Trial) -> None:
    """A loss gives named, finite, float scalars on batches of any size, the same for the same batch."""
    for lane, stage in itertools.chain(each_stage(trial, trained=False), each_stage(trial)):
        for count in (1, 2, 5):
            s, t, batch = outputs(lane, count)
            terms = stage.loss(s, t, batch)
            assert isinstance(terms, dict) and terms, f"the loss of stage {stage.name!r} must be a dict of terms"
            for name, value in terms.items():
                assert isinstance(value, Tensor), f"the term {name!r} must be a tensor, not {type(value).__name__}"
                assert value.shape == (), f"the term {name!r} has shape {tuple(value.shape)}; it must be a scalar"
                assert value.isfinite(), f"the term {name!r} is {value.item()} on a batch of {count}"
            again = stage.loss(s, t, batch)
            assert all(again[name].equal(terms[name]) for name in terms), (
                "the loss answers twice differently: make it pure"
            )


def everything_trained_gets_a_gradient(trial: Trial) -> None:
    """In some stage, each parameter of student and method is reached by the loss."""
    reached: set[str] = set()
    for lane, stage in each_stage(trial):
        s, t, batch = outputs(lane, 5)
        sum(stage.loss(s, t, batch).values()).backward()
        reached |= {name for name, p in named_parameters(lane) if p.grad is not None}
        missed = sorted({name for name, _ in named_parameters(lane)} - reached)
    assert not missed, f"no stage trains {missed[0]} ({len(missed)} parameters in all): the loss does not reach it"


def the_teacher_stays_as_it_is(trial: Trial) -> None:
    """No gradient reaches the teacher, and training leaves its weights alone."""
    context = trial.context()
    if context.teacher is None:
        return
    net = context.teacher.net.net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train([trial.run], context)
    assert all(p.grad is None for p in net.parameters()), "a gradient reached the teacher"
    changed = [name for name, value in net.state_dict().items() if not value.equal(before[name])]
    assert not changed, f"the teacher's {changed[0]} changed during training"


def odd_features_do_no_harm(trial: Trial) -> None:
    """Constant features, zero features, a single class, and bf16's rounding leave terms and gradients finite."""
    for lane, stage in each_stage(trial):
        for kind in ("constant", "zero", "one class", "bf16"):
            s, t, batch = outputs(lane, 5, kind)
            leaves = [m.requires_grad_() for m in (*s.maps, s.embedding, s.logits)]
            total = sum(stage.loss(s, t, batch).values())
            assert total.isfinite(), f"the loss is {total.item()} with {kind} features"
            gradients = torch.autograd.grad(total, leaves, allow_unused=True)
            assert all(g is None or g.isfinite().all() for g in gradients), (
                f"the gradient is not finite with {kind} features"
            )


def the_last_stage_has_the_recipes_epochs(trial: Trial) -> None:
    """Stages have names and epochs; the last one is the recipe's, earlier ones are extra."""
    stages = trial.lane().stages
    assert all(isinstance(stage, Stage) and stage.epochs >= 0 for stage in stages), (
        "stages must be Stage(name, epochs, loss)"
    )
    assert stages[-1].epochs == EPOCHS, f"the last stage has {stages[-1].epochs} epochs, the recipe asks for {EPOCHS}"


def state_has_two_homes(trial: Trial) -> None:
    """What training changes is a parameter or a buffer: nothing else survives a resume."""
    lane = trial.lane()
    train_one_epoch(lane)
    for module in lane.method.modules():
        loose = [name for name, value in vars(module).items() if isinstance(value, Tensor)]
        assert not loose, f"{loose[0]!r} is a tensor in a plain attribute: use register_buffer, or a resume loses it"


def a_step_waits_for_nothing(trial: Trial) -> None:
    """No `.item()`, `.cpu()` or `if tensor` in `loss` and `observe`: each would stall a GPU at every step."""
    for lane, stage in each_stage(trial):
        s, t, batch = outputs(lane, 5)
        kept = {name: getattr(Tensor, name) for name in WAITS}
        try:
            for name in WAITS:
                setattr(Tensor, name, forbid_sync(name))
            terms = stage.loss(s, t, batch)
            with torch.no_grad():
                lane.method.observe(detach_outputs(s), t, batch)
            sum(terms.values())
        finally:
            for name, value in kept.items():
                setattr(Tensor, name, value)


def a_step_leaves_python_as_it_was(trial: Trial) -> None:
    """Within an epoch steps change tensors in place, and nothing else: so a GPU can record one and replay it."""
    lane = trial.lane()
    for epoch in range(lane.epochs):
        lane.begin_epoch(epoch)
        guards = [Guard(lane.student, lane.method) for _ in steps([lane], epoch)]
        assert all(guard == guards[0] for guard in guards), (
            "a step changes what Python holds: gather in buffers, in place, or it cannot be replayed on a GPU"
        )
        lane.end_epoch(1.0, 1)


def a_resumed_run_is_the_same_run(trial: Trial) -> None:
    """Killed after the first epoch and resumed, a run ends with the same curve, bit for bit."""
    straight = train_to_end(trial, [trial.run])
    context = replace(trial.context(), checkpoint_interval=0.0)
    lane = Lane(trial.run, context)
    lane.setup()
    train_one_epoch(lane)
    assert context.store.checkpoint(trial.run.id).exists() or lane.epochs == 1, "no checkpoint was written"
    resumed = train([trial.run], context)[0]
    assert resumed.status == "done", failure_reason(resumed)
    assert resumed.curve == straight.curve, "a resumed run differs from an undisturbed one: is all state in buffers?"


def other_lanes_change_nothing(trial: Trial) -> None:
    """A run trains the same alone and beside another, bit for bit."""
    other = trial.plain
    if other.id != trial.run.id:
        beside = train_to_end(trial, [other, trial.run])
        assert beside.curve == train_to_end(trial, [trial.run]).curve, (
            "the run differs in company: is something drawn globally?"
        )


CHECKS: list[Check] = [
    knobs_can_be_recorded,
    terms_are_finite_scalars,
    everything_trained_gets_a_gradient,
    the_teacher_stays_as_it_is,
    odd_features_do_no_harm,
    the_last_stage_has_the_recipes_epochs,
    state_has_two_homes,
    a_step_waits_for_nothing,
    a_step_leaves_python_as_it_was,
    a_resumed_run_is_the_same_run,
    other_lanes_change_nothing,
]


def forbid_sync(name: str) -> Callable:
    """What stands in for a Tensor's method that waits for the device."""

    def complain(*_, **__):
        raise AssertionError(f"Tensor.{name} was called in a step: the device would be waited for")

    return complain
