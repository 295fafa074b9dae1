"""Networks built for their shapes alone: the same shapes as with values, and no random number drawn."""

import pytest
import torch
from torch import nn

from benchmark import models
from benchmark.models.unfilled import Unfilled


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "fitnet1"])
def test_parameters_have_the_shapes_of_a_network_with_values(name):
    usual = {key: value.shape for key, value in models.build(name, 10).state_dict().items()}
    for device in ("cpu", "meta"):
        with torch.device(device), Unfilled():
            found = models.build(name, 10).state_dict()
        assert {key: value.shape for key, value in found.items()} == usual
        assert {value.device.type for value in found.values()} == {device}


def test_outputs_on_the_meta_device_have_the_shapes_of_those_on_a_cpu():
    x = torch.zeros(2, 3, 32, 32)
    usual = models.build("resnet8", 10).eval()(x)
    with torch.device("meta"), Unfilled():
        found = models.build("resnet8", 10)(x.to("meta"))
    assert [each.shape for each in found.maps] == [each.shape for each in usual.maps]
    assert (found.embedding.shape, found.logits.shape) == (usual.embedding.shape, usual.logits.shape)


def test_values_stay_as_they_are_and_no_random_number_is_drawn():
    weight, before = torch.ones(3, 3), torch.get_rng_state()
    with Unfilled():
        assert nn.init.kaiming_normal_(weight) is weight
        assert weight.uniform_(2, 3) is weight
        nn.Linear(4, 4)
    assert torch.equal(weight, torch.ones(3, 3))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["resnet8", "maxout", "torchvision:resnet18"])
def test_asking_for_the_shape_of_a_network_leaves_the_random_generator_alone(name):
    models.shape.cache_clear()
    before = torch.get_rng_state()
    models.shape(name, 10)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_normalisation_on_the_cpu_is_computed():
    layer, x = nn.BatchNorm2d(2), torch.randn(4, 2, 3, 3)
    with Unfilled():
        found = layer(x)
    assert torch.allclose(found.mean((0, 2, 3)), torch.zeros(2), atol=1e-5)
