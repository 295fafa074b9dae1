"""Initial weights of networks, and checkpoints published by other suites."""

import argparse
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.errors import BadInput
from benchmark.experiment.seeds import scope
from benchmark.models import build, shape
from benchmark.models.imports import load

REFERENCE = Path(__file__).parents[1] / "reference"


def drawn(name, seed=0, classes=10):
    """The network with weights drawn from `seed`."""
    with scope("test", seed):
        return build(name, classes)


# ---- initialisation


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_2", "vgg8", "MobileNetV2", "ResNet18"])
def test_convolutions_are_initialised_he_normal_by_fan_out_with_biases_of_zero(name):
    for module in drawn(name).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            out_channels, _, k, _ = module.weight.shape
            assert module.weight.std().item() == pytest.approx((2 / (k * k * out_channels)) ** 0.5, rel=0.06)
            assert abs(module.weight.mean().item()) < 0.06 * module.weight.std().item()
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            assert not module.bias.any()


@pytest.mark.parametrize("name", ["ShuffleV1", "ShuffleV2"])
def test_shufflenets_have_torchs_default_initialisation(name):
    for module in drawn(name).modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 4000:
            bound = module.weight[0].numel() ** -0.5
            assert module.weight.abs().max().item() <= bound
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.06)


def test_the_initialisation_of_the_head_depends_on_the_family():
    for name in ("vgg8", "MobileNetV2"):
        head = drawn(name, classes=100).head
        assert head.weight.std().item() == pytest.approx(0.01, rel=0.03)
        assert not head.bias.any()
    for name, biased in (("wrn_16_2", False), ("resnet20", True), ("ShuffleV2", True)):
        head = drawn(name, classes=100).head
        assert head.weight.abs().max().item() <= head.in_features**-0.5
        assert bool(head.bias.any()) == biased


def test_weights_are_a_function_of_the_seed_and_neither_shapes_nor_loading_use_the_global_generator():
    a, b, c = drawn("resnet8", 3), drawn("resnet8", 3), drawn("resnet8", 4)
    assert torch.equal(a.stem.conv.weight, b.stem.conv.weight)
    assert not torch.equal(a.stem.conv.weight, c.stem.conv.weight)
    state = torch.get_rng_state()
    shape("vgg11", 7)
    shape("torchvision:mobilenet_v2", 7)
    load(REFERENCE / "checkpoints" / "resnet8.pth", "resnet8", 100)
    assert torch.equal(torch.get_rng_state(), state)


# ---- published checkpoints


def refusal(path, name="resnet8", classes=10):
    with pytest.raises(BadInput) as caught:
        load(path, name, classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def saved(tmp_path):
    """A function: saves an object with torch -> the path of its file."""

    def save(content):
        torch.save(content, tmp_path / "file.pth")
        return tmp_path / "file.pth"

    return save


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 240, "accuracy": torch.tensor(70.0), "model": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_tensors_of_a_checkpoint_are_matched_by_order_and_shape_and_not_by_name(saved, wrap, prefix):
    net = drawn("wrn_16_1", seed=1)
    state = {
        f"{prefix}layer{i}": tensor.half() if tensor.dim() else tensor
        for i, tensor in enumerate(net.half().state_dict().values())
    }
    loaded = load(saved(wrap(state)), "wrn_16_1", 10)
    assert all(p.dtype == torch.float32 and p.requires_grad for p in loaded.parameters())
    assert all(torch.equal(a, b.to(a.dtype)) for a, b in zip(loaded.state_dict().values(), state.values(), strict=True))


def test_a_checkpoint_with_another_number_of_tensors_is_refused(saved):
    message = refusal(saved({"model": drawn("resnet14").state_dict()}))
    assert "has 92 tensors but resnet8 with 10 classes has 56" in message


def test_a_checkpoint_of_other_shapes_is_refused_naming_the_first_mismatch(saved):
    message = refusal(saved({"model": drawn("resnet8", classes=100).state_dict()}))
    assert "tensor 55 of " in message
    assert "(head.weight) is (100, 64) float32 but resnet8 with 10 classes has (10, 64) float32 there" in message


def test_a_checkpoint_that_holds_a_pickled_object_is_refused_without_unpickling_it(saved):
    message = refusal(saved({"opt": argparse.Namespace(lr=0.05), "model": drawn("resnet8").state_dict()}))
    assert "holds a pickled argparse.Namespace" in message
    assert "save" in message


def test_a_whole_pickled_network_is_refused(saved):
    assert "could run code" in refusal(saved(drawn("resnet8")))


@pytest.mark.parametrize("content", [[], {}, 3, torch.zeros(2), {"model": 3}, {"epoch": 3}, {"model": {}}])
def test_a_file_without_weights_is_refused(saved, content):
    assert "holds no weights" in refusal(saved(content))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04broken", b"\x80\x02}q\x00.", bytes(range(256))])
def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "file.pth").write_bytes(content)
    assert str(tmp_path / "file.pth") in refusal(tmp_path / "file.pth")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no checkpoint at" in refusal(tmp_path / "none.pth")
    assert "no checkpoint at" in refusal(tmp_path)
