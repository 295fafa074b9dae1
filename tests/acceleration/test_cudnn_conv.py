"""Teachers on cuDNN's fused operators compute what their plain layers do.  Stand-ins for the operators run on a CPU."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from benchmark import models
from benchmark.acceleration import machine
from benchmark.acceleration.cuda_kernels import cudnn_conv
from benchmark.acceleration.frozen_net import fold_if_exact
from benchmark.acceleration.machine import Machine
from benchmark.acceleration.output_cast import output_tensors, outputs_close, to_float32
from benchmark.conformance.trial import CLASSES, PAIRS, Trial
from benchmark.experiment import seeds
from benchmark.models.net import ConvNorm, Norm, fold
from benchmark.training.loop import train
from benchmark.training.teacher import load

CPU, LAST = torch.device("cpu"), torch.channels_last
FAMILIES = ["resnet20", "ResNet50", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2", "fitnet1"]


def trained(name):
    """A network whose running statistics and scales are not those of a fresh one."""
    with seeds.scope("test", name):
        net = models.build(name, 10)
        for module in net.modules():
            if isinstance(module, Norm):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return net.eval().requires_grad_(False).to(memory_format=LAST)


def images(count=4):
    return torch.randn(count, 3, 32, 32, generator=seeds.generator("cudnn")).to(memory_format=LAST)


@pytest.fixture
def operators(monkeypatch):
    """Stand-ins with the signatures of `torch._C._VariableFunctions`; what they were called with, by name."""
    calls = {"relu": [], "add_relu": []}

    def check(x, weight, bias, stride, padding, dilation, groups):
        assert x.dtype == weight.dtype == bias.dtype
        assert bias.shape == weight.shape[:1]
        assert all(len(each) == 2 and all(isinstance(n, int) for n in each) for each in (stride, padding, dilation))
        assert x.shape[1] == weight.shape[1] * groups
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)

    def relu(x, weight, bias, stride, padding, dilation, groups):
        calls["relu"].append((tuple(x.shape), groups))
        return check(x, weight, bias, stride, padding, dilation, groups).relu()

    def add_relu(x, weight, z, alpha, bias, stride, padding, dilation, groups):
        calls["add_relu"].append((tuple(x.shape), groups))
        y = check(x, weight, bias, stride, padding, dilation, groups)
        assert (y.shape, y.dtype) == (z.shape, z.dtype)
        return (y + alpha * z).relu()

    monkeypatch.setattr(torch, "cudnn_convolution_relu", relu)
    monkeypatch.setattr(torch, "cudnn_convolution_add_relu", add_relu)
    monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: True)
    return calls


def test_the_stand_ins_have_the_signatures_of_the_operators():
    for name, arguments in (
        ("relu", "Tensor self, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] padding, SymInt[] dilation"),
        ("add_relu", "Tensor self, Tensor weight, Tensor z, Scalar? alpha, Tensor? bias, SymInt[] stride"),
    ):
        schema = str(getattr(torch.ops.aten, f"cudnn_convolution_{name}").default._schema)
        assert f"({arguments}, " in schema


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_every_family_computes_the_same_on_the_fused_operators(name, dtype, operators):
    plain, x = fold(trained(name)).to(dtype), images().to(dtype)
    fused = cudnn_conv.fuse_convolutions(copy.deepcopy(plain))
    wanted = output_tensors(to_float32(plain(x)))
    for _ in range(2):
        for found, expected in zip(output_tensors(to_float32(fused(x))), wanted, strict=True):
            assert found.shape == expected.shape
            assert (found - expected).abs().max() <= (1e-5 if dtype == torch.float32 else 0.05) * expected.abs().max()
    layers = [m for m in fused.modules() if isinstance(m, cudnn_conv.FusedConv)]
    assert not any(isinstance(m, ConvNorm) for m in fused.modules())
    assert sum(m.fused for m in layers) == len(operators["relu"] + operators["add_relu"]) // 3, "a trial, two passes"


@pytest.mark.parametrize(
    ("name", "relu", "joined"),
    [("resnet20", 1 + 9, 9), ("ResNet18", 1 + 8, 8), ("vgg8", 5, 0), ("wrn_16_2", 6, 0), ("fitnet1", 0, 0)],
)
@torch.no_grad()
def test_each_relu_and_each_residual_sum_is_one_operator(name, relu, joined, operators):
    net = cudnn_conv.fuse_convolutions(fold(trained(name)))
    net(images())
    for calls in operators.values():
        calls.clear()  # of the trial
    net(images())
    assert (len(operators["relu"]), len(operators["add_relu"])) == (relu, joined)


@torch.no_grad()
def test_layers_without_an_engine_stay_plain_and_the_others_do_not(operators, monkeypatch):
    whole = torch.cudnn_convolution_relu

    def only_one_group(x, weight, bias, stride, padding, dilation, groups):
        if groups > 1:
            raise RuntimeError("GET was unable to find an engine to execute this computation")
        return whole(x, weight, bias, stride, padding, dilation, groups)

    monkeypatch.setattr(torch, "cudnn_convolution_relu", only_one_group)
    plain = fold(trained("MobileNetV2"))
    fused = cudnn_conv.fuse_convolutions(copy.deepcopy(plain))
    assert outputs_close(to_float32(plain(images())), to_float32(fused(images())))
    for module in fused.modules():
        if isinstance(module, cudnn_conv.FusedConv):
            ends_in_relu = isinstance(module.norm, torch.nn.ReLU)
            assert module.fused == (ends_in_relu and module.conv.groups == 1)


@pytest.mark.parametrize(
    "spoil", [lambda y: y * 1.1, lambda y: y * float("nan"), lambda y: y + 0.1], ids=["x1.1", "nan", "+0.1"]
)
@torch.no_grad()
def test_an_operator_that_computes_something_else_is_not_used(spoil, operators, monkeypatch):
    whole = torch.cudnn_convolution_add_relu
    monkeypatch.setattr(torch, "cudnn_convolution_add_relu", lambda *given: spoil(whole(*given)))
    plain = fold(trained("resnet20"))
    fused = cudnn_conv.fuse_convolutions(copy.deepcopy(plain))
    assert outputs_close(to_float32(plain(images())), to_float32(fused(images())))
    assert sum(m.fused for m in fused.modules() if isinstance(m, cudnn_conv.FusedConv)) == len(operators["relu"]) // 2


@torch.no_grad()
def test_a_shape_is_tried_once_and_each_shape_by_itself(operators, monkeypatch):
    whole = torch.cudnn_convolution_relu

    def not_for_three(x, *given):
        if len(x) == 3:
            raise RuntimeError("FIND was unable to find an engine to execute this computation")
        return whole(x, *given)

    monkeypatch.setattr(torch, "cudnn_convolution_relu", not_for_three)
    layer = cudnn_conv.FusedConv(fold(trained("resnet8")).stem)
    for count in (4, 4, 3, 3, 4):
        layer(images(count))
    assert [shape[0] for shape, _ in operators["relu"]] == [4, 4, 4, 4]
    assert sorted((shape[0], agreed) for shape, agreed in layer.agreed.items()) == [(3, False), (4, True)]


@torch.no_grad()
def test_what_a_layer_is_given_is_never_changed(operators):
    block = cudnn_conv.fuse_convolutions(fold(trained("resnet8")).stages[0])[0].conv2
    x, shortcut = (torch.randn(2, 16, 8, 8, generator=seeds.generator(name)) for name in ("x", "shortcut"))
    before = x.clone(), shortcut.clone()
    for _ in range(2):
        block.join(x, shortcut)
    assert (x.equal(before[0]), shortcut.equal(before[1])) == (True, True)


@torch.no_grad()
def test_running_out_of_memory_is_not_taken_for_a_missing_engine(operators, monkeypatch):
    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "cudnn_convolution_relu", full)
    with pytest.raises(torch.OutOfMemoryError):
        cudnn_conv.fuse_convolutions(fold(trained("resnet8")))(images())


@pytest.mark.parametrize("how", ["an operator is missing", "no cuDNN", "repeatable cuDNN", "repeatable torch"])
def test_networks_stay_as_they_are_where_the_operators_must_not_be_used(how, operators, monkeypatch):
    if how == "an operator is missing":
        monkeypatch.delattr(torch, "cudnn_convolution_add_relu")
    elif how == "no cuDNN":
        monkeypatch.setattr(torch.backends.cudnn, "is_available", lambda: False)
    elif how == "repeatable cuDNN":
        monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    else:
        monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    net = fold(trained("resnet8"))
    kinds = [type(m) for m in net.modules()]
    assert [type(m) for m in cudnn_conv.fuse_convolutions(net).modules()] == kinds


# ---- folding, memory format
@pytest.mark.parametrize("name", FAMILIES)
def test_batch_norm_is_folded_where_that_is_exact(name):
    net = trained(name)
    folded = fold_if_exact(net, images())
    left = [m for m in folded.modules() if isinstance(m, ConvNorm) and isinstance(m.norm, Norm)]
    assert not left
    with torch.no_grad():
        assert outputs_close(net(images()), folded(images()))


def test_batch_norm_is_not_folded_where_outputs_would_change():
    net = trained("resnet8")
    norm = net.stages[1][0].conv1.norm
    norm.running_mean.fill_(1e6)  # a large difference costs the plain form digits, and cancels in the folded bias
    norm.bias.copy_(norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt())
    with torch.no_grad():
        assert not outputs_close(net(images()), fold(net)(images()))
    assert fold_if_exact(net, images()) is None
    frozen = Machine(CPU, "fp32").freeze(net, images())
    assert (frozen.folded, frozen.fused, frozen.inference_net) == (False, 0, net)


def test_networks_of_others_are_not_folded():
    pytest.importorskip("torchvision")
    net = models.build("torchvision:resnet18", 10)
    assert fold_if_exact(net, images()) is None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_frozen_teacher_says_whether_it_is_folded_and_how_much_is_fused(precision):
    frozen = Machine(CPU, precision).freeze(trained("resnet8"), images())
    assert frozen.folded is True
    assert frozen.fused in (0, 9), "all convolutions of resnet8, or none without oneDNN"


def test_the_record_of_a_student_says_how_its_teacher_was_computed(tmp_path):
    trial = Trial("kd", *PAIRS[0], tmp_path)
    context = trial.context()
    train([trial.run.teacher], context)
    teacher = load(trial.run.teacher, context.store, context.machine, CLASSES, context.eval_split)
    assert teacher.provenance["folded"] is True
    assert teacher.provenance["fused"] == teacher.net.fused
    assert train([trial.run], replace(context, teacher=teacher))[0].provenance["teacher"] == teacher.provenance


def test_only_exact_float32_on_cuda_is_not_channels_last():
    found = {
        (kind, precision): Machine(torch.device(kind), precision).memory_format == LAST
        for kind in ("cpu", "cuda")
        for precision in ("fp32", "bf16")
    }
    assert found == {("cpu", "fp32"): True, ("cpu", "bf16"): True, ("cuda", "fp32"): False, ("cuda", "bf16"): True}


def test_networks_and_images_take_the_memory_format_of_the_machine(monkeypatch):
    monkeypatch.setattr(Machine, "memory_format", torch.contiguous_format)
    here, seen = Machine(CPU, "fp32"), []
    net = here.prepare_student(trained("resnet8"))
    net.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    frozen = here.freeze(trained("resnet8"), images())
    frozen.inference_net.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    student, teacher = here.forward(net, images()), frozen(images())
    tensors = [*seen, student.maps[0], *net.parameters(), *frozen.net.parameters()]
    assert len(seen) == 2
    assert all(t.is_contiguous() for t in tensors)
    assert outputs_close(student, here.forward(net, images().contiguous()))
    assert outputs_close(teacher, here.forward(frozen.net, images()))


@pytest.mark.parametrize(
    ("precision", "reason", "kernels"), [("bf16", "", True), ("bf16", "no Triton", False), ("fp32", "", False)]
)
def test_facts_say_whether_and_why_our_kernels_do_not_serve_on_cuda(precision, reason, kernels, monkeypatch):
    monkeypatch.setattr(machine.triton_norm, "why_unavailable", lambda: reason)
    facts = Machine(torch.device("cuda"), precision).facts()
    assert facts["kernels"] is kernels
    assert facts.get("why_no_kernels", "") == (
        reason if precision == "bf16" else "they read maps that are channels last"
    )


# ---- on a device
class TestOnADevice:
    pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]

    @pytest.fixture
    def here(self):
        flags = torch.backends.cudnn
        before = flags.benchmark, flags.deterministic
        yield machine.machine("cuda", "bf16")
        flags.benchmark, flags.deterministic = before

    @pytest.mark.parametrize("name", FAMILIES)
    def test_the_fused_teacher_is_as_close_to_float32_as_the_plain_one(self, here, name, monkeypatch):
        x = images(64).to(here.device)
        net = trained(name)
        exact = here.to_device(copy.deepcopy(net))
        fused = here.freeze(copy.deepcopy(net), x.cpu())
        found = fused(x)
        monkeypatch.setattr(cudnn_conv, "can_fuse", lambda: False)
        plain = here.freeze(net, x.cpu())(x)
        with torch.no_grad():
            wanted = to_float32(exact(x))
        for ours, theirs, true in zip(*map(output_tensors, (found, plain, wanted)), strict=True):
            error, bound = ((z.float() - true).abs().max() for z in (ours, theirs))
            assert error <= 2 * bound + 1e-5 * true.abs().max()
        if name in ("resnet20", "ResNet50", "vgg8"):
            assert fused.fused > 0, "cuDNN has an engine for some layer"

    def test_what_lay_in_memory_before_has_no_influence(self, here):
        x = images(256).to(here.device)
        frozen = here.freeze(trained("resnet20"), x.cpu())
        wanted = frozen(x).logits
        for _ in range(3):
            litter = [torch.full((2**n,), float("nan"), device=here.device) for n in range(12, 25)]
            del litter
            assert frozen(x).logits.equal(wanted)

    def test_a_cuda_graph_replays_a_fused_teacher(self, here):
        x = images(256).to(here.device)
        frozen, graph = here.freeze(trained("resnet20"), x.cpu()), torch.cuda.CUDAGraph()
        wanted = frozen(x).logits.clone()
        with torch.cuda.graph(graph):
            found = frozen(x).logits
        graph.replay()
        assert found.equal(wanted)
