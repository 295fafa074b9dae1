"""Whatever a method does, its own record says so, and the other runs of its cohort end as if they had trained alone."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from company import Plain

from benchmark.conformance.trial import train_one_epoch
from benchmark.training.lane import Lane
from methods.contract import Stage

HOOKS = ("__init__", "prepare", "stages", "begin_epoch", "loss", "observe")


class Odd(Exception):
    """An exception that cannot even be shown."""

    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("hook", "fault"),
    [
        *((hook, RuntimeError("no more ideas")) for hook in HOOKS),
        *((hook, SystemExit("enough")) for hook in ("prepare", "loss")),
        *((hook, Odd()) for hook in ("stages", "observe")),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_method_that_raises_in_a_hook_is_named_in_its_record(train_beside, hook, fault):
    def misbehave(self, *_, **__):
        raise fault

    record = train_beside(type("Hostile", (Plain,), {hook: misbehave}))
    assert (record.status, record.error["type"]) == ("failed", type(fault).__name__)
    assert "misbehave" in record.error["trace"]
    if not isinstance(fault, Odd):
        assert record.error["message"] == str(fault)


@pytest.mark.parametrize(
    "stages", [None, [], 3, ["distill"], [Stage("distill", 1.5, None)], [Stage("distill", None, None)]]
)
def test_stages_that_are_none_fail_their_own_run(train_beside, stages):
    record = train_beside(type("Hostile", (Plain,), {"stages": lambda self, epochs: stages}))
    assert (record.status, record.error["type"]) == ("failed", "TypeError")
    assert "Stage(name, epochs, loss)" in record.error["message"]


@pytest.mark.parametrize(
    "terms", [None, 3, {}, {"ce": 1.0}, {"ce": torch.zeros(2, requires_grad=True)}, {3: "x"}], ids=str
)
def test_a_loss_that_returns_something_else_fails_its_own_run(train_beside, terms):
    assert train_beside(type("Hostile", (Plain,), {"loss": lambda self, s, t, batch: terms})).status == "failed"


def test_a_method_that_breaks_its_student_before_it_raises_has_a_record(train_beside):
    class Hostile(Plain):
        def prepare(self, student, teacher, sweep):
            self.networks = [student]

        def begin_epoch(self, clock):
            del self.networks[0].head

    record = train_beside(Hostile)
    assert (record.status, record.size) == ("failed", {})


# ---- what all lanes read
CHANGES = {
    "batch.x": lambda t, batch: batch.x.mul_(2),
    "batch.y": lambda t, batch: batch.y.zero_(),
    "batch.index": lambda t, batch: batch.index.add_(1),
    "t.logits": lambda t, batch: t.logits.neg_(),
    "t.embedding": lambda t, batch: t.embedding[0].zero_(),
    "t.maps": lambda t, batch: t.maps[1].detach().clamp_(max=0.1),
}


def hostile(change, hook="loss", fault=None, from_epoch=0):
    """A method that changes what it is given, and may then raise."""

    class Hostile(Plain):
        def begin_epoch(self, clock):
            self.epoch = clock.epoch

        def misbehave(self, t, batch):
            if self.epoch >= from_epoch:
                change(t, batch)
                if fault:
                    raise fault

        def loss(self, s, t, batch):
            terms = super().loss(s, t, batch)
            if hook == "loss":
                self.misbehave(t, batch)
            return terms

        def observe(self, s, t, batch):
            if hook == "observe":
                self.misbehave(t, batch)

    return Hostile


@pytest.mark.parametrize(
    ("what", "hook"), [*((what, "loss") for what in CHANGES), ("batch.x", "observe"), ("t.logits", "observe")]
)
def test_a_method_that_changes_a_tensor_that_others_read_is_stopped_and_the_others_start_again(
    train_beside, what, hook, capsys
):
    record = train_beside(hostile(CHANGES[what], hook))
    assert (record.status, record.error["type"]) == ("failed", "SharedTensorChanged")
    assert ("the batch" if what.startswith("batch") else "the teacher's outputs") in record.error["message"]
    assert "must start again from the last checkpoint" in capsys.readouterr().err


def test_a_change_is_found_though_the_method_raises_after_it(train_beside):
    record = train_beside(hostile(CHANGES["batch.x"], fault=RuntimeError("as a diversion")))
    assert record.error["type"] == "SharedTensorChanged"
    assert "as a diversion" in record.error["trace"]


def test_after_a_late_change_the_others_go_on_from_their_checkpoints(trial, train_beside):
    context = replace(trial.context(), checkpoint_interval=0.0)
    train_beside(hostile(CHANGES["t.logits"], from_epoch=2), context)
    assert context.store.latest()[trial.run.id].clock["resumed"] == 1


def test_nothing_that_a_method_does_to_the_teacher_reaches_the_others(trial, train_beside):
    class Hostile(Plain):
        def prepare(self, student, teacher, sweep):
            teacher.train().requires_grad_(True)
            teacher(torch.randn(8, 3, 16, 16))
            with torch.no_grad():
                for p in teacher.parameters():
                    p.zero_()
            teacher.half()

    context = trial.context()
    net = context.teacher.net.net
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert train_beside(Hostile, context).status == "done"
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert not any(module.training for module in net.modules())
    assert not any(p.requires_grad for p in net.parameters())


# ---- the process
def test_global_random_numbers_that_a_method_draws_or_seeds_change_no_other_run(train_beside):
    class Hostile(Plain):
        def __init__(self, student, teacher):
            super().__init__()
            torch.manual_seed(0)

        def loss(self, s, t, batch):
            torch.manual_seed(0)
            torch.rand(7)
            return super().loss(s, t, batch)

    assert train_beside(Hostile).status == "done"


def test_memory_that_a_method_hoards_is_free_when_its_cohort_has_ended(train_beside):
    class Hoard(list):
        """A list that can be referred to weakly."""

    kept = []

    class Hostile(Plain):
        def __init__(self, student, teacher):
            super().__init__()
            self.hoard = Hoard()
            kept.append(weakref.ref(self.hoard))

        def loss(self, s, t, batch):
            terms = super().loss(s, t, batch)
            self.hoard.append((s, t, batch, terms))
            return terms

    assert train_beside(Hostile).status == "done"
    gc.collect()
    assert kept[0]() is None


# ---- numbers
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("step", [1, 5, 9], ids=lambda step: f"step {step}")
def test_a_loss_that_is_not_finite_in_one_step_ends_its_own_run_as_diverged(train_beside, number, step):
    class Hostile(Plain):
        steps = 0

        def loss(self, s, t, batch):
            self.steps += 1
            factor = number if self.steps == step else 1.0
            return {"ce": factor * super().loss(s, t, batch)["ce"]}

    record = train_beside(Hostile)
    assert record.status == "diverged"
    assert f"in epoch {(step + 2) // 3}" in record.error["message"]


def test_a_run_whose_last_step_leaves_weights_that_are_not_finite_has_diverged(train_beside):
    class Hostile(Plain):
        def prepare(self, student, teacher, sweep):
            self.networks = [student]

        def begin_epoch(self, clock):
            self.last, self.steps = clock.epoch == clock.epochs - 1, 0

        def observe(self, s, t, batch):
            self.steps += 1
            if self.last and self.steps == 3:
                self.networks[0].head.weight.fill_(float("nan"))

    record = train_beside(Hostile)
    assert record.status == "diverged"
    assert "logits" in record.error["message"]


def test_a_checkpoint_is_not_written_for_a_run_that_has_diverged(trial, tmp_path):
    context = replace(trial.context(), checkpoint_interval=0.0)
    lane = Lane(trial.run, context)
    lane.setup()
    with torch.no_grad():
        lane.student.head.weight.fill_(float("nan"))
    with pytest.raises(ArithmeticError, match="in epoch 1"):
        train_one_epoch(lane)
    assert not context.store.checkpoint(trial.run.id).exists()
