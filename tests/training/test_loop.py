"""Training a cohort: a lane trains the same alone or with others, and a lane that fails does not stop the others."""

import copy
import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from benchmark.conformance.trial import PAIRS, Trial
from benchmark.experiment.resolve import resolve_knobs
from benchmark.training.lane import Lane
from benchmark.training.loop import train
from benchmark.training.teacher import load
from methods import registry
from methods.contract import Method, Stage, Unfit


class Plain(Method):
    def loss(self, s, t, batch):
        return {"ce": F.cross_entropy(s.logits, batch.y)}


def runs(trial, *methods):
    """Runs of several methods on the trial's pair."""
    return [Trial(name, trial.teacher, trial.student, trial.root).run for name in methods]


@pytest.fixture
def trial(tmp_path):
    return Trial("kd", *PAIRS[0], tmp_path)


def weights(trial, cohort):
    """The final weights of the trial's run after training in this cohort."""
    context = trial.context()
    train(cohort, context)
    return context.store.weights(trial.run.id).read_bytes()


def test_a_lane_ends_with_the_same_weights_alone_and_in_a_cohort(trial):
    alone = weights(trial, runs(trial, "kd"))
    assert weights(trial, runs(trial, "ce", "kd")) == alone
    assert weights(trial, runs(trial, "kd", "ce+kd", "ce")) == alone


def test_every_method_starts_from_the_same_initial_weights(trial):
    lanes = [Lane(run, trial.context()) for run in runs(trial, "ce", "kd", "ce+kd")]
    for lane in lanes:
        lane.setup()
    first, *others = (lane.student.state_dict() for lane in lanes)
    for other in others:
        assert all(other[name].equal(value) for name, value in first.items())


def test_another_seed_starts_from_other_initial_weights(trial):
    lanes = [Lane(trial.run.model_copy(update={"seed": seed}), trial.context()) for seed in (0, 1)]
    for lane in lanes:
        lane.setup()
    assert not lanes[0].student.head.weight.equal(lanes[1].student.head.weight)


def test_a_lane_that_raises_gets_a_record_and_the_others_end_as_if_alone(trial, isolated_registry):
    @registry.register("broken")
    class Broken(Plain):
        steps = 0

        def loss(self, s, t, batch):
            self.steps += 1
            if self.steps == 2:
                raise RuntimeError("second step")
            return super().loss(s, t, batch)

    context = trial.context()
    broken, kd = train(runs(trial, "broken", "kd"), context)
    assert (broken.status, broken.error["type"], broken.error["message"]) == ("failed", "RuntimeError", "second step")
    assert "raise RuntimeError" in broken.error["trace"]
    assert kd.status == "done"
    assert context.store.weights(kd.id).read_bytes() == weights(trial, runs(trial, "kd"))


def test_the_record_of_a_lane_that_diverges_names_the_term_and_the_epoch(trial, isolated_registry):
    @registry.register("unstable")
    class Unstable(Plain):
        def begin_epoch(self, clock):
            self.epoch = clock.epoch

        def loss(self, s, t, batch):
            return super().loss(s, t, batch) | {"extra": s.logits.sum() * (float("inf") if self.epoch == 1 else 0.0)}

    record, kd = train(runs(trial, "unstable", "kd"), trial.context())
    assert record.status == "diverged"
    assert record.error["message"].startswith("in epoch 2 (distill) the mean of")
    assert "extra is" in record.error["message"]
    assert len(record.curve["top1"]) == 2
    assert kd.status == "done"


def test_the_mean_of_a_term_covers_one_epoch_only(trial, isolated_registry):
    @registry.register("stepwise")
    class Stepwise(Plain):
        def begin_epoch(self, clock):
            self.epoch = clock.epoch

        def loss(self, s, t, batch):
            return super().loss(s, t, batch) | {"step": 0 * s.logits.sum() + 10.0**self.epoch}

    record = train(runs(trial, "stepwise"), trial.context())[0]
    assert record.curve["loss"]["step"] == [1.0, 10.0, 100.0]


def test_a_pair_for_which_prepare_raises_unfit_has_a_record_with_the_reason(trial, isolated_registry):
    @registry.register("picky")
    class Picky(Plain):
        def prepare(self, student, teacher, sweep):
            raise Unfit("needs a wider teacher")

    record, kd = train(runs(trial, "picky", "kd"), trial.context())
    assert (record.status, record.error["message"]) == ("unfit", "needs a wider teacher")
    assert kd.status == "done"


def test_stages_of_one_lane_do_not_affect_the_others(trial, isolated_registry):
    @registry.register("staged")
    class Staged(Plain):
        def stages(self, epochs):
            return [Stage("hint", 2, self.hint), *super().stages(epochs)]

        def hint(self, s, t, batch):
            return {"hint": (s.embedding - t.embedding).square().mean()}

    staged, kd = train(runs(trial, "staged", "kd"), trial.context())
    assert staged.curve["stage"] == ["hint"] * 2 + ["distill"] * 3
    assert staged.curve["loss"]["hint"][2:] == [None] * 3
    assert staged.curve["loss"]["ce"][:2] == [None] * 2
    assert staged.clock["extra_epochs"] == 2
    assert staged.curve["lr"][2:] == kd.curve["lr"], "the distill stage has the recipe's schedule from its start"
    assert kd.clock["epochs"] == 3


def test_each_stage_stretches_the_schedule_and_starts_without_momentum(trial, isolated_registry):
    @registry.register("staged")
    class Staged(Plain):
        def stages(self, epochs):
            return [Stage("hint", 6, self.loss), *super().stages(epochs)]

    lane = Lane(runs(trial, "staged")[0], trial.context())
    lane.setup()
    rates, without_momentum = [], []
    for epoch in range(lane.epochs):
        lane.begin_epoch(epoch)
        without_momentum.append(not lane.optimiser.state)
        for batch in lane.context.train_split.epoch(0, epoch, lane.run.recipe):
            lane.step(batch, None)
        lane.end_epoch(1.0, 1)
        rates.append(lane.lr)
    assert rates == pytest.approx([0.01] * 4 + [0.001] * 2 + [0.01] * 2 + [0.001])
    assert without_momentum == [True, *[False] * 5, True, False, False]


def test_the_student_is_in_training_mode_in_every_epoch(trial, isolated_registry):
    modes = []

    @registry.register("inspects")
    class Inspects(Plain):
        def prepare(self, student, teacher, sweep):
            self.networks = [student]  # in a list, so that it does not become a submodule

        def loss(self, s, t, batch):
            modes.append(self.networks[0].training)
            return super().loss(s, t, batch)

    train(runs(trial, "inspects"), trial.context())
    assert len(modes) == 9
    assert all(modes), "evaluation between epochs must not leave batch norm in eval mode"


def test_the_optimiser_follows_the_recipe(trial):
    """Two steps of SGD with momentum and weight decay, written out, give the lane's weights."""
    context = trial.context()
    lane = Lane(trial.plain, context)
    lane.setup()
    expected = copy.deepcopy(lane.student).train()
    recipe, momentum = lane.run.recipe, {}
    lane.begin_epoch(0)
    for batch in list(context.train_split.epoch(0, 0, recipe))[:2]:
        lane.step(batch, None)
        loss = F.cross_entropy(expected(batch.x).logits, batch.y)
        gradients = torch.autograd.grad(loss, list(expected.parameters()))
        for i, (p, g) in enumerate(zip(expected.parameters(), gradients, strict=True)):
            decayed = g + recipe.weight_decay * p.detach()
            momentum[i] = decayed if i not in momentum else recipe.momentum * momentum[i] + decayed
            p.data -= recipe.lr * momentum[i]
    for p, q in zip(lane.student.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)


def test_layers_that_a_method_adds_are_trained_counted_and_stored(trial, isolated_registry):
    @registry.register("embeds")
    class Embeds(Plain):
        def __init__(self, student, teacher, *, width: int = 24):
            super().__init__()
            self.width, self.inner = width, student.embedding
            self.side = torch.nn.Linear(student.embedding, 3)
            self.register_buffer("constant", torch.zeros(7))

        def prepare(self, student, teacher, sweep):
            student.embed = torch.nn.Linear(self.inner, self.width)
            student.head = torch.nn.Linear(self.width, student.head.out_features)

        def loss(self, s, t, batch):
            assert s.embedding.shape[1] == self.width
            return super().loss(s, t, batch) | {"side": s.embedding.square().mean() + 0 * self.side.weight.sum()}

    context = trial.context()
    run = runs(trial, "embeds")[0]
    record = train([run], context)[0]
    assert record.status == "done", record.error
    assert record.run["knobs"] == resolve_knobs("embeds", {}) == {"width": 24}
    assert record.size["added"] == 64 * 24 + 24 + (24 - 64) * 10  # the embedding, and a narrower head
    assert (record.size["auxiliary"], record.size["buffers"]) == (64 * 3 + 3, 7)
    assert record.size["student"] == record.size["added"] + train([trial.plain], context)[0].size["student"]
    stored = load(run, context.store, context.machine, 10, context.eval_split)
    assert stored.logits.shape == (24, 10)


def test_a_record_has_the_fields_that_the_report_needs(trial):
    record = train([trial.run], trial.context())[0]
    assert record.kind == "run"
    assert record.score.keys() == {"top1", "top5", "nll", "ece", "agreement", "kl", "best_top1", "best_epoch"}
    assert record.score["top1"] == record.curve["top1"][-1]
    assert record.score["best_top1"] == max(record.curve["top1"])
    assert record.run == trial.run.model_dump(mode="json")
    assert {"commit", "torch", "device", "precision", "data", "teacher", "source", "ended"} <= record.provenance.keys()
    assert record.about.startswith("Knowledge distillation.")


# ---- memory
@pytest.fixture
def limit_lanes(monkeypatch):
    """A function: makes a method of Lane run out of memory while more than `count` lanes exist."""

    def limit(count, method="training_step"):
        alive, original = weakref.WeakSet(), getattr(Lane, method)

        def limited(lane, *args):
            alive.add(lane)
            if len(alive) > count:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return original(lane, *args)

        monkeypatch.setattr(Lane, method, limited)

    return limit


@pytest.mark.parametrize("method", ["setup", "training_step"])
def test_a_cohort_that_does_not_fit_is_halved_until_it_does_and_its_lanes_end_as_if_alone(trial, limit_lanes, method):
    alone = weights(trial, [trial.run])
    cohort = runs(trial, "ce", "ce+kd", "hint", "sp", "kd")
    limit_lanes(2, method)
    context = trial.context()
    records = train(cohort, context)
    assert [record.id for record in records] == [run.id for run in cohort]
    assert {record.status for record in records} == {"done"}
    assert [record.provenance["did_not_fit"] for record in records] == [[5], [5], [5, 3], [5, 3], [5, 3]]
    assert [record.clock["lanes"] for record in records] == [2, 2, 1, 2, 2]
    assert context.store.weights(trial.run.id).read_bytes() == alone


def test_the_record_of_a_cohort_that_fits_has_no_field_about_memory(trial):
    assert "did_not_fit" not in train([trial.run], trial.context())[0].provenance


def test_a_single_lane_that_does_not_fit_fails_with_the_reason(trial, limit_lanes):
    limit_lanes(0)
    records = train(runs(trial, "ce", "kd"), trial.context())
    assert [(record.status, record.error["type"]) for record in records] == [("failed", "OutOfMemoryError")] * 2


def test_lanes_that_run_out_of_memory_late_resume_from_their_checkpoints(trial, monkeypatch):
    context = replace(trial.context(), checkpoint_interval=0.0)
    cohort = runs(trial, "ce", "kd")
    begun, original = [], Lane.begin_epoch

    def begin_epoch(lane, epoch):
        begun.append((lane.run.method, epoch))
        if epoch == 2 and len(begun) < 7:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(lane, epoch)

    monkeypatch.setattr(Lane, "begin_epoch", begin_epoch)
    records = train(cohort, context)
    assert begun == [("ce", 0), ("kd", 0), ("ce", 1), ("kd", 1), ("ce", 2), ("ce", 2), ("kd", 2)]
    assert [record.clock["resumed"] for record in records] == [1, 1]
    assert context.store.weights(trial.run.id).read_bytes() == weights(trial, [trial.run])
