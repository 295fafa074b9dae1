"""Names, and networks from outside dressed as ours."""

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
    ("name", "words"),
    [
        ("resnet50", "did you mean ResNet50?"),
        ("wrn-16-2", "did you mean wrn_16_2?"),
        ("zzz", "python -m benchmark list models"),
        ("torchvision:resnet19", "did you mean resnet18?"),
        ("torchvision:vit_b_16", "nobody has said where its maps are"),
    ],
)
def test_an_unknown_name_is_refused_with_what_to_do(name, words):
    with pytest.raises(BadInput) as caught:
        build(name, 10)
    assert words in str(caught.value)
    assert name.removeprefix("torchvision:") in str(caught.value)


def test_images_too_small_for_a_network_are_refused():
    with pytest.raises(BadInput, match="vgg11 cannot read images of 28 x 28"):
        shape("torchvision:vgg11", 10, (28, 28))


# ---- networks from outside

TAPS = ("relu", "layer1", "layer2", "layer3", "layer4")


@pytest.fixture(scope="module")
def plain():
    """Torchvision's own ResNet18."""
    models = pytest.importorskip("torchvision.models")
    with scope("test", 0):
        return models.resnet18(num_classes=10)


def test_a_dressed_network_gives_the_plain_ones_logits(plain):
    dressed = tap.dress(copy.deepcopy(plain), TAPS, "fc").eval()
    out = dressed(images())
    assert torch.equal(out.logits, plain.eval()(images()))
    assert torch.equal(out.logits, dressed.head(out.embedding))
    assert torch.equal(out.embedding, out.maps[-1].mean((2, 3)))
    assert Shape.of(out) == shape("torchvision:resnet18", 10)


def test_a_dressed_network_trains_every_parameter_also_under_autocast(plain):
    dressed = tap.dress(copy.deepcopy(plain), TAPS, "fc").train()
    with torch.autocast("cpu", torch.bfloat16):
        out = dressed(images(4, 64))
    out.logits.float().square().mean().backward()
    assert out.logits.dtype == torch.bfloat16
    assert all(p.grad is not None and p.grad.any() for p in dressed.parameters())


def test_a_copy_of_a_dressed_network_is_a_network_of_its_own(plain):
    dressed = tap.dress(copy.deepcopy(plain), TAPS, "fc").eval()
    twin = copy.deepcopy(dressed)
    before = dressed(images())
    nn.init.zeros_(twin.body.conv1.weight)
    assert not twin(images()).maps[0].equal(before.maps[0])
    assert torch.equal(dressed(images()).logits, before.logits)


def test_a_layer_put_at_embed_stands_between_the_body_and_the_head(plain):
    dressed = tap.dress(copy.deepcopy(plain), TAPS, "fc").eval()
    before = dressed(images()).embedding
    dressed.embed, dressed.head = nn.Linear(512, 4), nn.Linear(4, 10)
    out = dressed(images())
    assert torch.equal(out.embedding, dressed.embed(before))
    assert torch.equal(out.logits, dressed.head(out.embedding))


@pytest.mark.parametrize("name", ["vgg11_bn", "mobilenet_v2", "densenet121", "shufflenet_v2_x1_0", "efficientnet_b0"])
def test_torchvisions_families_show_maps_that_shrink(name):
    pytest.importorskip("torchvision")
    shown = shape(f"torchvision:{name}", 10)
    heights = [height for _, height, _ in shown.maps]
    assert len(heights) >= 4
    assert heights == sorted(heights, reverse=True)
    assert shown.logits == 10


@pytest.mark.parametrize(
    ("taps", "head", "words"),
    [
        ((), "fc", "at least one tap"),
        (("layer9",), "fc", "no submodule 'layer9': did you mean layer"),
        (("layer1",), "layer4", "not an nn.Linear"),
        (("bn1",), "fc", "tap bn1 is overwritten by a later layer"),
        (("fc",), "fc", "not a map (N, C, H, W)"),
    ],
)
def test_taps_that_cannot_be_are_refused_with_what_to_do(plain, taps, head, words):
    with pytest.raises(BadInput) as caught:
        tap.dress(copy.deepcopy(plain), taps, head)(images())
    assert words in str(caught.value)


def test_a_tap_that_is_never_reached_is_refused():
    class Idle(nn.Sequential):
        def forward(self, x):
            return self[2](self[0](x).mean((2, 3)))

    dressed = tap.dress(Idle(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Linear(4, 2)), ("0", "1"), "2")
    with pytest.raises(BadInput, match="tap 1 is never reached"):
        dressed(images())
