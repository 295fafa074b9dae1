"""Every method keeps the contract, by the checks that outsiders run too; and the checks catch those who do not."""

import pytest
import torch
import torch.nn.functional as F

from benchmark.conformance import checks, run_checks
from benchmark.conformance.trial import PAIRS, Trial
from methods import registry
from methods.contract import Method, Stage, Unfit


@pytest.mark.parametrize("rule", checks.CHECKS, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("name", [*registry.names(), "ce+kd", "sp+kd", "kda+kd"])
def test_every_method_keeps_every_rule(name, pair, rule, tmp_path):
    try:
        rule(Trial(name, *pair, tmp_path))
    except Unfit as reason:
        pytest.skip(f"{name} does not serve this pair: {reason}")


SETTINGS = (
    ("fitnets", {"regressor": "maxout"}),
    ("kda", {"warm": 1}),
    ("kda", {"warm": 1, "at": "classifier"}),
    ("kda", {"warm": 1, "landmarks": "random", "m": 7}),
    ("lp", {"sigma": 1.0, "at": -1}),
    ("lsh", {"variant": "l2", "bias": "mean"}),
    ("lsh", {"variant": "lsh", "hashes": 16, "std": 0.1}),
)


@pytest.mark.parametrize("rule", checks.CHECKS, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize(("name", "changes"), SETTINGS, ids=str)
def test_every_method_keeps_every_rule_at_other_settings_too(name, changes, rule, tmp_path):
    rule(Trial(name, *PAIRS[1], tmp_path, changes))


class Good(Method):
    def __init__(self, student=None, teacher=None, *, weight: float = 1.0):
        super().__init__()
        self.weight = weight

    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y), "gap": self.weight * (s.logits - t.logits).square().mean()}


class Waits(Good):
    def loss(self, s, t, batch):
        terms = super().loss(s, t, batch)
        return terms if terms["gap"].item() > 0 else {}


class Moody(Good):
    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y) * torch.rand(())}


class Forgetful(Good):
    seen = None

    def observe(self, s, t, batch):
        self.seen = s.logits.mean(0) + (0 if self.seen is None else self.seen)

    def loss(self, s, t, batch):
        pull = 0.0 if self.seen is None else (s.logits.mean(0) - self.seen).square().mean()
        return super().loss(s, t, batch) | {"pull": pull + s.logits.sum() * 0}


class Idle(Good):
    def __init__(self, student, teacher):
        super().__init__()
        self.spare = torch.nn.Linear(3, 3)


class Fragile(Good):
    def loss(self, s, t, batch):
        return super().loss(s, t, batch) | {"angle": (s.embedding.mean() / t.embedding.norm())}


class Short(Good):
    def stages(self, epochs):
        return [Stage("distill", epochs - 1, self.loss)]


class Matrix(Good):
    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y, reduction="none")}


class Untyped(Method):
    def __init__(self, student=None, teacher=None, *, reach: float = float("inf")):
        super().__init__()

    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}


class Counts(Good):
    steps = 0

    def observe(self, s, t, batch):
        self.steps += 1


FAULTY = {
    Waits: checks.a_step_waits_for_nothing,
    Moody: checks.terms_are_finite_scalars,
    Forgetful: checks.state_has_two_homes,
    Idle: checks.everything_trained_gets_a_gradient,
    Fragile: checks.odd_features_do_no_harm,
    Short: checks.the_last_stage_has_the_recipes_epochs,
    Matrix: checks.terms_are_finite_scalars,
    Untyped: checks.knobs_can_be_recorded,
    Counts: checks.a_step_leaves_python_as_it_was,
}


@pytest.mark.parametrize(("cls", "rule"), FAULTY.items(), ids=lambda x: x.__name__)
def test_each_rule_catches_who_breaks_it(cls, rule, tmp_path, shelf):
    registry.register("faulty")(cls)
    with pytest.raises((AssertionError, ValueError)):
        rule(Trial("faulty", *PAIRS[0], tmp_path))


def test_a_method_that_forgets_on_resume_is_caught_by_the_resumed_run_too(tmp_path, shelf):
    registry.register("faulty")(Forgetful)
    with pytest.raises(AssertionError, match="resumed"):
        checks.a_resumed_run_is_the_same_run(Trial("faulty", *PAIRS[0], tmp_path))


def test_a_method_that_draws_globally_is_caught_in_company(tmp_path, shelf):
    registry.register("faulty")(Moody)
    with pytest.raises(AssertionError, match="company"):
        checks.other_lanes_change_nothing(Trial("faulty", *PAIRS[0], tmp_path))


def test_a_sound_method_from_outside_conforms(tmp_path, shelf):
    registry.register("good")(Good)
    assert run_checks.check_method("good", PAIRS[1]) == ([], "")


def test_an_unfit_pair_is_a_reason_and_not_a_fault(shelf):
    class Picky(Good):
        def prepare(self, student, teacher, sweep):
            raise Unfit("needs equal widths")

    registry.register("picky")(Picky)
    assert run_checks.check_method("picky", PAIRS[0]) == ([], "needs equal widths")
