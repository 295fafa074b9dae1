"""Names of networks, and wrapped networks of torchvision."""

import copy

import pytest
import torch
from torch import nn

from benchmark.errors import BadInput
from benchmark.experiment.seeds import scope
from benchmark.models import build, shape, tap
from methods.contract import Shape


def images(count=2, size=32):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


# ---- names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50", "did you mean ResNet50?"),
        ("wrn-16-2", "did you mean wrn_16_2?"),
        ("zzz", "python -m benchmark list models"),
        ("torchvision:resnet19", "did you mean resnet18?"),
        ("torchvision:vit_b_16", "the locations of the maps"),
    ],
)
def test_an_unknown_name_is_refused_with_what_to_do(name, expected):
    with pytest.raises(BadInput) as caught:
        build(name, 10)
    assert expected in str(caught.value)
    assert name.removeprefix("torchvision:") in str(caught.value)


def test_images_too_small_for_a_network_are_refused():
    with pytest.raises(BadInput, match="vgg11 cannot read images of 28 x 28"):
        shape("torchvision:vgg11", 10, (28, 28))


# ---- wrapped networks

TAPS = ("relu", "layer1", "layer2", "layer3", "layer4")


@pytest.fixture(scope="module")
def resnet18():
    """Torchvision's own ResNet18."""
    models = pytest.importorskip("torchvision.models")
    with scope("test", 0):
        return models.resnet18(num_classes=10)


def test_a_wrapped_network_gives_the_logits_of_the_original(resnet18):
    wrapped = tap.wrap(copy.deepcopy(resnet18), TAPS, "fc").eval()
    out = wrapped(images())
    assert torch.equal(out.logits, resnet18.eval()(images()))
    assert torch.equal(out.logits, wrapped.head(out.embedding))
    assert torch.equal(out.embedding, out.maps[-1].mean((2, 3)))
    assert Shape.of(out) == shape("torchvision:resnet18", 10)


def test_a_wrapped_network_trains_every_parameter_also_under_autocast(resnet18):
    wrapped = tap.wrap(copy.deepcopy(resnet18), TAPS, "fc").train()
    with torch.autocast("cpu", torch.bfloat16):
        out = wrapped(images(4, 64))
    out.logits.float().square().mean().backward()
    assert out.logits.dtype == torch.bfloat16
    assert all(p.grad is not None and p.grad.any() for p in wrapped.parameters())


def test_a_copy_of_a_wrapped_network_is_independent_of_it(resnet18):
    wrapped = tap.wrap(copy.deepcopy(resnet18), TAPS, "fc").eval()
    duplicate = copy.deepcopy(wrapped)
    before = wrapped(images())
    nn.init.zeros_(duplicate.body.conv1.weight)
    assert not duplicate(images()).maps[0].equal(before.maps[0])
    assert torch.equal(wrapped(images()).logits, before.logits)


def test_a_layer_at_embed_is_applied_between_the_body_and_the_head(resnet18):
    wrapped = tap.wrap(copy.deepcopy(resnet18), TAPS, "fc").eval()
    before = wrapped(images()).embedding
    wrapped.embed, wrapped.head = nn.Linear(512, 4), nn.Linear(4, 10)
    out = wrapped(images())
    assert torch.equal(out.embedding, wrapped.embed(before))
    assert torch.equal(out.logits, wrapped.head(out.embedding))


@pytest.mark.parametrize("name", ["vgg11_bn", "mobilenet_v2", "densenet121", "shufflenet_v2_x1_0", "efficientnet_b0"])
def test_torchvisions_families_have_maps_of_decreasing_size(name):
    pytest.importorskip("torchvision")
    found = shape(f"torchvision:{name}", 10)
    heights = [height for _, height, _ in found.maps]
    assert len(heights) >= 4
    assert heights == sorted(heights, reverse=True)
    assert found.logits == 10


@pytest.mark.parametrize(
    ("taps", "head", "expected"),
    [
        ((), "fc", "at least one tap"),
        (("layer9",), "fc", "no submodule 'layer9': did you mean layer"),
        (("layer1",), "layer4", "not an nn.Linear"),
        (("bn1",), "fc", "tap bn1 is overwritten by a later layer"),
        (("fc",), "fc", "not a map (N, C, H, W)"),
    ],
)
def test_invalid_taps_are_refused_with_what_to_do(resnet18, taps, head, expected):
    with pytest.raises(BadInput) as caught:
        tap.wrap(copy.deepcopy(resnet18), taps, head)(images())
    assert expected in str(caught.value)


def test_a_tap_that_is_never_called_is_refused():
    class Idle(nn.Sequential):
        def forward(self, x):
            return self[2](self[0](x).mean((2, 3)))

    wrapped = tap.wrap(Idle(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Linear(4, 2)), ("0", "1"), "2")
    with pytest.raises(BadInput, match="tap 1 is never called"):
        wrapped(images())
