"""Faster ways to compute answer as the plain ones do, and step aside where they cannot serve."""

import copy

import pytest
import torch
import torch.nn.functional as F

from benchmark import models
from benchmark.acceleration import device, machine
from benchmark.acceleration.cpu_kernels import batch_norm
from benchmark.acceleration.machine import Machine
from benchmark.acceleration.output_cast import Float32Maps, detach_outputs, outputs_close
from benchmark.errors import BadInput
from benchmark.experiment import seeds
from benchmark.models.net import Norm
from methods.contract import Outputs

CPU = torch.device("cpu")
LAST = torch.channels_last
kernels = pytest.mark.skipif(batch_norm.kernels() is None, reason="no C compiler here: the kernels cannot be made")


def trained(name, classes=10):
    """A network whose running statistics and scales are not those of a fresh one."""
    with seeds.scope("test", name):
        net = models.build(name, classes)
        for module in net.modules():
            if isinstance(module, Norm):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return net


def pictures(count=8):
    return torch.randn(count, 3, 32, 32, generator=seeds.generator("pictures")).to(memory_format=LAST)


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2", "ResNet50"])
def test_a_frozen_teacher_answers_as_the_network_it_was(name):
    net, x = trained(name), pictures()
    frozen = Machine(CPU, "fp32").freeze(copy.deepcopy(net), x)
    with torch.no_grad():
        plain = net.eval()(x)
    assert outputs_close(plain, frozen(x))
    assert not any(p.requires_grad for p in frozen.parameters())


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_2", "ShuffleV1"])
def test_a_teacher_in_bf16_answers_in_float32_and_to_three_digits(name):
    net, x = trained(name), pictures()
    frozen = Machine(CPU, "bf16").freeze(net, x)
    answer, plain = frozen(x), net.eval()(x)
    for ours, theirs in zip([*answer.maps, answer.logits], [*plain.maps, plain.logits], strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().mean() < 0.02 * theirs.abs().mean()


def test_a_teacher_serves_batches_of_any_size():
    net, x = trained("resnet8"), pictures(8)
    frozen = Machine(CPU, "fp32").freeze(net, x)
    whole, parts = frozen(x).logits, torch.cat([frozen(x[:5]).logits, frozen(x[5:]).logits])
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-5)


def test_a_teacher_stays_in_eval_mode_whoever_asks():
    frozen = Machine(CPU, "fp32").freeze(trained("resnet8"), pictures())
    assert not any(module.training for module in frozen.train().modules())


def test_maps_are_widened_when_they_are_read_and_lanes_do_not_share_the_cast():
    maps = Float32Maps([torch.ones(2, dtype=torch.bfloat16), torch.ones(3)])
    assert maps[0].dtype == torch.float32
    assert maps[0] is not maps[0]
    assert [len(m) for m in maps] == [2, 3]
    assert maps[-1].data_ptr() == maps[1].data_ptr(), "what is float32 already is not copied"
    assert len(maps[:1]) == 1


def test_a_student_computes_in_bf16_and_shows_float32():
    here = Machine(CPU, "bf16")
    net = here.prepare_student(trained("resnet8"))
    s = here.forward(net, pictures())
    F.cross_entropy(s.logits, torch.zeros(8, dtype=torch.long)).backward()
    assert {m.dtype for m in s.maps} == {s.logits.dtype} == {torch.float32}
    assert {p.dtype for p in net.parameters()} == {p.grad.dtype for p in net.parameters()} == {torch.float32}


def gradient(here, prepare, name, count):
    """The gradient of a network on a batch of `count` images, all parameters in one row."""
    net = prepare(trained(name))
    x = pictures(count).to(next(net.parameters()).dtype)
    logits = net(x).logits if x.dtype == torch.float64 else here.forward(net, x).logits
    F.cross_entropy(logits, torch.arange(count) % 10).backward()
    return torch.cat([p.grad.flatten() for p in net.parameters()])


def test_gradients_in_bf16_are_as_true_as_those_of_torch_without_our_kernels():
    exact, half = Machine(CPU, "fp32"), Machine(CPU, "bf16")
    wanted = gradient(exact, exact.to_device, "resnet20", count=32)
    ways = [gradient(half, how, "resnet20", count=32) for how in (half.prepare_student, half.to_device)]
    ours, theirs = (F.cosine_similarity(way, wanted, dim=0) for way in ways)
    assert ours > 0.95
    assert ours > theirs - 0.01


# ---- the kernels of batch_norm.c
def normalised(x, shortcut, module, act):
    """Algorithm 1 of Ioffe & Szegedy, with sum and ReLU, in the type of x."""
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    weight, bias = (p.to(x.dtype)[None, :, None, None] for p in (module.weight, module.bias))
    y = (x - mean) / (var + module.eps).sqrt() * weight + bias
    y = y if shortcut is None else y + shortcut
    return F.relu(y) if act else y


@kernels
@pytest.mark.parametrize(("width", "size", "count"), [(16, 8, 5), (24, 7, 3), (300, 3, 2), (1, 2, 2), (240, 1, 4)])
@pytest.mark.parametrize("act", [False, True])
@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_kernels_equal_the_definition_in_float64(width, size, count, act, joined, dtype):
    stream = seeds.generator("norm", width)
    x, s, g = (torch.randn(count, width, size, size, generator=stream) * 2 + 1 for _ in range(3))
    x, s, g = (z.to(dtype, memory_format=LAST) for z in (x, s, g))
    quick = batch_norm.use_fused_norm(Norm(width, act))
    torch.nn.init.uniform_(quick.weight, 0.5, 2)
    leaves = [x.clone().requires_grad_(), *([s.clone().requires_grad_()] if joined else [])]
    y = quick.join(*leaves) if joined else quick(*leaves)
    ours = [y, *torch.autograd.grad(y, [*leaves, quick.weight, quick.bias], g)]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    y = normalised(exact[0], exact[1] if joined else None, quick, act or joined)
    theirs = [y, *torch.autograd.grad(y, [*exact, quick.weight, quick.bias], g.double())]
    for found, wanted in zip(ours, theirs, strict=True):
        bound = 0.008 if found.dtype == torch.bfloat16 else 1e-5
        assert (found.double() - wanted).abs().max() <= bound * wanted.abs().max().clamp_min(1e-6)


@kernels
@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 1e-4), (torch.float32, 1e-6)])
def test_the_kernels_move_the_running_statistics_as_torch_does_in_float64(dtype, bound):
    x = pictures(6).to(dtype)
    quick, plain = batch_norm.use_fused_norm(Norm(3)), Norm(3).double()
    for _ in range(3):
        quick(x), plain(x.double())
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(quick.state_dict()[name].to(value.dtype), value, rtol=bound, atol=bound)


@kernels
def test_in_float32_the_variance_of_values_far_from_0_is_as_exact_as_the_values():
    x = pictures(6) + 1000.0
    exact = x.double()
    y = batch_norm.use_fused_norm(norm := Norm(3))(x)
    torch.testing.assert_close(norm.running_var.double(), 0.9 + 0.1 * exact.var((0, 2, 3)), rtol=1e-6, atol=0)
    wanted = normalised(exact, None, norm, act=False)
    assert (y - wanted).abs().max() < 1000 * 2 * torch.finfo(torch.float32).eps


@kernels
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_a_number_is_not_hidden_by_the_relu(bad):
    x = pictures(4).bfloat16()
    x[0, 1, 0, 0] = bad
    y = batch_norm.use_fused_norm(Norm(3, act=True))(x)
    assert y[:, 1].isnan().any()
    assert y[:, 0].isfinite().all()


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_step_computed_twice_has_equal_bits(precision):
    here = Machine(CPU, precision)
    gradients = [gradient(here, here.prepare_student, "resnet8", count=16) for _ in range(3)]
    assert all(each.equal(gradients[0]) for each in gradients)


def test_a_gradient_in_fp32_is_as_true_as_that_of_torch_without_our_kernels():
    here = Machine(CPU, "fp32")
    exact = gradient(here, lambda net: here.to_device(net).double(), "resnet8", count=16)
    ours, theirs = (gradient(here, how, "resnet8", count=16) for how in (here.prepare_student, here.to_device))
    assert (ours - exact).norm() < 2 * (theirs - exact).norm()


@kernels
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_student_trains_on_the_compiled_kernels_and_its_record_says_so(precision):
    here = Machine(CPU, precision)
    net = here.prepare_student(models.build("resnet8", 10))
    assert {type(m) for m in net.modules() if isinstance(m, Norm)} == {batch_norm.FusedNorm}
    assert here.facts()["kernels"] is True


@kernels
def test_maps_of_two_types_are_joined_by_torch():
    x = pictures(4)
    quick, plain = batch_norm.use_fused_norm(Norm(3)), Norm(3)
    assert quick.join(x, x.bfloat16()).equal(plain.join(x, x.bfloat16()))


@kernels
@pytest.mark.parametrize("how", ["eval", "not channels last"])
def test_the_kernels_step_aside_where_they_do_not_serve(how):
    quick, plain = batch_norm.use_fused_norm(Norm(3, act=True)), Norm(3, act=True)
    x = pictures(4).bfloat16()
    x = x.contiguous() if how == "not channels last" else x
    quick.train(how != "eval"), plain.train(how != "eval")
    assert quick(x).equal(plain(x))


def test_without_a_compiler_networks_stay_as_they_are(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    batch_norm.kernels.cache_clear()
    try:
        net = batch_norm.use_fused_norm(models.build("resnet8", 10))
        assert batch_norm.kernels() is None
        assert {type(m) for m in net.modules() if isinstance(m, Norm)} == {Norm}
    finally:
        batch_norm.kernels.cache_clear()


@kernels
def test_quick_networks_have_the_same_state_and_can_be_copied():
    net = models.build("resnet8", 10)
    names = list(net.state_dict())
    twin = copy.deepcopy(batch_norm.use_fused_norm(net))
    assert list(twin.state_dict()) == names


# ---- the machine
def test_precision_picks_itself_by_what_the_processor_has(monkeypatch):
    for has, picked in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(machine, "supports_bf16", lambda device, has=has: has)
        assert machine.machine("cpu").precision == picked
        assert machine.machine("cpu", "fp32").precision == "fp32"


def test_a_device_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="--device cpu"):
        machine.machine("cuda")
    with pytest.raises(BadInput, match="auto, cpu or cuda"):
        machine.machine("tpu")


def test_outputs_can_be_cut_off_without_casting_their_maps():
    raw = torch.ones(2, requires_grad=True).bfloat16()
    cut = detach_outputs(Outputs(Float32Maps([raw]), torch.ones(1), torch.ones(1)))
    assert cut.maps._maps[0].dtype == torch.bfloat16
    assert not cut.maps[0].requires_grad


def test_steps_are_replayed_on_cuda_only_and_only_if_wanted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(machine, "total_memory", lambda device: 80 << 30)
    assert machine.machine("cuda", "bf16").graphs
    assert not machine.machine("cuda", "bf16", graphs=False).graphs
    assert not machine.machine("cpu", "bf16").graphs


@pytest.mark.parametrize("exact", [True, False])
def test_cuda_is_told_to_answer_twice_the_same_or_to_look_for_the_fastest(exact):
    flags = torch.backends.cudnn
    before = flags.benchmark, flags.deterministic
    try:
        device.configure_cuda(exact)
        assert (flags.benchmark, flags.deterministic) == (not exact, exact)
        assert torch.are_deterministic_algorithms_enabled() is exact
        assert not flags.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    finally:
        flags.benchmark, flags.deterministic = before
        torch.use_deterministic_algorithms(False)
