"""Cost of a loss: LP compared with the regressors of FitNets, in parameters, multiplications and milliseconds.

LP (arXiv:1812.06597) claims to need less computation than hints through a regressor (FitNets, arXiv:1412.6550).  The
code of both methods runs on the meta device: torch counts matrix products and convolutions there; the formulas of
`lp_elements` and `regressor_elements` count element-wise multiplications.  Not counted: divisions, exponentials,
operations on single scalars, and the cross-entropy, which both methods have.

m images in a batch · d_S, d_T widths · k neighbours · C, H, W of a map
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.experiment import seeds
from benchmark.profiling import plain_loop
from methods.blocks import regressor
from methods.contract import Batch, Method, Outputs, Shape, Unfit
from methods.hint import Hint
from methods.lp import LP

Map = tuple[int, int, int]  # C, H, W
WIDTHS, BATCHES, SIZE = (16, 64, 256), (16, 64, 256), (8, 8)  # of the grid; SIZE: height and width of its maps
FITNETS = {
    "FitNet 1": ((32, 8, 8), (192, 7, 7)),
    "FitNet 2 to 4": ((80, 8, 8), (192, 7, 7)),
}  # guided layer, hint layer
CLASSES = 10  # of the logits, which neither loss reads
REPEATS, WARMUP_STEPS = 7, 2
OWN = "this pair"  # name of the case with the pair's own layers


def cases(student: Shape, teacher: Shape, batch: int, at: int = 2) -> list[dict[str, Any]]:
    """The layers to compare on: those of the pair, those of FitNets, and a grid.

    Each case: name, maps (student's and teacher's, C, H, W), widths of both embeddings or None, batch size.
    at: index of the map that hints are taken from.
    """
    pair_maps = (student.maps[at], teacher.maps[at])
    found = [{"name": OWN, "maps": pair_maps, "widths": (student.embedding, teacher.embedding), "batch": batch}]
    found += [{"name": name, "maps": maps, "widths": None, "batch": 128} for name, maps in FITNETS.items()]
    for width in WIDTHS:
        for images in BATCHES:
            maps = ((width, *SIZE),) * 2
            found.append({"name": f"width {width}", "maps": maps, "widths": (width, width), "batch": images})
    return found


def count(case: dict[str, Any]) -> dict[str, Any]:
    """Counts for each loss of a case.

    parameters; multiplications of the forward pass; products: those of matrix products and convolutions, forward and
    backward.  A regressor that cannot be built has `unfit`, the reason, instead.
    """
    maps, widths, m = case["maps"], case["widths"], case["batch"]
    found = {"lp on maps": count_lp(prod(maps[0]), prod(maps[1]), m)}
    if widths:
        found = {"lp on embeddings": count_lp(*widths, m)} | found
    try:
        found["regressor, convolution"] = count_regressor(regressor(*maps), maps, m)
    except Unfit as reason:
        found["regressor, convolution"] = {"unfit": str(reason)}
    with torch.device("meta"):
        fully_connected = nn.Sequential(nn.Flatten(), nn.Linear(prod(maps[0]), prod(maps[1]), bias=False))
    found["regressor, fully connected"] = count_regressor(fully_connected, maps, m)
    return found


# ---- LP
def count_lp(d_s: int, d_t: int, m: int) -> dict[str, int]:
    """Counts for LP between features of widths d_s and d_t."""
    method = LP()
    with torch.device("meta"):
        s, t, batch = random_outputs((d_s,), (d_t,), m)
        forward, both = count_products(lambda: method.loss(s, t, batch)["lp"])
    neighbours = min(method.k, m - 1)
    return {"parameters": 0, "multiplications": forward + lp_elements(m, neighbours, d_s, d_t), "products": both}


def lp_elements(m: int, k: int, d_s: int, d_t: int) -> int:
    """Element-wise multiplications of LP's forward pass, which come in addition to the m²·d_T of its matrix product.

    m·d_T squares and m·d_T doublings of the teacher's features, m·k·d_S squared differences of the student's, m·k
    products with the weights a_ij.  Together with the matrix product: O(m² d_T + m k d_S).
    """
    return 2 * m * d_t + m * k * d_s + m * k


# ---- regressors
def count_regressor(module: nn.Module, maps: tuple[Map, Map], m: int) -> dict[str, int]:
    """Counts for a regressor from a student's map to a teacher's, with the mean squared error of its output."""
    module = module.to("meta")
    x = torch.empty(m, *maps[0], device="meta", requires_grad=True)  # (m, C_S, H_S, W_S)
    target = torch.empty(m, prod(maps[1]), device="meta")  # (m, C_T·H_T·W_T)
    forward, both = count_products(lambda: F.mse_loss(module(x).flatten(1), target))
    has_norm = any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())
    elements = regressor_elements(m, prod(maps[1]), has_norm)
    weights = sum(p.numel() for p in module.parameters() if p.dim() > 1)
    total = sum(p.numel() for p in module.parameters())
    return {"parameters": total, "weights": weights, "multiplications": forward + elements, "products": both}


def regressor_elements(m: int, outputs: int, has_norm: bool) -> int:
    """Element-wise multiplications of a regressor's forward pass; outputs: C_T·H_T·W_T.

    For each output the square of the error and, with batch norm, three more: the square for the variance, the
    division by the standard deviation (as a product), and the scale.
    """
    return m * outputs * (4 if has_norm else 1)


def count_products(loss: Callable[[], Tensor]) -> tuple[int, int]:
    """Multiplications in matrix products and convolutions: of the forward pass, and of forward and backward pass."""
    with FlopCounterMode(display=False) as forward:
        loss()
    with FlopCounterMode(display=False) as both:
        loss().backward()
    return forward.get_total_flops() // 2, both.get_total_flops() // 2


# ---- time
def time_losses(case: dict[str, Any], device: torch.device) -> dict[str, float]:
    """Milliseconds of forward and backward pass of each loss alone, cross-entropy included, the best of REPEATS."""
    maps, widths, m = case["maps"], case["widths"], case["batch"]
    found = {"lp on maps": best_milliseconds(LP(), maps, m, device)}
    if widths:
        found["lp on embeddings"] = best_milliseconds(LP(), tuple((width,) for width in widths), m, device)
    student, teacher = (Shape((shape,), 0, CLASSES) for shape in maps)
    with contextlib.suppress(Unfit):  # `count` keeps the reason
        found["regressor, convolution"] = best_milliseconds(Hint(student, teacher, guided=0, hint=0), maps, m, device)
    return found


def best_milliseconds(method: Method, shapes: tuple, m: int, device: torch.device) -> float:
    """Milliseconds of a method's loss and gradients on random features, the best of REPEATS."""
    with seeds.scope("theory", "price"), torch.device(device):
        s, t, batch = random_outputs(*shapes, m)
    repeated = steps(method.to(device), s, t, batch)
    plain_loop.time_steps(repeated, WARMUP_STEPS, device)
    return 1000 * min(plain_loop.time_steps(repeated, 1, device) for _ in range(REPEATS))


def steps(method: Method, s: Outputs, t: Outputs, batch: Batch) -> Iterator[None]:
    """The loss and its gradients on the same batch, once for each `next`."""
    trained = [s.maps[0], s.logits, *method.parameters()]
    while True:
        torch.autograd.grad(sum(method.loss(s, t, batch).values()), trained, allow_unused=True)
        yield


def random_outputs(student: tuple[int, ...], teacher: tuple[int, ...], m: int) -> tuple[Outputs, Outputs, Batch]:
    """Random outputs of student and teacher on the default device; the map, flattened, is the embedding too.

    student, teacher: shapes of one image's features.
    """
    f_s, f_t = torch.rand(m, *student).requires_grad_(), torch.rand(m, *teacher)
    z, y = torch.zeros(m, CLASSES), torch.zeros(m, dtype=torch.int64)
    s = Outputs((f_s,), f_s.flatten(1), z.clone().requires_grad_())
    return s, Outputs((f_t,), f_t.flatten(1), z), Batch(z, y, y)
