"""Precision, memory format and devices: the only file that knows them.

Master weights and losses are float32 throughout.  In bf16 the networks' layers compute in bfloat16: the student's
under autocast, the frozen teacher's with its weights cast once.  Activations are kept channels last.

N images in a batch · C, H, W of a feature map
"""

from __future__ import annotations

import copy
import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmark import norm, onednn
from benchmark.errors import BadInput
from benchmark.models.net import Net, fold
from benchmark.run import Precision, Recipe
from methods.contract import Outputs

EXACT = 1e-5  # folding batch norm may change a teacher's outputs by this much, relative to their size


class Widened(Sequence):
    """Feature maps in float32, each cast when it is first asked for: methods read few of them."""

    def __init__(self, maps: Sequence[Tensor]):
        self._maps = list(maps)

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, place: int | slice) -> Tensor | tuple[Tensor, ...]:
        if isinstance(place, slice):
            return tuple(self[i] for i in range(*place.indices(len(self))))
        if self._maps[place].dtype != torch.float32:
            self._maps[place] = self._maps[place].float()
        return self._maps[place]

    def detach(self) -> Widened:
        """The same maps cut off from their graph, still to be cast."""
        return Widened([m.detach() for m in self._maps])


@dataclass(frozen=True, slots=True)
class Machine:
    """A device, and the type that networks compute in on it."""

    device: torch.device
    precision: str  # "fp32" or "bf16"

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module here, its convolutions channels last."""
        return module.to(device=self.device, memory_format=torch.channels_last)

    def facts(self) -> dict[str, Any]:
        """What was picked here: the precision, and whether our own kernels serve."""
        return {"precision": self.precision, "kernels": self._quick() and norm.kernels() is not None}

    def _quick(self) -> bool:
        return (self.device.type, self.precision) == ("cpu", "bf16")

    def train(self, net: nn.Module) -> nn.Module:
        """Move a network here to be trained, its normalisations on our kernels where those serve."""
        net = self.place(net)
        return norm.quicken(net) if self._quick() else net

    def look(self, net: nn.Module, x: Tensor) -> Outputs:
        """A forward pass: (N, 3, H, W) float32 -> outputs as methods receive them."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return widen(net(x))

    def freeze(self, net: nn.Module, x: Tensor) -> Frozen:
        """A network that only teaches: batch norm folded where that is exact on the images `x`, weights cast."""
        net = self.place(net.eval()).requires_grad_(False)
        return Frozen(net, self._folded(net, x.to(self.device)))

    @torch.no_grad()
    def _folded(self, net: nn.Module, x: Tensor) -> nn.Module:
        folded = net
        if isinstance(net, Net):
            candidate = self.place(fold(net)).requires_grad_(False)
            if same(net(x), candidate(x)):
                folded = candidate
        if self.precision == "bf16":
            folded = copy.deepcopy(folded).to(torch.bfloat16)
        return onednn.fused(folded) if self.device.type == "cpu" and folded is not net else folded

    def optimiser(self, parameters: Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
        """The recipe's optimiser, SGD in one fused kernel; the lane sets the rate before each step."""
        shared = {"lr": recipe.lr, "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        if recipe.optimiser == "rmsprop":
            return torch.optim.RMSprop(list(parameters), alpha=0.9, eps=1e-6, foreach=True, **shared)
        return torch.optim.SGD(list(parameters), nesterov=recipe.nesterov, fused=True, **shared)


class Frozen(nn.Module):
    """A teacher: `net` as it was trained, for methods to read; a faster copy of it that answers.  No gradients."""

    def __init__(self, net: nn.Module, answering: nn.Module):
        super().__init__()
        self.net, self.answering = net, answering
        self._dtype = next(answering.parameters()).dtype

    @torch.no_grad()
    def forward(self, x: Tensor) -> Outputs:
        return widen(self.answering(x.to(self._dtype)))

    def train(self, mode: bool = True) -> Frozen:
        """Stays in eval mode, whoever asks."""
        return super().train(False)


def widen(outputs: Outputs) -> Outputs:
    """Outputs in float32."""
    return Outputs(Widened(outputs.maps), outputs.embedding.float(), outputs.logits.float())


def detached(outputs: Outputs) -> Outputs:
    """Outputs cut off from the graph that made them."""
    return Outputs(outputs.maps.detach(), outputs.embedding.detach(), outputs.logits.detach())


def same(a: Outputs, b: Outputs) -> bool:
    """Whether two outputs agree to EXACT, relative to the size of each tensor."""
    pairs = zip([*a.maps, a.embedding, a.logits], [*b.maps, b.embedding, b.logits], strict=True)
    return all(bool((p - q).abs().max() <= EXACT * q.abs().max().clamp_min(1)) for p, q in pairs)


def machine(device: str = "auto", precision: Precision = "auto") -> Machine:
    """The machine that the user's words mean here.  Raises BadInput for a device that is not there.

    "auto" picks CUDA where it is present, and bf16 where the processor multiplies in it.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"--device is auto, cpu or cuda, not {device!r}")
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise BadInput("--device cuda, but torch sees no CUDA device here; use --device cpu or mend the driver")
    chosen = torch.device("cuda" if cuda and device != "cpu" else "cpu")
    picked = precision if precision != "auto" else ("bf16" if multiplies_bf16(chosen) else "fp32")
    if chosen.type == "cpu":
        keep_memory()
    if chosen.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = picked == "bf16"
        torch.backends.cudnn.benchmark = picked == "bf16"
        torch.backends.cudnn.deterministic = picked == "fp32"
    return Machine(chosen, picked)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the processor has instructions for bfloat16: AVX512-BF16 or AMX on x86, any GPU since Ampere."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    offers = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(offer() for offer in offers if offer)


def keep_memory() -> None:
    """Ask glibc to keep freed memory: to give each activation back and fault it in again costs a tenth of a step."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, which has habits of its own
        return
    for word in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        mallopt(word, 1 << 30)
