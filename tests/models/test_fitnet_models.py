"""FitNets, their maxout teacher and resnet18x0.5 against published sizes and plain functional implementations."""

import copy

import pytest
import torch
from torch.nn import functional as F

from benchmark.acceleration.device import has_bf16_kernels
from benchmark.acceleration.machine import Machine
from benchmark.acceleration.output_cast import outputs_close
from benchmark.errors import BadInput
from benchmark.experiment.seeds import scope
from benchmark.models import build, fitnet, names, shape
from benchmark.models.fitnet import Maxout, MaxoutFunction
from benchmark.training import model_size

LAST = torch.channels_last
FITNETS = ["fitnet1", "fitnet2", "fitnet3", "fitnet4"]
WEIGHTS = {"fitnet1": 249_576, "fitnet2": 861_928, "fitnet3": 1_503_304, "fitnet4": 2_544_712, "maxout": 9_044_360}
BIASES = {"fitnet1": 1_618, "fitnet2": 2_194, "fitnet3": 2_834, "fitnet4": 3_890, "maxout": 1_970}


def on_meta_device(name, classes=10):
    """The network on the meta device: shapes without memory."""
    with torch.device("meta"):
        return build(name, classes)


def initialised(name, classes=10):
    """The network with initial weights seeded by its name."""
    with scope("test", name):
        return build(name, classes)


def images(count=2, size=32):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, size, size, generator=generator).to(memory_format=LAST)


def count(name, classes=10):
    return sum(p.numel() for p in on_meta_device(name, classes).parameters())


# ---- sizes and shapes


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_published_counts_are_those_of_the_weights_without_biases(name):
    parameters = list(on_meta_device(name).parameters())
    assert sum(p.numel() for p in parameters if p.dim() > 1) == WEIGHTS[name]
    assert sum(p.numel() for p in parameters if p.dim() == 1) == BIASES[name]


@pytest.mark.parametrize(
    ("name", "layers", "guided"), [("fitnet1", 9, 6), ("fitnet2", 9, 6), ("fitnet3", 11, 8), ("fitnet4", 17, 11)]
)
def test_map_2_of_a_fitnet_is_its_guided_layer_and_8_pixels_wide(name, layers, guided):
    net = on_meta_device(name)
    up_to_map_2 = [net.stem, *net.stages[:2]]
    layers_of_net = [m for part in (net.stem, *net.stages) for m in part.modules() if isinstance(m, Maxout)]
    assert len(layers_of_net) == layers
    assert sum(isinstance(m, Maxout) for part in up_to_map_2 for m in part.modules()) == guided
    assert shape(name, 10).maps[2] == (32 if name == "fitnet1" else 80, 8, 8)


def test_maps_of_the_fitnets_follow_their_pools():
    widths = {"fitnet1": (16, 16, 32, 64), "fitnet2": (16, 32, 80, 128), "fitnet3": (32, 64, 80, 128)}
    for name, widths_of_maps in (widths | {"fitnet4": (32, 48, 80, 128)}).items():
        assert shape(name, 10).maps == tuple((c, s, s) for c, s in zip(widths_of_maps, (32, 16, 8, 8), strict=True))
        assert shape(name, 10).embedding == 500


def test_map_2_of_the_teacher_is_its_hint_layer_and_7_pixels_wide():
    assert shape("maxout", 10).maps == ((96, 33, 33), (96, 16, 16), (192, 7, 7), (192, 5, 5))
    assert shape("maxout", 10).embedding == 500


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("size", [(16, 16), (28, 28), (30, 42), (64, 64), (96, 96)])
def test_images_of_other_sizes_are_accepted(name, size):
    assert shape(name, 10, size).embedding == 500


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("wrn_16_1", 175_066),
        ("wrn_16_2", 691_674),
        ("wrn_16_8", 10_961_370),
        ("wrn_40_1", 563_930),
        ("wrn_40_2", 2_243_546),
    ],
)
def test_wide_residual_networks_with_ten_classes_have_the_known_number_of_parameters(name, parameters):
    assert count(name) == parameters


def test_resnet18x05_is_half_as_wide_as_resnet18_everywhere():
    half, whole = shape("resnet18x0.5", 100), shape("ResNet18", 100)
    assert half.maps == tuple((c // 2, h, w) for c, h, w in whole.maps)
    assert half.embedding == whole.embedding // 2 == 256
    assert count("resnet18x0.5", 100) == 2_820_740


@pytest.mark.parametrize(
    ("misspelt", "suggested"),
    [
        ("ResNet18x0.5", "resnet18x0.5"),
        ("resnet18", "ResNet18"),
        ("FitNet4", "fitnet4"),
        ("MaxOut", "maxout"),
        ("WRN-16-8", "wrn_16_8"),
    ],
)
def test_a_name_in_another_spelling_is_refused_with_the_right_one(misspelt, suggested):
    assert suggested in names()
    with pytest.raises(BadInput) as caught:
        build(misspelt, 10)
    assert f"did you mean {suggested}?" in str(caught.value)


# ---- outputs: the weights are taken one by one and passed to plain functions


def maxout(tensors, x, padding):
    """A maxout layer whose weight and bias are the next two tensors."""
    y = F.conv2d(x, next(tensors), next(tensors), padding=padding)
    return torch.stack(y.split(y.shape[1] // 2, 1)).amax(0)


def assert_computed(out, maps, last, tensors):
    """`out` has these maps, and the outputs of the hidden layer and the classifier applied to `last`, (N, D)."""
    units = (last @ next(tensors).flatten(1).T + next(tensors)).unflatten(1, (2, 500)).amax(1)
    for found, expected in zip(out.maps, maps, strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(out.embedding, units)
    torch.testing.assert_close(out.logits, units @ next(tensors).T + next(tensors))


@pytest.mark.parametrize("name", FITNETS)
def test_a_fitnet_computes_the_layers_of_table_7(name):
    net, x = initialised(name).double().eval(), images().double()
    tensors = iter(net.state_dict().values())
    maps, y = [], x
    for number, block in enumerate(fitnet.FITNETS[int(name[-1])]):
        for place in range(len(block)):
            y = maxout(tensors, y, 1)
            maps += [y] if number == place == 0 else []
        y = F.max_pool2d(y, 2) if number < 2 else y
        maps.append(y)
    assert_computed(net(x), maps, y.amax((2, 3)), tensors)


def test_the_teacher_computes_the_layers_of_its_description():
    net, x = initialised("maxout").double().eval(), images().double()
    tensors = iter(net.state_dict().values())
    maps, y = [], x
    for padding, pool in ((4, 4), (3, 4), (3, 2)):
        y = maxout(tensors, y, padding)
        maps += [] if maps else [y]
        y = F.max_pool2d(y, pool, 2, ceil_mode=True)
        maps.append(y)
    assert_computed(net(x), maps, y.flatten(1), tensors)


def test_maxout_has_the_gradient_of_a_maximum_and_keeps_channels_last():
    x = torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(0)).to(memory_format=LAST).requires_grad_()
    g = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    found, expected = MaxoutFunction.apply(x), torch.maximum(x[:, :3], x[:, 3:])
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=LAST)
    assert torch.equal(torch.autograd.grad(found, x, g)[0], torch.autograd.grad(expected, x, g)[0])


def test_the_gradient_goes_to_the_first_half_where_both_are_equal():
    x = torch.ones(1, 4, 1, 1, requires_grad=True)
    MaxoutFunction.apply(x).sum().backward()
    assert x.grad.flatten().tolist() == [1, 1, 0, 0]


# ---- initial weights, training and freezing


@pytest.mark.parametrize("name", FITNETS)
def test_initial_maps_have_about_the_mean_square_of_the_images(name):
    with torch.no_grad():
        out = initialised(name)(images(8))
    for output in (*out.maps, out.embedding):
        assert 0.3 < output.square().mean().sqrt() < 4


@pytest.mark.parametrize(("name", "scale"), [("fitnet4", 1.0), ("maxout", 0.5)])
def test_initial_weights_are_scaled_by_fan_in_and_biases_are_0(name, scale):
    for module in initialised(name).modules():
        if isinstance(module, Maxout):
            assert module.conv.weight.std().item() == pytest.approx(
                scale * module.conv.weight[0].numel() ** -0.5, rel=0.1
            )
            assert not module.conv.bias.any()


@pytest.mark.parametrize("name", [*WEIGHTS, "resnet18x0.5"])
def test_a_few_steps_under_bf16_autocast_reach_every_parameter_and_lower_the_loss(name):
    if name in ("fitnet3", "fitnet4", "maxout") and not has_bf16_kernels():
        pytest.skip("bfloat16 is emulated on this processor: the largest networks would take minutes")
    net, x, y = initialised(name), images(8), torch.arange(8)
    optimiser, losses = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9), []
    for step in range(6):
        with torch.autocast("cpu", torch.bfloat16), scope("noise", step):
            out = net(x)
        losses.append(F.cross_entropy(out.logits.float(), y))
        optimiser.zero_grad()
        losses[-1].backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        assert all(m.is_contiguous(memory_format=LAST) for m in out.maps)
        optimiser.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["fitnet1", "fitnet4", "maxout", "resnet18x0.5"])
def test_a_frozen_network_gives_the_outputs_of_the_original_and_nearly_so_in_bf16(name):
    net, x = initialised(name), images(4)
    full = Machine(torch.device("cpu"), "fp32").freeze(copy.deepcopy(net), x)
    low = Machine(torch.device("cpu"), "bf16").freeze(copy.deepcopy(net), x)
    with torch.no_grad():
        expected = net.eval()(x)
    assert outputs_close(full(x), expected)
    for a, b in zip([*low(x).maps, low(x).logits], [*expected.maps, expected.logits], strict=True):
        assert a.dtype == torch.float32
        assert (a - b).abs().mean() < 0.03 * b.abs().mean()


def test_only_the_teacher_has_dropout_and_only_in_training():
    kinds = {name: [m.p for m in on_meta_device(name).modules() if isinstance(m, torch.nn.Dropout)] for name in WEIGHTS}
    assert kinds.pop("maxout") == [0.2, 0.5, 0.5, 0.5, 0.5]
    assert not any(kinds.values())
    net, x = initialised("maxout").eval(), images()
    assert torch.equal(net(x).logits, net(x).logits)


@pytest.mark.parametrize(
    ("name", "depth"),
    [("fitnet1", 11), ("fitnet2", 11), ("fitnet3", 13), ("fitnet4", 19), ("resnet20", 20), ("resnet110", 110)],
)
def test_the_counted_layers_are_the_depth_that_papers_state(name, depth):
    assert model_size.count_layers(build(name, 10)) == depth
