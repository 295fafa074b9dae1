"""Winograd convolutions equal the definition, forward and backward, for students and frozen teachers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark import models
from benchmark.acceleration.cpu_kernels import winograd
from benchmark.experiment import seeds
from benchmark.models.net import fold

pytestmark = pytest.mark.skipif(winograd.kernels() is None, reason="no C compiler, or no AVX2")
SHAPES = [
    (2, 16, 16, 8, 8),
    (1, 16, 32, 7, 5),
    (3, 64, 48, 1, 1),
    (5, 32, 16, 2, 9),
    (2, 272, 256, 4, 3),
]  # N, C, K, H, W


def random_tensors(n, c, k, h, w):
    """Input, convolution and gradient of its output, of normal values."""
    stream = seeds.generator("winograd", n, c, k, h, w)
    x, dy = (torch.randn(n, width, h, w, generator=stream) for width in (c, k))
    conv = nn.Conv2d(c, k, 3, padding=1, bias=True)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=stream))
    return x.to(memory_format=torch.channels_last), conv, dy


def assert_close(found, wanted):
    """Equal to a few units of float32's rounding, relative to the largest value."""
    assert (found.double() - wanted).abs().max() <= 4e-6 * wanted.abs().max()


@pytest.mark.parametrize("shape", SHAPES)
def test_output_and_gradients_equal_those_of_the_definition_in_float64(shape):
    x, conv, dy = random_tensors(*shape)
    exact = [t.detach().double().requires_grad_() for t in (x, conv.weight, conv.bias)]
    wanted = F.conv2d(*exact, padding=1)
    wanted.backward(dy.double())
    x.requires_grad_()
    found = winograd.use_winograd(nn.Sequential(conv))(x)
    assert type(conv) is winograd.WinogradConv
    found.backward(dy)
    assert_close(found, wanted)
    for own, theirs in zip((x, conv.weight, conv.bias), exact, strict=True):
        assert_close(own.grad, theirs.grad)


@pytest.mark.parametrize("shape", SHAPES)
def test_bias_shortcut_and_relu_are_applied_in_the_same_pass(shape):
    x, conv, shortcut = random_tensors(*shape)
    found = winograd.convolve(
        x, winograd.transform_weight(conv.weight.detach()), conv.bias.detach(), shortcut, act=True
    )
    wanted = F.relu(F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1) + shortcut.double())
    assert_close(found, wanted.detach())


def test_an_images_output_does_not_depend_on_the_other_images_of_the_batch():
    x, conv, _ = random_tensors(4, 16, 16, 8, 8)
    u = winograd.transform_weight(conv.weight.detach())
    assert winograd.convolve(x, u)[2:3].equal(winograd.convolve(x[2:3], u))


def test_the_output_does_not_depend_on_the_number_of_threads():
    x, conv, _ = random_tensors(4, 32, 32, 8, 8)
    u, threads, found = winograd.transform_weight(conv.weight.detach()), torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(winograd.convolve(x, u))
    finally:
        torch.set_num_threads(threads)
    assert found[0].equal(found[1]) and found[0].equal(found[2])


@pytest.mark.parametrize("change", [{"stride": 2}, {"padding": 0}, {"groups": 16}, {"dilation": 2}, {"kernel_size": 1}])
def test_convolutions_of_another_form_stay_as_they_are(change):
    conv = nn.Conv2d(16, 16, **{"kernel_size": 3, "padding": 1} | change)
    winograd.use_winograd(nn.Sequential(conv))
    assert type(conv) is nn.Conv2d


@torch.no_grad()
def test_a_frozen_layer_equals_the_folded_layer_it_replaces():
    net = fold(models.build("resnet8", 10).eval())
    layers = [m for m in net.modules() if type(m).__name__ == "ConvNorm" and winograd.serves(m.conv)]
    assert layers
    for layer in layers:
        x = torch.randn(2, layer.conv.in_channels, 8, 8, generator=seeds.generator("frozen"))
        assert_close(winograd.FrozenWinogradConv(layer)(x), layer.double()(x.double()))
        layer.float()
