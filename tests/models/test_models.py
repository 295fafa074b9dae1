"""All networks against `reference/models.json` and `reference/checkpoints`, and properties that every network has."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.experiment.seeds import scope
from benchmark.models import build, names, shape, shufflenet
from benchmark.models.imports import load
from benchmark.models.net import ConvNorm, Norm, fold
from benchmark.models.preactivation import show
from methods.contract import Shape

HERE = Path(__file__).parents[1] / "reference"
REFERENCE = json.loads((HERE / "models.json").read_text())
FAMILIES = ["resnet8", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2", "fitnet1"]
CHECKPOINTS = ["resnet8", "wrn_16_1"]


def on_meta_device(name, classes=100):
    """The network on the meta device: shapes without memory."""
    with torch.device("meta"):
        return build(name, classes)


def initialised(name, seed=0, classes=10):
    """The network with initial weights from `seed`."""
    with scope("test", seed):
        return build(name, classes)


def with_random_norms(name, seed=0):
    """The network in eval mode with random normalisations, none of whose values is 0 or 1."""
    net, generator = initialised(name, seed), torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, Norm):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    return net.eval()


def images(count=2, size=32, seed=1):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def tensors(outputs):
    return [*outputs.maps, outputs.embedding, outputs.logits]


def assert_close(found, expected, tolerance=1e-5):
    for a, b in zip(tensors(found), tensors(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * b.abs().max().item())


# ---- against the reference


def test_every_network_of_the_reference_is_registered():
    others = {"ResNet18", "ResNet34", "resnet18x0.5", "wrn_16_8", "fitnet1", "fitnet2", "fitnet3", "fitnet4", "maxout"}
    assert set(REFERENCE) | others == set(names())


@pytest.mark.parametrize("name", REFERENCE)
def test_parameters_buffers_and_ordered_tensors_are_those_of_the_reference(name):
    net = on_meta_device(name)
    assert sum(p.numel() for p in net.parameters()) == REFERENCE[name]["parameters"]
    assert sum(b.numel() for b in net.buffers()) == REFERENCE[name]["buffers"]
    assert [list(t.shape) for t in net.state_dict().values()] == [size for _, size in REFERENCE[name]["state"]]


@pytest.mark.parametrize("name", REFERENCE)
def test_multiplications_maps_and_embedding_are_those_of_the_reference(name):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        out = on_meta_device(name).eval()(torch.empty(1, 3, 32, 32))
    assert counter.get_total_flops() == 2 * REFERENCE[name]["macs_conv_and_linear"]
    assert [list(m.shape[1:]) for m in out.maps] == REFERENCE[name]["maps"]
    assert out.embedding.shape == (1, REFERENCE[name]["embedding"])


@pytest.mark.parametrize(("name", "count"), [("ResNet18", 11_220_132), ("ResNet34", 21_328_292)])
def test_the_pair_of_kda_has_the_published_number_of_parameters(name, count):
    assert sum(p.numel() for p in on_meta_device(name).parameters()) == count


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_published_checkpoint_gives_the_outputs_of_the_reference_network(name):
    net = load(HERE / "checkpoints" / f"{name}.pth", name, 100).eval()
    expected = np.load(HERE / "checkpoints" / "expected.npz")
    with torch.no_grad():
        out = net(torch.from_numpy(expected[f"{name}/x"]))
    recorded = {"logits": out.logits, "embedding": out.embedding}
    recorded |= {f"map{i}_mean": m.mean((2, 3)) for i, m in enumerate(out.maps)}
    assert len(recorded) == sum(key.startswith(f"{name}/") for key in expected) - 1
    for key, value in recorded.items():
        np.testing.assert_allclose(value.numpy(), expected[f"{name}/{key}"], rtol=1e-5, atol=1e-5, err_msg=key)


# ---- properties of every network


@pytest.mark.parametrize("name", names())
def test_the_shape_of_a_network_is_the_real_one_also_under_bf16_autocast(name):
    net = show(initialised(name)).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = net(images(1))
    assert Shape.of(out) == shape(name, 10)
    assert out.logits.dtype == torch.bfloat16
    assert all(t.isfinite().all() for t in tensors(out))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_under_bf16_autocast_reaches_every_parameter(name):
    net = initialised(name)
    with torch.autocast("cpu", torch.bfloat16):
        out = net(images(4))
    sum(t.float().square().mean() for t in tensors(out)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_embedding_is_the_output_of_embed_and_the_input_of_the_head(name):
    net = initialised(name).eval()
    plain = net(images())
    assert torch.equal(plain.logits, nn.functional.linear(plain.embedding, net.head.weight, net.head.bias))
    net.embed = nn.Linear(net.head.in_features, 5)
    net.head = nn.Linear(5, 10)
    out = net(images())
    assert torch.equal(out.embedding, net.embed(plain.embedding))
    assert torch.equal(out.logits, net.head(out.embedding))


@pytest.mark.parametrize("name", [*FAMILIES, "ResNet18"])
def test_maps_are_the_outputs_of_stem_and_stages_and_are_not_overwritten(name):
    net, recorded = initialised(name), []
    for part in (net.stem, *net.stages):
        part.register_forward_hook(lambda module, inputs, output: recorded.append(output.clone()))
    out = net(images())
    assert all(torch.equal(a, b) for a, b in zip(out.maps, recorded, strict=True))


@pytest.mark.parametrize("name", [*FAMILIES, "ResNet18"])
def test_channels_last_is_kept_by_every_stage_and_changes_no_output(name):
    net = with_random_norms(name)
    plain = net(images())
    out = net.to(memory_format=torch.channels_last)(images().to(memory_format=torch.channels_last))
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in out.maps)
    assert_close(out, plain)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_shuffle_interleaves_the_channels_of_the_groups(memory_format):
    x = images(2).repeat(1, 4, 1, 1).to(memory_format=memory_format)  # 12 channels
    x += torch.arange(12.0)[:, None, None]
    y = shufflenet.shuffle(x, 3)
    for group in range(3):
        for channel in range(4):
            assert torch.equal(y[:, channel * 3 + group], x[:, group * 4 + channel])
    assert torch.equal(
        shufflenet.interleave(x[:, :6], x[:, 6:].contiguous(memory_format=memory_format)), shufflenet.shuffle(x, 2)
    )
    assert y.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("name", [*FAMILIES, "ResNet50"])
def test_folding_the_normalisations_changes_no_output_and_not_the_original(name):
    net = with_random_norms(name)
    before = copy.deepcopy(net.state_dict())
    folded = fold(net)
    with torch.no_grad():
        assert_close(folded(images()), net(images()))
        assert_close(fold(folded)(images()), net(images()))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
    assert not any(isinstance(m.norm, Norm) for m in folded.modules() if isinstance(m, ConvNorm))
