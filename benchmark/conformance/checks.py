"""The conformance checks of methods, as plain functions that tests and the command `check` run.

Each takes a Trial (a method on a pair of small networks and a few images) and raises AssertionError with a sentence
that says what is wrong.  The command prints the name of a failed check, with spaces for underscores.

N images in a batch
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchmark.acceleration.graphed_function import Guard
from benchmark.acceleration.output_cast import detach_outputs
from benchmark.conformance.trial import (
    EPOCHS,
    Trial,
    UncopiedTeacher,
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
# methods of Tensor that wait for the device
SYNCHRONISING = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__")


def knobs_can_be_recorded(trial: Trial) -> None:
    """Every knob has a type, a default of that type, and a value that JSON can represent."""
    json.dumps(resolve.resolve_knobs(trial.method, {}), allow_nan=False)


def loss_terms_are_finite_scalars(trial: Trial) -> None:
    """A loss returns named finite scalars for batches of 1, 2 and 5 images, and the same ones if called again."""
    for lane, stage in itertools.chain(each_stage(trial, trained=False), each_stage(trial)):
        for count in (1, 2, 5):
            s, t, batch = outputs(lane, count)
            terms = stage.loss(s, t, batch)
            assert isinstance(terms, dict) and terms, f"the loss of stage {stage.name!r} must return a dict of terms"
            for name, value in terms.items():
                assert isinstance(value, Tensor), f"the term {name!r} must be a tensor, not {type(value).__name__}"
                assert value.shape == (), f"the term {name!r} has shape {tuple(value.shape)}; it must be a scalar"
                assert value.isfinite(), f"the term {name!r} is {value.item()} on a batch of {count}"
            again = stage.loss(s, t, batch)
            assert all(again[name].equal(terms[name]) for name in terms), (
                "the loss returns other values when it is called again on the same batch: make it a pure function"
            )


def every_parameter_gets_a_gradient(trial: Trial) -> None:
    """Each parameter of student and method gets a gradient from the loss of at least one stage."""
    reached: set[str] = set()
    for lane, stage in each_stage(trial):
        s, t, batch = outputs(lane, 5)
        sum(stage.loss(s, t, batch).values()).backward()
        reached |= {name for name, p in named_parameters(lane) if p.grad is not None}
        missed = sorted({name for name, _ in named_parameters(lane)} - reached)
    assert not missed, (
        f"no stage trains {missed[0]} ({len(missed)} parameters without a gradient): the loss does not depend on it"
    )


def training_does_not_change_the_teacher(trial: Trial) -> None:
    """The teacher gets no gradients, and its weights and buffers are the same after training."""
    context = trial.context(UncopiedTeacher)
    if context.teacher is None:
        return
    net = context.teacher.net.net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train([trial.run], context)
    assert all(p.grad is None for p in net.parameters()), (
        "the teacher got gradients: `loss` must not propagate into its weights"
    )
    changed = [name for name, value in net.state_dict().items() if not value.equal(before[name])]
    assert not changed, f"training changed {changed[0]} of the teacher: it must stay frozen"


def loss_and_gradients_stay_finite_on_degenerate_features(trial: Trial) -> None:
    """Loss and gradients are finite for features that are constant, zero, of a single class, or rounded to bf16."""
    for lane, stage in each_stage(trial):
        for kind in ("constant", "zero", "one class", "bf16"):
            s, t, batch = outputs(lane, 5, kind)
            leaves = [m.requires_grad_() for m in (*s.maps, *s.preactivations, s.embedding, s.logits)]
            total = sum(stage.loss(s, t, batch).values())
            assert total.isfinite(), f"the loss is {total.item()} with {kind} features"
            gradients = torch.autograd.grad(total, leaves, allow_unused=True)
            assert all(g is None or g.isfinite().all() for g in gradients), (
                f"the gradient is not finite with {kind} features"
            )


def the_last_stage_has_the_epochs_of_the_recipe(trial: Trial) -> None:
    """Stages are instances of Stage; the last one has the epochs of the recipe, those before it are additional."""
    stages = trial.lane().stages
    assert all(isinstance(stage, Stage) and stage.epochs >= 0 for stage in stages), (
        "`stages` must return a list of Stage(name, epochs, loss)"
    )
    assert stages[-1].epochs == EPOCHS, f"the last stage has {stages[-1].epochs} epochs, the recipe has {EPOCHS}"


def tensors_are_parameters_or_buffers(trial: Trial) -> None:
    """No module of the method holds a tensor in a plain attribute: checkpoints save parameters and buffers only."""
    lane = trial.lane()
    train_one_epoch(lane)
    for module in lane.method.modules():
        unsaved = [name for name, value in vars(module).items() if isinstance(value, Tensor)]
        assert not unsaved, f"{unsaved[0]!r} is a tensor in a plain attribute, lost on resume: use register_buffer"


def a_step_does_not_synchronise_with_the_device(trial: Trial) -> None:
    """`loss` and `observe` use no `.item()`, `.cpu()` or `if tensor`: each would make every step wait for the GPU."""
    for lane, stage in each_stage(trial):
        s, t, batch = outputs(lane, 5)
        originals = {name: getattr(Tensor, name) for name in SYNCHRONISING}
        try:
            for name in SYNCHRONISING:
                setattr(Tensor, name, forbid_sync(name))
            terms = stage.loss(s, t, batch)
            with torch.no_grad():
                lane.method.observe(detach_outputs(s), t, batch)
            sum(terms.values())
        finally:
            for name, value in originals.items():
                setattr(Tensor, name, value)


def a_step_changes_no_python_state(trial: Trial) -> None:
    """The steps of an epoch change tensors in place and nothing else, so that a CUDA graph can replay them."""
    lane = trial.lane()
    for epoch in range(lane.epochs):
        lane.begin_epoch(epoch)
        guards = [Guard(lane.student, lane.method) for _ in steps([lane], epoch)]
        assert all(guard == guards[0] for guard in guards), (
            "a step changes a Python attribute or replaces a tensor, and cannot be replayed as a CUDA graph: "
            "keep what changes in buffers and update them in place"
        )
        lane.end_epoch(1.0, 1)


def a_resumed_run_equals_an_uninterrupted_run(trial: Trial) -> None:
    """A run that is interrupted after its first epoch and resumed ends with the same curve, bit for bit."""
    uninterrupted = train_to_end(trial, [trial.run])
    context = replace(trial.context(), checkpoint_interval=0.0)
    lane = Lane(trial.run, context)
    lane.setup()
    train_one_epoch(lane)
    assert context.store.checkpoint(trial.run.id).exists() or lane.epochs == 1, "no checkpoint was written"
    resumed = train([trial.run], context)[0]
    assert resumed.status == "done", failure_reason(resumed)
    assert resumed.curve == uninterrupted.curve, (
        "a resumed run differs from an uninterrupted one: keep all that training changes in parameters or buffers"
    )


def other_lanes_do_not_affect_a_run(trial: Trial) -> None:
    """A run trains the same alone and in a cohort with another, bit for bit."""
    other = trial.plain
    if other.id != trial.run.id:
        in_cohort = train_to_end(trial, [other, trial.run])
        assert in_cohort.curve == train_to_end(trial, [trial.run]).curve, (
            "the run differs in a cohort with another: `loss` and `observe` must not use the global random generator"
        )


CHECKS: list[Check] = [
    knobs_can_be_recorded,
    loss_terms_are_finite_scalars,
    every_parameter_gets_a_gradient,
    training_does_not_change_the_teacher,
    loss_and_gradients_stay_finite_on_degenerate_features,
    the_last_stage_has_the_epochs_of_the_recipe,
    tensors_are_parameters_or_buffers,
    a_step_does_not_synchronise_with_the_device,
    a_step_changes_no_python_state,
    a_resumed_run_equals_an_uninterrupted_run,
    other_lanes_do_not_affect_a_run,
]


def forbid_sync(name: str) -> Callable:
    """A replacement for the method `name` of Tensor, which waits for the device: it raises AssertionError."""

    def raise_error(*_, **__):
        raise AssertionError(f"Tensor.{name} was called in a step, which would make every step wait for the device")

    return raise_error
