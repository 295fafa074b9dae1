"""Cases of batch normalisation, computed by the Triton kernels and by definition.

Started as a program under TRITON_INTERPRET=1, it prints what it finds as JSON; `test_triton_norm` reads that.
"""

import json

import torch
import torch.nn.functional as F

from benchmark.acceleration.cuda_kernels import triton_norm
from benchmark.acceleration.cuda_kernels.triton_norm import TritonNorm, TritonNormFunction
from benchmark.experiment import seeds
from benchmark.models.net import Norm

LAST = torch.channels_last
KINDS = {"plain": (False, False), "relu": (True, False), "joined": (False, True)}  # ReLU of its own, shortcut
SHAPES = {  # N, C, H, W
    "several parts, the last tile partial": (5, 16, 9, 9),
    "two blocks of channels": (3, 64, 5, 5),
    "the last block of channels partial": (3, 100, 3, 3),
    "a single row": (1, 16, 1, 1),
}
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CASES = [(shape, kind, "fp32") for shape in SHAPES for kind in KINDS] + [(shape, "joined", "bf16") for shape in SHAPES]


def inputs(shape, dtype, mean=1.0):
    """A map, a shortcut and a gradient, channels last; mean: of the map."""
    stream = seeds.generator("triton", *shape)
    found = [torch.randn(shape, generator=stream) * 2 + shift for shift in (mean, 1.0, 0.5)]
    return [z.to(dtype).to(memory_format=LAST) for z in found]


def a_norm(width, act, kind=TritonNorm):
    norm = kind(width, act)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, width))
        norm.bias.copy_(torch.linspace(-1, 1, width))
        norm.running_mean.fill_(0.3)
    return norm


def by_the_kernels(shape, dtype, act, joined, mean=1.0):
    """Result, gradients and running statistics by name."""
    x, shortcut, dy = inputs(shape, dtype, mean)
    norm, leaf, other = a_norm(shape[1], act), x.requires_grad_(), shortcut.requires_grad_() if joined else None
    y = TritonNormFunction.apply(leaf, other, norm.weight, norm.bias, norm)
    leaves = {"dx": leaf, "dweight": norm.weight, "dbias": norm.bias} | ({"dshortcut": other} if joined else {})
    found = dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), dy), strict=True))
    return found | {"y": y.detach(), "running_mean": norm.running_mean, "running_var": norm.running_var}


def by_definition(shape, dtype, act, joined, mean=1.0):
    """The same in float64, from Algorithm 1 of Ioffe & Szegedy and torch's own update of running statistics."""
    x, shortcut, dy = (z.double() for z in inputs(shape, dtype, mean))
    norm, leaf, other = a_norm(shape[1], act, Norm), x.requires_grad_(), shortcut.requires_grad_() if joined else None
    weight, bias = (p.detach().double().requires_grad_() for p in (norm.weight, norm.bias))
    middle, spread = leaf.mean((0, 2, 3)), leaf.var((0, 2, 3), unbiased=False)
    centre, variance, scale, shift = (p[None, :, None, None] for p in (middle, spread, weight, bias))
    y = (leaf - centre) / (variance + norm.eps).sqrt() * scale + shift
    y = y + other if joined else y
    y = F.relu(y) if act or joined else y
    leaves = {"dx": leaf, "dweight": weight, "dbias": bias} | ({"dshortcut": other} if joined else {})
    found = dict(zip(leaves, torch.autograd.grad(y, list(leaves.values()), dy), strict=True))
    count = x.numel() // shape[1]
    unbiased = spread * count / max(count - 1, 1)
    moved = {"running_mean": 0.9 * 0.3 + 0.1 * middle, "running_var": 0.9 + 0.1 * unbiased}
    return {name: value.detach() for name, value in (found | {"y": y} | moved).items()}


def errors(*case):
    """The largest error of each value, relative to the value's largest entry."""
    ours, wanted = by_the_kernels(*case), by_definition(*case)
    assert ours.keys() == wanted.keys()
    scale = {name: value.abs().max().clamp_min(1e-6) for name, value in wanted.items()}
    return {name: ((ours[name].double() - wanted[name]).abs().max() / scale[name]).item() for name in ours}


def interpret():
    """All that the tests ask of the interpreter, as JSON on standard output."""
    triton_norm.TILE, triton_norm.PARTS = 512, 4  # several tiles in a part, several parts, of small maps
    found = {"/".join(case): errors(SHAPES[case[0]], TYPES[case[2]], *KINDS[case[1]]) for case in CASES}
    found["far"] = errors((5, 16, 9, 9), torch.float32, False, False, 1000.0)
    odd, _, _ = inputs((2, 8, 3, 3), torch.float32)
    odd[0, 1, 0, 0] = float("nan")
    norm = a_norm(8, True)
    y = TritonNormFunction.apply(odd, None, norm.weight, norm.bias, norm)
    found["odd"] = y.isnan().any(3).any(2).any(0).tolist()
    changed = TritonNormFunction.apply(odd.requires_grad_(), None, norm.weight, norm.bias, a_norm(8, False))
    changed.add_(1).sum().backward()
    found["changed"] = list(odd.grad.shape)
    print(json.dumps(found))


if __name__ == "__main__":
    interpret()
