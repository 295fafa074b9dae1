"""Norm computes what torch's layer does, and its count of batches is stored as torch's is."""

import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from benchmark import models
from benchmark.conformance.trial import IMAGES, PAIRS, RECIPE, Trial
from benchmark.experiment import seeds
from benchmark.models.net import Norm, count_batches
from benchmark.training.loop import train


def maps(count):
    stream = seeds.generator("norm", "maps")
    return [torch.randn(4, 6, 5, 5, generator=stream) for _ in range(count)]


@pytest.mark.parametrize("act", [False, True])
@torch.no_grad()
def test_a_norm_computes_as_the_layer_of_torch_bit_for_bit(act):
    ours, theirs = Norm(6, act), nn.BatchNorm2d(6)
    for x in maps(3):
        y = theirs(x)
        assert ours(x).equal(y.relu() if act else y)
    assert ours.join(maps(1)[0], x).equal((theirs(maps(1)[0]) + x).relu())
    assert ours.running_mean.equal(theirs.running_mean) and ours.running_var.equal(theirs.running_var)
    y = theirs.eval()(x)
    assert ours.eval()(x).equal(y.relu() if act else y)


def test_a_forward_pass_counts_no_batch_and_count_batches_counts_what_torch_does():
    net, theirs = models.build("resnet8", 10), nn.BatchNorm2d(6)
    for x in maps(3):
        theirs(x)
        net(torch.zeros(2, 3, 16, 16))
    norms = [m for m in net.modules() if isinstance(m, Norm)]
    assert {int(m.num_batches_tracked) for m in norms} == {0}
    places = [m.num_batches_tracked.data_ptr() for m in norms]
    count_batches(net, 3)
    assert {int(m.num_batches_tracked) for m in norms} == {int(theirs.num_batches_tracked)} == {3}
    assert [m.num_batches_tracked.data_ptr() for m in norms] == places, "changed in place, where a recording reads"


@pytest.mark.parametrize("method", ["ce", "fitnets"])
def test_stored_weights_hold_the_number_of_batches_of_all_epochs_and_stages(method, tmp_path):
    trial = Trial(method, *PAIRS[0], tmp_path)
    context = trial.context()
    record = train([trial.run], context)[0]
    found = load_file(context.store.weights(trial.run.id))
    counts = {int(value) for name, value in found.items() if name.endswith("num_batches_tracked")}
    assert counts == {len(record.curve["lr"]) * math.ceil(IMAGES / RECIPE.batch)}
