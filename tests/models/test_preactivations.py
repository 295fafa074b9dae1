"""Maps before the last ReLU of each stage: what they are, and that showing them changes nothing else."""

import pytest
import torch
import torch.nn.functional as F
from test_models import images, initialised, tensors, with_random_norms
from torch import nn

from benchmark.acceleration.machine import Machine
from benchmark.conformance.trial import Trial
from benchmark.models import shape, tap
from benchmark.models.preactivation import show
from benchmark.store import Store
from benchmark.training import loop
from methods import Unfit, registry
from methods.contract import Shape

RECTIFIED = ["resnet8", "ResNet50", "vgg8", "ShuffleV1", "ShuffleV2"]  # a map is the ReLU of what is before it
OTHERS = ["wrn_16_2", "MobileNetV2", "fitnet1", "maxout"]


def pair(name):
    """Two equal networks with random normalisations, of which the second shows its maps before the last ReLUs."""
    return with_random_norms(name), show(with_random_norms(name))


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", [*RECTIFIED, *OTHERS])
def test_a_network_that_shows_them_is_the_same_network(name, training):
    plain, showing = (net.train(training) for net in pair(name))
    for seed in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            expected = plain(images(4, 16))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            found = showing(images(4, 16))
        assert all(a.equal(b) for a, b in zip(tensors(found), tensors(expected), strict=True))
        assert expected.preactivations == ()
        assert [m.shape for m in found.preactivations] == [m.shape for m in found.maps[1:]]
    assert list(plain.state_dict()) == list(showing.state_dict())
    assert all(a.equal(b) for a, b in zip(plain.state_dict().values(), showing.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", RECTIFIED)
def test_maps_are_the_relu_of_what_is_shown_before_it(name):
    found = show(with_random_norms(name))(images(2, 16))
    for before, after in zip(found.preactivations, found.maps[1:], strict=True):
        assert F.relu(before).equal(after)
        assert before.min() < 0


def test_what_a_residual_block_shows_is_its_sum():
    net = show(with_random_norms("resnet8"))
    found = net(images(2, 16))
    block, x = net.stages[1][-1], found.maps[1]
    total = block.conv2.norm(block.conv2.conv(block.conv1(x))) + block.shortcut(x)
    torch.testing.assert_close(found.preactivations[1], total)


def test_wide_residual_networks_show_their_maps_after_the_next_batch_norm():
    net = show(with_random_norms("wrn_16_2"))
    found = net(images(2, 16))
    norms = [net.stages[1][0].norm1, net.stages[2][0].norm1, net.neck]
    assert net.last_norms == norms
    for norm, before, after in zip(norms, found.preactivations, found.maps[1:], strict=True):
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        expected = (after - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
        torch.testing.assert_close(before, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["MobileNetV2", "fitnet1", "maxout"])
def test_stages_that_end_in_no_relu_show_their_maps(name):
    net = show(with_random_norms(name))
    found = net(images(2, 16))
    assert all(a.equal(b) for a, b in zip(found.preactivations, found.maps[1:], strict=True))
    assert net.last_norms == []


def test_the_last_norms_are_those_before_the_residual_sums():
    net = initialised("resnet8")
    assert net.last_norms == [stage[-1].conv2.norm for stage in net.stages]
    assert [len(norm.weight) for norm in initialised("ResNet50").last_norms] == [256, 512, 1024, 2048]


# ---- teachers and students on the kernels of this machine
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["resnet14", "wrn_16_2", "vgg8"])
def test_a_frozen_teacher_that_shows_them_computes_the_same_bits(name, precision):
    machine, x = Machine(torch.device("cpu"), precision), images(4, 16)
    plain, showing = (machine.freeze(net, x) for net in pair(name))
    expected, found = plain(x), showing(x)
    assert all(a.equal(b) for a, b in zip(tensors(found), tensors(expected), strict=True))
    assert (plain.folded, plain.fused) == (showing.folded, showing.fused)
    assert len(expected.preactivations) == 0
    after = found.maps[1:] if name != "wrn_16_2" else [None] * 3
    for before, rectified in zip(found.preactivations, after, strict=True):
        assert before.dtype == torch.float32
        assert before.min() < 0
        assert rectified is None or F.relu(before).equal(rectified)


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_2", "vgg8", "ShuffleV1"])
def test_a_student_that_shows_them_gets_the_gradients_of_one_that_does_not(name):
    machine, x = Machine(torch.device("cpu"), "fp32"), images(4, 16)
    gradients = []
    for each in pair(name):
        net = machine.prepare_student(each).train()
        outputs = machine.forward(net, x)
        (outputs.logits.square().mean() + sum(m.square().mean() for m in outputs.maps)).backward()
        gradients.append([p.grad for p in net.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * one.abs().max().item())


# ---- who shows them
def test_networks_of_others_show_none_and_methods_that_need_them_say_so():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    net = show(tap.wrap(body, ["1"], "4"))
    own = Shape.of(net(images(2, 16)))
    assert own.preactivations == ()
    for name in ("ab", "ofd", "reviewkd"):
        with pytest.raises(Unfit, match="shows no maps before its ReLUs"):
            registry.get(name)(shape("resnet8", 10), own)


@pytest.mark.parametrize(("methods", "expected"), [(["kd", "ce"], False), (["kd", "sp+ab"], True)], ids=str)
def test_a_teacher_shows_them_if_a_method_of_the_cohort_reads_them(methods, expected, tmp_path, monkeypatch):
    trial, seen = Trial("kd", "resnet14", "resnet8", tmp_path), []
    monkeypatch.setattr(loop.teacher, "load", lambda *arguments: seen.append(arguments[-1]))
    cohort = [trial.run.model_copy(update={"method": name}) for name in methods]
    loop.make_context(cohort, Store(tmp_path), tmp_path, "cpu", data=trial.context().data)
    assert seen == [expected]
