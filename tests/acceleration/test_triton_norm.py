"""The Triton kernels compute batch normalisation, residual sum and ReLU as their definition does.

Without a GPU, Triton's interpreter runs them, in a process of its own: `triton_cases`.
"""

import copy
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from triton_cases import CASES, KINDS, LAST, TYPES, a_norm, inputs

from benchmark import models
from benchmark.acceleration import cuda_kernels
from benchmark.acceleration.cpu_kernels import batch_norm
from benchmark.acceleration.cuda_kernels import triton_norm
from benchmark.acceleration.cuda_kernels.triton_norm import TritonNorm, use_triton_norm
from benchmark.experiment import seeds
from benchmark.models.net import Norm

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("triton_cases.py")
VALUES = ("y", "dx", "dweight", "dbias", "running_mean", "running_var")
BOUND = {"fp32": 5e-6, "bf16": 0.008}  # the interpreter cuts bfloat16 off, a GPU rounds
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton here")


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """What `interpret` printed."""
    cache = str(tmp_path_factory.mktemp("triton"))
    changes = {"TRITON_INTERPRET": "1", "TRITON_CACHE_DIR": cache, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(CHILD)], env=os.environ | changes, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_triton
@pytest.mark.parametrize(("shape", "kind", "dtype"), CASES)
def test_the_kernels_equal_the_definition_in_float64(interpreted, shape, kind, dtype):
    found = interpreted[f"{shape}/{kind}/{dtype}"]
    assert set(found) == {*VALUES, *(["dshortcut"] if kind == "joined" else [])}
    for name, error in found.items():
        assert error <= (BOUND[dtype] if name in ("y", "dx", "dshortcut") else BOUND["fp32"]), name


@needs_triton
def test_the_variance_keeps_its_digits_however_far_the_mean_is_from_zero(interpreted):
    """From a mean of 1000, E[x²] - E[x]² in float32 would be wrong by some percent."""
    assert interpreted["far"]["running_var"] < 1e-5
    assert interpreted["far"]["y"] < 1e-3


@needs_triton
def test_what_is_not_a_number_is_not_hidden_by_the_relu(interpreted):
    assert interpreted["odd"] == [False, True, *[False] * 6]


@needs_triton
def test_a_result_without_relu_may_be_changed_in_place(interpreted):
    assert interpreted["changed"] == [2, 8, 3, 3]


# ---- compiled for a device that is not here
def signature(kernel, kinds, constants):
    """Types of a kernel's arguments, and which of them are multiples of 16, as Triton's launcher would find them."""
    numbers = {"rows": "i32", "part_rows": "i32", "width": "i32", "momentum": "fp32", "eps": "fp32"}
    maps = {"x", "y", "dy", "dx", "shortcut", "dshortcut"}
    types = {
        name: "constexpr" if name in constants else numbers.get(name, kinds if name in maps else "*fp32")
        for name in kernel.arg_names
    }
    even = {(i,): [["tt.divisibility", 16]] for i, (name, kind) in enumerate(types.items()) if kind[0] == "*"}
    return types, even | {(list(types).index("width"),): [["tt.divisibility", 16]]}


@needs_triton
@pytest.mark.parametrize("name", ["measure", "normalise", "measure_gradient", "propagate"])
@pytest.mark.parametrize("kinds", ["*bf16", "*fp32"])
def test_the_kernels_compile_for_a_gpu_without_spilling_registers(name, kinds, monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = getattr(triton_norm.load_kernels(), name)
    blocks = triton_norm.Blocks(64 * 32 * 32, 32)
    constants = {key: blocks.tile[key] for key in ("ROWS", "CHANNELS")}
    constants |= {"PARTS": triton_norm.PARTS, "ACT": True} if name in ("normalise", "propagate") else {}
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    types, even = signature(kernel, kinds, constants)
    source = ASTSource(kernel, signature=types, constexprs=constants, attrs=even)
    options = {"num_warps": triton_norm.WARPS}
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert built.asm["cubin"]
    assert ".local" not in built.asm["ptx"]
    assert "ld.global.v4" in built.asm["ptx"], "16 bytes are read at once"


# ---- where they serve
@given(rows=st.integers(1, 2_000_000), width=st.integers(1, 2048))
def test_blocks_cover_a_matrix_once_and_no_part_is_empty(rows, width):
    blocks = triton_norm.Blocks(rows, width)
    (parts, columns), part, tile = blocks.grid, blocks.matrix["part_rows"], blocks.tile
    assert part % tile["ROWS"] == 0
    assert 1 <= parts <= triton_norm.PARTS
    assert (parts - 1) * part < rows <= parts * part
    assert (columns - 1) * tile["CHANNELS"] < width <= columns * tile["CHANNELS"]


@pytest.mark.parametrize("how", ["on a CPU", "in eval mode"])
def test_the_kernels_step_aside_where_they_do_not_serve(how):
    x, shortcut, _ = inputs((2, 8, 3, 3), torch.bfloat16)
    ours, plain = a_norm(8, True), a_norm(8, True, Norm)
    ours.train(how == "on a CPU"), plain.train(how == "on a CPU")
    assert ours(x).equal(plain(x))
    assert ours.join(x, shortcut).equal(plain.join(x, shortcut))
    assert ours.running_var.equal(plain.running_var)


@pytest.mark.parametrize(
    ("changes", "served"),
    [
        ({}, True),
        ({"dtype": torch.float32}, True),
        ({"dtype": torch.float16}, False),
        ({"is_cuda": False}, False),
        ({"is_contiguous": lambda memory_format: False}, False),
    ],
)
def test_the_kernels_serve_channels_last_maps_on_cuda(changes, served):
    like = {"is_cuda": True, "dtype": torch.bfloat16, "is_contiguous": lambda memory_format: memory_format == LAST}
    assert TritonNorm(8)._served(SimpleNamespace(**(like | changes))) is served
    assert not TritonNorm(8).eval()._served(SimpleNamespace(**like))


def test_networks_on_the_kernels_have_the_same_state_and_can_be_copied():
    net = models.build("resnet8", 10)
    names = list(net.state_dict())
    twin = copy.deepcopy(use_triton_norm(net))
    assert list(twin.state_dict()) == names
    assert {type(m) for m in twin.modules() if isinstance(m, Norm)} == {TritonNorm}


@pytest.fixture
def asked_anew():
    """Forgets, before and after, whether the kernels are available."""
    caches = triton_norm.why_unavailable, triton_norm.load_kernels
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_it_is_said_why_the_kernels_are_not_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert triton_norm.why_unavailable() == "there is no CUDA device"


@pytest.mark.usefixtures("asked_anew")
def test_without_triton_there_are_no_kernels_and_no_failure(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, f"{cuda_kernels.__name__}.triton_kernels", raising=False)
    monkeypatch.delattr(cuda_kernels, "triton_kernels", raising=False)
    assert triton_norm.why_unavailable().startswith("ModuleNotFoundError")


@pytest.mark.usefixtures("asked_anew")
@needs_triton
@pytest.mark.parametrize(("agrees", "reason"), [(True, ""), (False, "their results differ from torch's")])
def test_kernels_that_compute_something_else_are_not_used(agrees, reason, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(triton_norm, "agrees_with_torch", lambda device: agrees)
    assert triton_norm.why_unavailable() == reason


def test_the_trial_finds_a_norm_that_computes_something_else(monkeypatch):
    assert triton_norm.agrees_with_torch(torch.device("cpu")), "torch's own operators serve there"
    monkeypatch.setattr(TritonNorm, "join", lambda self, x, shortcut: Norm.join(self, x, shortcut * 1.1))
    assert not triton_norm.agrees_with_torch(torch.device("cpu"))


# ---- the other families of kernels
@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"])
def test_every_family_can_be_trained_on_the_kernels_of_a_cpu(name):
    if batch_norm.kernels() is None:
        pytest.skip("no C compiler here: the kernels cannot be made")
    net = batch_norm.use_fused_norm(models.build(name, 10).to(memory_format=LAST))
    x = torch.randn(4, 3, 32, 32, generator=seeds.generator("family")).to(memory_format=LAST)
    with torch.autocast("cpu", torch.bfloat16):
        net(x).logits.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


# ---- on a device
on_gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]


@pytest.fixture
def served():
    """The CUDA device, if the kernels serve on it; a test must not pass because they stepped aside."""
    assert triton_norm.why_unavailable() == ""
    return torch.device("cuda")


def trained_once(norm, x, shortcut, dy, joined):
    leaves = [x.clone().requires_grad_(), *([shortcut.clone().requires_grad_()] if joined else [])]
    y = norm.join(*leaves) if joined else norm(*leaves)
    found = [y, *torch.autograd.grad(y, [*leaves, norm.weight, norm.bias], dy.to(y.dtype))]
    return [*(value.detach() for value in found), norm.running_mean.clone(), norm.running_var.clone()]


class TestOnADevice:
    pytestmark = on_gpu

    @pytest.mark.parametrize("dtype", TYPES)
    @pytest.mark.parametrize(("act", "joined"), KINDS.values(), ids=KINDS)
    @pytest.mark.parametrize("shape", [(64, 16, 32, 32), (63, 64, 16, 16), (5, 100, 7, 7), (128, 512, 4, 4)])
    def test_the_kernels_equal_the_plain_form(self, served, shape, act, joined, dtype):
        values = [z.to(served) for z in inputs(shape, TYPES[dtype])]
        ours = trained_once(a_norm(shape[1], act).to(served), *values, joined)
        plain = trained_once(a_norm(shape[1], act, Norm).to(served).double(), *(z.double() for z in values), joined)
        for found, wanted in zip(ours, plain, strict=True):
            bound = 0.005 if found.dtype == torch.bfloat16 else 1e-4
            assert (found.double() - wanted).abs().max() <= bound * wanted.abs().max().clamp_min(1e-6)

    def test_the_kernels_compute_twice_the_same(self, served):
        values = [z.to(served) for z in inputs((64, 32, 16, 16), torch.bfloat16)]
        first, *others = (trained_once(a_norm(32, True).to(served), *values, True) for _ in range(5))
        assert all(a.equal(b) for other in others for a, b in zip(first, other, strict=True))

    def test_a_cuda_graph_replays_the_kernels(self, served):
        x, shortcut, dy = (z.to(served) for z in inputs((64, 32, 16, 16), torch.bfloat16))
        wanted = trained_once(a_norm(32, True).to(served), x, shortcut, dy, True)
        norm, graph = a_norm(32, True).to(served), torch.cuda.CUDAGraph()
        trained_once(norm, x, shortcut, dy, True)  # compiles
        with torch.cuda.graph(graph):
            found = trained_once(norm, x, shortcut, dy, True)
        norm.running_mean.fill_(0.3), norm.running_var.fill_(1)
        graph.replay()
        assert all(a.equal(b) for a, b in zip(found, wanted, strict=True))
