"""What a loss costs: LP beside the regressors of FitNets.  Parameters and multiplications counted, steps timed.

LP (arXiv:1812.06597) claims less computation than hints through a regressor (FitNets, arXiv:1412.6550).  Both are
counted on the methods' own code, on the meta device: matrix products and convolutions by torch, what goes element
by element by the formulas of `lp_elements` and `regressor_elements`.  Divisions, exponentials and single scalars are
left out; so is the cross-entropy, which both share.

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
WIDTHS, BATCHES, SIZE = (16, 64, 256), (16, 64, 256), (8, 8)
FITNETS = {"FitNet 1": ((32, 8, 8), (192, 7, 7)), "FitNet 2 to 4": ((80, 8, 8), (192, 7, 7))}  # guided layer, hint
CLASSES = 10  # of the logits, which neither loss reads
REPEATS, WARM = 7, 2
OWN = "this pair"
Piece = Callable[[], Tensor]


def cases(student: Shape, teacher: Shape, batch: int, at: int = 2) -> list[dict[str, Any]]:
    """The pair itself, FitNets' own layers, and a grid; `at`: the map that hints are taken from."""
    own = (student.maps[at], teacher.maps[at])
    found = [{"name": OWN, "maps": own, "widths": (student.embedding, teacher.embedding), "batch": batch}]
    found += [{"name": name, "maps": maps, "widths": None, "batch": 128} for name, maps in FITNETS.items()]
    for width in WIDTHS:
        for images in BATCHES:
            maps = ((width, *SIZE),) * 2
            found.append({"name": f"width {width}", "maps": maps, "widths": (width, width), "batch": images})
    return found


def count(case: dict[str, Any]) -> dict[str, Any]:
    """Each loss of a case -> parameters, multiplications forward, and products alone forward and backward.

    A regressor that cannot be built says why instead.
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
        full = nn.Sequential(nn.Flatten(), nn.Linear(prod(maps[0]), prod(maps[1]), bias=False))
    found["regressor, fully connected"] = count_regressor(full, maps, m)
    return found


# ---- LP
def count_lp(d_s: int, d_t: int, m: int) -> dict[str, int]:
    """LP between features of widths d_s and d_t."""
    method = LP()
    with torch.device("meta"):
        s, t, batch = features((d_s,), (d_t,), m)
        forward, both = products(lambda: method.loss(s, t, batch)["lp"])
    near = min(method.k, m - 1)
    return {"parameters": 0, "multiplications": forward + lp_elements(m, near, d_s, d_t), "products": both}


def lp_elements(m: int, k: int, d_s: int, d_t: int) -> int:
    """Multiplications of LP's forward pass besides the teacher's m²·d_T products.

    m·d_T squares and m·d_T doublings of the teacher's features, m·k·d_S squared differences of the student's, m·k
    weights a_ij.  With the products: O(m² d_T + m k d_S).
    """
    return 2 * m * d_t + m * k * d_s + m * k


# ---- regressors
def count_regressor(piece: nn.Module, maps: tuple[Map, Map], m: int) -> dict[str, int]:
    """A regressor from a student's map to a teacher's, with the mean squared gap behind it."""
    piece = piece.to("meta")
    x = torch.empty(m, *maps[0], device="meta", requires_grad=True)  # (m, C_S, H_S, W_S)
    goal = torch.empty(m, prod(maps[1]), device="meta")  # (m, C_T·H_T·W_T)
    forward, both = products(lambda: F.mse_loss(piece(x).flatten(1), goal))
    elements = regressor_elements(m, prod(maps[1]), any(isinstance(part, nn.BatchNorm2d) for part in piece.modules()))
    weights = sum(p.numel() for p in piece.parameters() if p.dim() > 1)
    total = sum(p.numel() for p in piece.parameters())
    return {"parameters": total, "weights": weights, "multiplications": forward + elements, "products": both}


def regressor_elements(m: int, outputs: int, normed: bool) -> int:
    """Multiplications of a regressor's forward pass besides its products; outputs: C_T·H_T·W_T.

    For each output the square of the gap, and three more where a batch norm follows: the square for the variance,
    the division by the deviation as a product, the gain.
    """
    return m * outputs * (4 if normed else 1)


def products(piece: Piece) -> tuple[int, int]:
    """Multiplications in matrix products and convolutions: forward, and forward with backward."""
    with FlopCounterMode(display=False) as forward:
        piece()
    with FlopCounterMode(display=False) as both:
        piece().backward()
    return forward.get_total_flops() // 2, both.get_total_flops() // 2


# ---- time
def clock(case: dict[str, Any], device: torch.device) -> dict[str, float]:
    """Milliseconds of each method's loss forward and backward alone, the best of REPEATS; cross-entropy in both."""
    maps, widths, m = case["maps"], case["widths"], case["batch"]
    found = {"lp on maps": quickest(LP(), maps, m, device)}
    if widths:
        found["lp on embeddings"] = quickest(LP(), tuple((width,) for width in widths), m, device)
    own, other = (Shape((shape,), 0, CLASSES) for shape in maps)
    with contextlib.suppress(Unfit):  # `count` has said why
        found["regressor, convolution"] = quickest(Hint(own, other, guided=0, hint=0), maps, m, device)
    return found


def quickest(method: Method, shapes: tuple, m: int, device: torch.device) -> float:
    """The best of REPEATS steps of a method on random features, in ms."""
    with seeds.scope("theory", "price"), torch.device(device):
        s, t, batch = features(*shapes, m)
    walk = steps(method.to(device), s, t, batch)
    plain_loop.time_steps(walk, WARM, device)
    return 1000 * min(plain_loop.time_steps(walk, 1, device) for _ in range(REPEATS))


def steps(method: Method, s: Outputs, t: Outputs, batch: Batch) -> Iterator[None]:
    """A loss and its gradients, one per `next`."""
    trained = [s.maps[0], s.logits, *method.parameters()]
    while True:
        torch.autograd.grad(sum(method.loss(s, t, batch).values()), trained, allow_unused=True)
        yield


def features(own: tuple[int, ...], other: tuple[int, ...], m: int) -> tuple[Outputs, Outputs, Batch]:
    """Random outputs of student and teacher on the default device: one array as map and, flat, as embedding."""
    f_s, f_t = torch.rand(m, *own).requires_grad_(), torch.rand(m, *other)
    z, y = torch.zeros(m, CLASSES), torch.zeros(m, dtype=torch.int64)
    s = Outputs((f_s,), f_s.flatten(1), z.clone().requires_grad_())
    return s, Outputs((f_t,), f_t.flatten(1), z), Batch(z, y, y)
