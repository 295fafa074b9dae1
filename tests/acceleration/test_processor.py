"""Processors without instructions for bfloat16 compute in float32 by default, and in bfloat16 slowly, with a warning.

Two variables of torch and oneDNN make any x86 processor such a one: oneDNN then refuses to pack bfloat16 weights.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.acceleration import device, machine
from benchmark.acceleration.cpu_kernels import onednn

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
EMULATION = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
x86 = pytest.mark.skipif("AVX2" not in device.instruction_sets(), reason="oneDNN's variable is about x86 with AVX2")
REFUSAL = """
import torch
weight = torch.zeros(16, 16, 3, 3).bfloat16()
torch.ops.mkldnn._reorder_convolution_weight(weight, [1, 1], [1, 1], [1, 1], 1, [2, 16, 8, 8])
"""
TRAIN = """
import copy, torch
from benchmark import models
from benchmark.acceleration import device, machine
net, x = models.build("resnet8", 10), torch.randn(2, 3, 32, 32)
low, full = (machine.machine("cpu", word).freeze(copy.deepcopy(net), x) for word in ("bf16", "fp32"))
assert machine.machine("cpu").precision == "fp32"
assert device.instruction_sets() == ["AVX2"]
a, b = low(x).logits, full(x).logits
assert (a - b).norm() < 0.05 * b.norm(), (a, b)
here = machine.machine("cpu", "bf16")
student = here.prepare_student(models.build("resnet8", 10)).train()
here.forward(student, x).logits.sum().backward()
assert all(p.grad.isfinite().all() for p in student.parameters())
"""


def python(*arguments):
    """A Python process that believes in a processor without bfloat16: code, out, err."""
    environment = os.environ | EMULATION | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@x86
def test_the_emulated_processor_refuses_to_pack_bf16_weights():
    refused = python("-c", REFUSAL)
    assert refused.returncode != 0
    assert "bf16 path needs the cpu support" in refused.stderr


@x86
def test_teacher_and_student_compute_in_bf16_there_and_the_warning_is_printed_once():
    done = python("-c", TRAIN)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(device.EMULATION) == 1


@pytest.mark.parametrize(("found", "usable", "supported"), [
    ({"avx2"}, False, False),
    ({"avx2", "avx512"}, True, False),
    ({"avx2", "avx512", "avx512_bf16"}, True, True),
    ({"avx2", "avx512", "avx512_bf16"}, False, False),
    ({"avx2", "avx512", "amx_tile"}, True, True),
    (set(), False, False),
])  # fmt: skip
def test_bf16_is_supported_where_torch_finds_its_instructions_and_onednn_may_use_them(
    monkeypatch, found, usable, supported
):
    monkeypatch.setattr(device, "reports", lambda word: word in found)
    monkeypatch.setattr(device, "has_bf16_kernels", lambda: usable)
    assert device.supports_bf16(CPU) is supported
    assert ("AVX2" in device.instruction_sets()) is ("avx2" in found)


@pytest.mark.parametrize(
    ("precision", "supported", "lines"), [("bf16", False, 1), ("bf16", True, 0), ("auto", False, 0)]
)
def test_who_asks_for_emulated_bf16_is_warned_once(monkeypatch, capsys, precision, supported, lines):
    monkeypatch.setattr(machine, "supports_bf16", lambda device: supported)
    device.warn_of_emulation.cache_clear()
    for _ in range(3):
        machine.machine("cpu", precision)
    device.warn_of_emulation.cache_clear()
    assert capsys.readouterr().err.count("\n") == lines


def test_an_operator_that_refuses_bf16_is_not_called_where_onednn_has_no_kernels_for_it(monkeypatch):
    from benchmark import models
    from benchmark.models.net import fold

    monkeypatch.setattr(onednn, "has_bf16_kernels", lambda: False)
    net = fold(models.build("resnet8", 10)).to(torch.bfloat16)
    before = [type(module) for module in net.modules()]
    assert [type(module) for module in onednn.fuse_convolutions(net).modules()] == before


@pytest.mark.parametrize("limit", [1 << 40, 32 << 20], ids=["glibc 2.35", "glibc 2.31"])
def test_freed_memory_is_kept_also_where_the_c_library_limits_the_threshold(monkeypatch, limit):
    """Setting one of the two thresholds freezes the other, at 128 KiB: every map would be given back."""
    settings = {}

    def mallopt(word, value):
        if word == device.MMAP_THRESHOLD and value > limit:
            return 0
        settings[word] = value
        return 1

    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: type("C", (), {"mallopt": staticmethod(mallopt)}))
    device.keep_freed_memory()
    assert set(settings) == {device.TRIM_THRESHOLD, device.MMAP_THRESHOLD}
    assert settings[device.MMAP_THRESHOLD] >= 32 << 20
