"""Precision, memory format and devices: nothing above this file knows them.

Master weights and losses are float32 throughout.  In bf16 the networks' layers compute in bfloat16: the student's
under autocast, the frozen teacher's with its weights cast once.  Activations are kept channels last.

What was tried on 2 cores of an AMD EPYC with AVX512-BF16: resnet56 teaches resnet20, batch 64, images per second and
student over those of the plain loop (`speed`); one call differs from the next by 3 %.

    images as tensors, crops in one gather, teacher folded       1.38 in fp32                              kept
    layers in bf16                                               1.38 -> 2.38 to 2.57                      kept
    norm, sum and ReLU in one pass (without: 2.17)               + 10 to 18 %                              kept
    freed memory kept by the C library                           10 % of a step                            kept
    a cohort of seven with one teacher                           3.62 to 3.69                              kept
    teacher on two batches at once                               0 to 2 % of its pass                      kept
    a lane on each thread, not each operation on two             cohort + 4.5 %, alone - 11 %              dropped
    a process on each core · pinned threads · spinning threads   + 3 % · + 1 to 2 % · nothing              dropped
    torch.compile of the student, forward and backward           30 % slower than without                  dropped
    lanes stacked as grouped convolutions                        convolutions 1.3 to 1.8 times as slow     dropped
    second pass over a map from its end, for the caches          norms 11 to 24 % slower                   dropped
    evaluation every k epochs                                    would save 4 %, leaves gaps in the curve  dropped

On a GPU nothing has been measured.  Expected there, and therefore written: whole steps replayed as CUDA graphs
(launching some hundred kernels from Python: 5 ms or more a step; replayed: 2 or less), lanes on streams of their own (a
kernel at batch 64 fills a part of the device), the teacher replayed and asked for four batches at once, evaluation in
large batches.

N images in a batch
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.acceleration import batch_norm, onednn
from benchmark.acceleration.cuda_graphs import Recorder
from benchmark.acceleration.device import configure_cuda, keep_freed_memory, supports_bf16
from benchmark.acceleration.feed import BatchFeed, Forward
from benchmark.acceleration.output_cast import outputs_close, to_float32
from benchmark.errors import BadInput
from benchmark.experiment.run import Precision, Recipe
from benchmark.models.net import Net, fold
from methods.contract import Outputs


@dataclass(frozen=True, slots=True)
class Machine:
    """A device, and the type that networks compute in on it."""

    device: torch.device
    precision: str  # "fp32" or "bf16"
    graphs: bool = False  # whether steps are recorded and replayed

    def to_device(self, module: nn.Module) -> nn.Module:
        """Move a module here, its convolutions channels last."""
        return module.to(device=self.device, memory_format=torch.channels_last)

    def facts(self) -> dict[str, Any]:
        """What was picked here: the precision, whether our own kernels serve, whether steps are replayed."""
        kernels = self._fused_norm() and batch_norm.kernels() is not None
        return {"precision": self.precision, "kernels": kernels, "graphs": self.graphs}

    def _fused_norm(self) -> bool:
        return (self.device.type, self.precision) == ("cpu", "bf16")

    @property
    def eval_batch(self) -> int:
        """Images in a batch that is only judged: as many as keep the device busy."""
        return 2500 if self.device.type == "cuda" else 500

    @property
    def teacher_batches(self) -> int:
        """Batches that a teacher is asked for at once: as many as keep the device busy and its caches whole."""
        return 4 if self.device.type == "cuda" else 2

    def feed(self, look: Forward | None) -> BatchFeed:
        """What brings batches, and the answers of the teacher `look`, to the lanes of a cohort."""
        return BatchFeed(look, self.teacher_batches, self.recorder if self.graphs else None)

    def recorder(self) -> Recorder:
        """For one that works on its own beside others."""
        return Recorder(self.device)

    def free_memory(self) -> None:
        """Give back the memory of what nothing holds any more."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def prepare_student(self, net: nn.Module) -> nn.Module:
        """Move a network here to be trained, its normalisations on our kernels where those serve."""
        net = self.to_device(net)
        return batch_norm.use_fused_norm(net) if self._fused_norm() else net

    def forward(self, net: nn.Module, x: Tensor) -> Outputs:
        """A forward pass: (N, 3, H, W) float32 -> outputs as methods receive them."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return to_float32(net(x))

    def freeze(self, net: nn.Module, x: Tensor) -> FrozenNet:
        """A network that only teaches: batch norm folded where that is exact on the images `x`, weights cast."""
        net = self.to_device(net.eval()).requires_grad_(False)
        return FrozenNet(net, self._folded(net, x.to(self.device)))

    @torch.no_grad()
    def _folded(self, net: nn.Module, x: Tensor) -> nn.Module:
        folded = net
        if isinstance(net, Net):
            candidate = self.to_device(fold(net)).requires_grad_(False)
            if outputs_close(net(x), candidate(x)):
                folded = candidate
        if self.precision == "bf16":
            folded = copy.deepcopy(folded).to(torch.bfloat16)
        return onednn.fuse_convolutions(folded) if self.device.type == "cpu" and folded is not net else folded

    def optimiser(self, parameters: Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
        """The recipe's optimiser, SGD in one fused kernel; `set_lr` before each step."""
        shared = {"lr": recipe.lr, "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        if recipe.optimiser == "rmsprop":
            return torch.optim.RMSprop(list(parameters), alpha=0.9, eps=1e-6, foreach=True, **shared)
        return torch.optim.SGD(list(parameters), nesterov=recipe.nesterov, fused=True, **shared)

    @staticmethod
    def why_not_recorded(recipe: Recipe) -> str:
        """Why steps of this recipe are not recorded; "" if they may be."""
        return "" if recipe.optimiser == "sgd" else f"{recipe.optimiser} reads its rate in Python"

    def set_lr(self, optimiser: torch.optim.Optimizer, rate: float) -> None:
        """The learning rate of the next step: a tensor where steps are replayed, since those read no Python."""
        for group in optimiser.param_groups:
            if not self.graphs:
                group["lr"] = rate
            elif isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = torch.tensor(rate, device=self.device)


class FrozenNet(nn.Module):
    """A teacher: `net` as it was trained, for methods to read; a faster copy of it that answers.  No gradients."""

    def __init__(self, net: nn.Module, inference_net: nn.Module):
        super().__init__()
        self.net, self.inference_net = net, inference_net
        self._dtype = next(inference_net.parameters()).dtype

    @torch.no_grad()
    def forward(self, x: Tensor) -> Outputs:
        return to_float32(self.inference_net(x.to(self._dtype)))

    def train(self, mode: bool = True) -> FrozenNet:
        """Stays in eval mode, whoever asks."""
        return super().train(False)


def machine(device: str = "auto", precision: Precision = "auto", graphs: bool = True) -> Machine:
    """The machine that the user's words mean here.  Raises BadInput for a device that is not there.

    "auto" picks CUDA where it is present, and bf16 where the processor multiplies in it.  graphs: whether steps may
    be recorded and replayed; a CPU has nothing to record them with.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"--device is auto, cpu or cuda, not {device!r}")
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise BadInput("--device cuda, but torch sees no CUDA device here; use --device cpu or mend the driver")
    chosen = torch.device("cuda" if cuda and device != "cpu" else "cpu")
    picked = precision if precision != "auto" else ("bf16" if supports_bf16(chosen) else "fp32")
    if chosen.type == "cpu":
        keep_freed_memory()
    else:
        configure_cuda(exact=picked == "fp32")
    return Machine(chosen, picked, graphs and chosen.type == "cuda")
