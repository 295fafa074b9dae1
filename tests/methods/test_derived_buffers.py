"""Buffers that follow from knobs, clock or other buffers are not counted, and are as exact as what they replace."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from benchmark.conformance.trial import PAIRS, Trial, outputs, train_one_epoch
from benchmark.training import checkpoint
from benchmark.training.lane import Lane
from benchmark.training.loop import train
from benchmark.training.model_size import count_buffers
from methods import registry
from methods.contract import Clock, Shape

METHODS = ("fitnets", "lsh", "sp+lsh")
PAIR = (Shape(((8, 4, 4),) * 3, 8, 5), Shape(((8, 4, 4),) * 3, 8, 5))


@pytest.mark.parametrize("lam", [4, 4.0, 3.3])
def test_fitnets_weight_in_a_buffer_gives_the_terms_and_gradients_of_one_in_python_bit_for_bit(tmp_path, lam):
    lane = Trial("fitnets", *PAIRS[0], tmp_path, {"lam": lam}).lane()
    s, t, batch = outputs(lane, 5)
    for epoch in (0, 7, 42, 99):
        lane.method.begin_epoch(Clock("distill", epoch, 100))
        soft = F.cross_entropy(s.logits / 3.0, F.softmax(t.logits / 3.0, dim=1))
        in_python = (lam + (1.0 - lam) * (epoch / 99)) * soft
        in_buffer = lane.method.loss(s, t, batch)["soft"]
        assert in_buffer.equal(in_python)
        left, right = (torch.autograd.grad(each, s.logits, retain_graph=True)[0] for each in (in_buffer, in_python))
        assert left.equal(right)


def test_fitnets_changes_its_weight_in_place():
    method = registry.get("fitnets")(*PAIR)
    before = method.weight
    method.begin_epoch(Clock("distill", 99, 100))
    assert method.weight is before
    assert before == 1


@pytest.mark.parametrize("changes", [{}, {"std": 0.1, "hashes": 16}])
def test_lshs_norms_are_those_of_the_rows_of_its_weight(tmp_path, changes):
    method = Trial("lsh", *PAIRS[0], tmp_path, changes).lane().method
    assert method.norms.equal(method.weight.norm(dim=1))


def test_a_checkpoint_of_lsh_holds_its_bias_and_not_its_hash_functions(tmp_path):
    trial = Trial("lsh", *PAIRS[0], tmp_path)
    context = replace(trial.context(), checkpoint_interval=0.0)
    lane = Lane(trial.run, context)
    lane.setup()
    train_one_epoch(lane)
    saved = checkpoint.read(context.store.checkpoint(trial.run.id), torch.device("cpu"))
    assert list(saved["method"]) == ["bias"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_resumed_run_has_the_same_derived_buffers_and_ends_with_the_same_weights(tmp_path, method, pair):
    trial = Trial(method, *pair, tmp_path)
    uninterrupted, interrupted = trial.context(), replace(trial.context(), checkpoint_interval=0.0)
    (straight,) = train([trial.run], uninterrupted)
    first, second = Lane(trial.run, interrupted), Lane(trial.run, interrupted)
    first.setup()
    train_one_epoch(first), train_one_epoch(first)
    second.setup()
    assert second.epoch == 2
    second.begin_epoch(2), first.begin_epoch(2)
    for one, other in zip(first.method.buffers(), second.method.buffers(), strict=True):
        assert one.equal(other)
    (resumed,) = train([trial.run], interrupted)
    assert resumed.clock["resumed"] == 1
    assert resumed.curve == straight.curve
    left, right = (each.store.weights(trial.run.id).read_bytes() for each in (uninterrupted, interrupted))
    assert left == right


@pytest.mark.parametrize("name", [*METHODS, "kda", "hint"])
def test_records_count_all_buffers_but_the_derived_ones(name):
    method = registry.get(name)(*PAIR)
    derived = {"weight": 1, "norms": 32 * 8}
    expected = sum(b.numel() for b in method.buffers())
    expected -= sum(derived[each] for part in name.split("+") for each in registry.get(part).derived)
    assert count_buffers(method) == expected
    assert count_buffers(registry.get("lsh")(*PAIR)) == 32 * 8 * 8 + 32 * 8, "J·D of the hashes, J of the bias"
