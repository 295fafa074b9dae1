"""Every method passes the conformance checks, and each check detects a method that violates it."""

import pytest
import torch
import torch.nn.functional as F

from benchmark.conformance import checks, run_checks
from benchmark.conformance.trial import PAIRS, Trial
from methods import registry
from methods.contract import Method, Stage, Unfit

NAMES = [*registry.names(), "ce+kd", "sp+kd", "kda+kd"]
TRAINING = {checks.a_resumed_run_equals_an_uninterrupted_run, checks.other_lanes_do_not_affect_a_run}
EQUAL_WIDTHS_ONLY = {"fsp"}  # the others train on the pair of different widths, where they have most to train


def cases():
    """(name, pair, check): both pairs, but one where a student is trained to the end."""
    for name in NAMES:
        for check in checks.CHECKS:
            one = check in TRAINING and name not in EQUAL_WIDTHS_ONLY
            for pair in PAIRS[1:] if one else PAIRS:
                yield pytest.param(name, pair, check, id="-".join((name, *pair, check.__name__)))


@pytest.mark.parametrize(("name", "pair", "check"), list(cases()))
def test_every_method_passes_every_check(name, pair, check, tmp_path):
    try:
        check(Trial(name, *pair, tmp_path))
    except Unfit as reason:
        assert name in EQUAL_WIDTHS_ONLY and pair == PAIRS[1]
        pytest.skip(f"{name} does not support this pair: {reason}")


SETTINGS = (
    ("fitnets", {"regressor": "maxout"}),
    ("kda", {"warm": 1}),
    ("kda", {"warm": 1, "at": "classifier"}),
    ("kda", {"warm": 1, "landmarks": "random", "m": 7}),
    ("lp", {"sigma": 1.0, "at": -1}),
    ("lsh", {"variant": "l2", "bias": "mean"}),
    ("lsh", {"variant": "lsh", "hashes": 16, "std": 0.1}),
)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "changes"), SETTINGS, ids=str)
def test_every_method_passes_every_check_with_other_settings(name, changes, check, tmp_path):
    check(Trial(name, *PAIRS[1], tmp_path, changes))


class Conforming(Method):
    def __init__(self, student=None, teacher=None, *, weight: float = 1.0):
        super().__init__()
        self.weight = weight

    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y), "gap": self.weight * (s.logits - t.logits).square().mean()}


class Syncs(Conforming):
    def loss(self, s, t, batch):
        terms = super().loss(s, t, batch)
        return terms if terms["gap"].item() > 0 else {}


class Random(Conforming):
    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y) * torch.rand(())}


class PlainState(Conforming):
    seen = None

    def observe(self, s, t, batch):
        self.seen = s.logits.mean(0) + (0 if self.seen is None else self.seen)

    def loss(self, s, t, batch):
        pull = 0.0 if self.seen is None else (s.logits.mean(0) - self.seen).square().mean()
        return super().loss(s, t, batch) | {"pull": pull + s.logits.sum() * 0}


class UnusedLayer(Conforming):
    def __init__(self, student, teacher):
        super().__init__()
        self.spare = torch.nn.Linear(3, 3)


class Unstable(Conforming):
    def loss(self, s, t, batch):
        return super().loss(s, t, batch) | {"angle": (s.embedding.mean() / t.embedding.norm())}


class ShortStage(Conforming):
    def stages(self, epochs):
        return [Stage("distill", epochs - 1, self.loss)]


class Vector(Conforming):
    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y, reduction="none")}


class InfiniteKnob(Method):
    def __init__(self, student=None, teacher=None, *, reach: float = float("inf")):
        super().__init__()

    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}


class CountsSteps(Conforming):
    steps = 0

    def observe(self, s, t, batch):
        self.steps += 1


FAULTY = {
    Syncs: checks.a_step_does_not_synchronise_with_the_device,
    Random: checks.loss_terms_are_finite_scalars,
    PlainState: checks.tensors_are_parameters_or_buffers,
    UnusedLayer: checks.every_parameter_gets_a_gradient,
    Unstable: checks.loss_and_gradients_stay_finite_on_degenerate_features,
    ShortStage: checks.the_last_stage_has_the_epochs_of_the_recipe,
    Vector: checks.loss_terms_are_finite_scalars,
    InfiniteKnob: checks.knobs_can_be_recorded,
    CountsSteps: checks.a_step_changes_no_python_state,
}


@pytest.mark.parametrize(("cls", "check"), FAULTY.items(), ids=lambda x: x.__name__)
def test_each_check_detects_a_method_that_violates_it(cls, check, tmp_path, isolated_registry):
    registry.register("faulty")(cls)
    with pytest.raises((AssertionError, ValueError)):
        check(Trial("faulty", *PAIRS[0], tmp_path))


def test_state_that_is_lost_on_resume_is_also_detected_by_the_resumed_run(tmp_path, isolated_registry):
    registry.register("faulty")(PlainState)
    with pytest.raises(AssertionError, match="resumed"):
        checks.a_resumed_run_equals_an_uninterrupted_run(Trial("faulty", *PAIRS[0], tmp_path))


def test_a_method_that_draws_from_the_global_generator_is_detected_in_a_cohort(tmp_path, isolated_registry):
    registry.register("faulty")(Random)
    with pytest.raises(AssertionError, match="in a cohort"):
        checks.other_lanes_do_not_affect_a_run(Trial("faulty", *PAIRS[0], tmp_path))


def test_a_conforming_method_of_a_plug_in_passes(tmp_path, isolated_registry):
    registry.register("good")(Conforming)
    assert run_checks.check_method("good", PAIRS[1]) == ([], "")


def test_an_unsupported_pair_is_a_reason_and_not_a_failure(isolated_registry):
    class Unsupported(Conforming):
        def prepare(self, student, teacher, sweep):
            raise Unfit("needs equal widths")

    registry.register("picky")(Unsupported)
    assert run_checks.check_method("picky", PAIRS[0]) == ([], "needs equal widths")
