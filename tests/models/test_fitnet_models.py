"""FitNets and the maxout teacher against what their authors publish, and the smaller of the zoo's other newcomers."""

import copy

import pytest
import torch
from torch.nn import functional as F

from benchmark.acceleration.machine import Machine
from benchmark.acceleration.output_cast import outputs_close
from benchmark.errors import BadInput
from benchmark.experiment.seeds import scope
from benchmark.models import build, fitnet, names, shape
from benchmark.models.fitnet import Larger, Maxout
from benchmark.training import model_size

LAST = torch.channels_last
FITNETS = ["fitnet1", "fitnet2", "fitnet3", "fitnet4"]
WEIGHTS = {"fitnet1": 249_576, "fitnet2": 861_928, "fitnet3": 1_503_304, "fitnet4": 2_544_712, "maxout": 9_044_360}
BIASES = {"fitnet1": 1_618, "fitnet2": 2_194, "fitnet3": 2_834, "fitnet4": 3_890, "maxout": 1_970}


def bare(name, classes=10):
    """The network on the meta device: shapes without memory."""
    with torch.device("meta"):
        return build(name, classes)


def drawn(name, classes=10):
    """The network with weights drawn from its name."""
    with scope("test", name):
        return build(name, classes)


def images(count=2, size=32):
    stream = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, size, size, generator=stream).to(memory_format=LAST)


def count(name, classes=10):
    return sum(p.numel() for p in bare(name, classes).parameters())


# ---- sizes and shapes


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_published_counts_are_those_of_the_weights_without_biases(name):
    parameters = list(bare(name).parameters())
    assert sum(p.numel() for p in parameters if p.dim() > 1) == WEIGHTS[name]
    assert sum(p.numel() for p in parameters if p.dim() == 1) == BIASES[name]


@pytest.mark.parametrize(
    ("name", "layers", "guided"), [("fitnet1", 9, 6), ("fitnet2", 9, 6), ("fitnet3", 11, 8), ("fitnet4", 17, 11)]
)
def test_map_2_of_a_fitnet_is_its_guided_layer_and_8_pixels_wide(name, layers, guided):
    net = bare(name)
    until = [net.stem, *net.stages[:2]]
    own = [m for part in (net.stem, *net.stages) for m in part.modules() if isinstance(m, Maxout)]
    assert len(own) == layers
    assert sum(isinstance(m, Maxout) for part in until for m in part.modules()) == guided
    assert shape(name, 10).maps[2] == (32 if name == "fitnet1" else 80, 8, 8)


def test_maps_of_the_fitnets_follow_their_pools():
    widths = {"fitnet1": (16, 16, 32, 64), "fitnet2": (16, 32, 80, 128), "fitnet3": (32, 64, 80, 128)}
    for name, wide in (widths | {"fitnet4": (32, 48, 80, 128)}).items():
        assert shape(name, 10).maps == tuple((c, s, s) for c, s in zip(wide, (32, 16, 8, 8), strict=True))
        assert shape(name, 10).embedding == 500


def test_map_2_of_the_teacher_is_its_hint_layer_and_7_pixels_wide():
    assert shape("maxout", 10).maps == ((96, 33, 33), (96, 16, 16), (192, 7, 7), (192, 5, 5))
    assert shape("maxout", 10).embedding == 500


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("size", [(16, 16), (28, 28), (30, 42), (64, 64), (96, 96)])
def test_images_of_other_sizes_serve_too(name, size):
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


def test_the_half_of_resnet18_is_half_as_wide_everywhere():
    half, whole = shape("resnet18x0.5", 100), shape("ResNet18", 100)
    assert half.maps == tuple((c // 2, h, w) for c, h, w in whole.maps)
    assert half.embedding == whole.embedding // 2 == 256
    assert count("resnet18x0.5", 100) == 2_820_740


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("ResNet18x0.5", "resnet18x0.5"),
        ("resnet18", "ResNet18"),
        ("FitNet4", "fitnet4"),
        ("MaxOut", "maxout"),
        ("WRN-16-8", "wrn_16_8"),
    ],
)
def test_a_name_in_other_letters_is_met_with_the_right_one(word, meant):
    assert meant in names()
    with pytest.raises(BadInput) as told:
        build(word, 10)
    assert f"did you mean {meant}?" in str(told.value)


# ---- what they compute: weights taken one by one, plain functions


def maxout(left, x, padding):
    """A maxout layer with the next two tensors as weight and bias."""
    y = F.conv2d(x, next(left), next(left), padding=padding)
    return torch.stack(y.split(y.shape[1] // 2, 1)).amax(0)


def assert_computed(out, maps, last, left):
    """`out` has these maps, and the hidden layer and the classifier follow `last`, (N, D)."""
    units = (last @ next(left).flatten(1).T + next(left)).unflatten(1, (2, 500)).amax(1)
    for ours, theirs in zip(out.maps, maps, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(out.embedding, units)
    torch.testing.assert_close(out.logits, units @ next(left).T + next(left))


@pytest.mark.parametrize("name", FITNETS)
def test_a_fitnet_computes_what_table_7_says(name):
    net, x = drawn(name).double().eval(), images().double()
    left = iter(net.state_dict().values())
    maps, y = [], x
    for number, block in enumerate(fitnet.FITNETS[int(name[-1])]):
        for place in range(len(block)):
            y = maxout(left, y, 1)
            maps += [y] if number == place == 0 else []
        y = F.max_pool2d(y, 2) if number < 2 else y
        maps.append(y)
    assert_computed(net(x), maps, y.amax((2, 3)), left)


def test_the_teacher_computes_what_its_description_says():
    net, x = drawn("maxout").double().eval(), images().double()
    left = iter(net.state_dict().values())
    maps, y = [], x
    for padding, pool in ((4, 4), (3, 4), (3, 2)):
        y = maxout(left, y, padding)
        maps += [] if maps else [y]
        y = F.max_pool2d(y, pool, 2, ceil_mode=True)
        maps.append(y)
    assert_computed(net(x), maps, y.flatten(1), left)


def test_the_larger_half_has_the_gradient_of_a_maximum_and_keeps_channels_last():
    x = torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(0)).to(memory_format=LAST).requires_grad_()
    g = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    ours, theirs = Larger.apply(x), torch.maximum(x[:, :3], x[:, 3:])
    assert torch.equal(ours, theirs)
    assert ours.is_contiguous(memory_format=LAST)
    assert torch.equal(torch.autograd.grad(ours, x, g)[0], torch.autograd.grad(theirs, x, g)[0])


def test_where_both_halves_are_equal_the_first_has_the_gradient():
    x = torch.ones(1, 4, 1, 1, requires_grad=True)
    Larger.apply(x).sum().backward()
    assert x.grad.flatten().tolist() == [1, 1, 0, 0]


# ---- training and teaching


@pytest.mark.parametrize("name", FITNETS)
def test_maps_keep_the_size_of_the_images_at_the_start(name):
    with torch.no_grad():
        out = drawn(name)(images(8))
    for shown in (*out.maps, out.embedding):
        assert 0.3 < shown.square().mean().sqrt() < 4


@pytest.mark.parametrize(("name", "scale"), [("fitnet4", 1.0), ("maxout", 0.5)])
def test_weights_start_normal_by_fan_in_and_without_bias(name, scale):
    for module in drawn(name).modules():
        if isinstance(module, Maxout):
            assert module.conv.weight.std().item() == pytest.approx(
                scale * module.conv.weight[0].numel() ** -0.5, rel=0.1
            )
            assert not module.conv.bias.any()


@pytest.mark.parametrize("name", [*WEIGHTS, "resnet18x0.5"])
def test_a_few_steps_under_bf16_autocast_reach_every_parameter_and_lower_the_loss(name):
    net, x, y = drawn(name), images(8), torch.arange(8)
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
def test_a_frozen_one_answers_as_the_network_it_was_and_nearly_so_in_bf16(name):
    net, x = drawn(name), images(4)
    exact = Machine(torch.device("cpu"), "fp32").freeze(copy.deepcopy(net), x)
    short = Machine(torch.device("cpu"), "bf16").freeze(copy.deepcopy(net), x)
    with torch.no_grad():
        wanted = net.eval()(x)
    assert outputs_close(exact(x), wanted)
    for ours, theirs in zip([*short(x).maps, short(x).logits], [*wanted.maps, wanted.logits], strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().mean() < 0.03 * theirs.abs().mean()


def test_only_the_teacher_drops_units_and_only_while_it_is_trained():
    kinds = {name: [m.p for m in bare(name).modules() if isinstance(m, torch.nn.Dropout)] for name in WEIGHTS}
    assert kinds.pop("maxout") == [0.2, 0.5, 0.5, 0.5, 0.5]
    assert not any(kinds.values())
    net, x = drawn("maxout").eval(), images()
    assert torch.equal(net(x).logits, net(x).logits)


@pytest.mark.parametrize(
    ("name", "depth"),
    [("fitnet1", 11), ("fitnet2", 11), ("fitnet3", 13), ("fitnet4", 19), ("resnet20", 20), ("resnet110", 110)],
)
def test_layers_are_counted_as_papers_count_depth(name, depth):
    assert model_size.count_layers(build(name, 10)) == depth
