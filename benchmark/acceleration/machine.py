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
    threads beside other programs                                the table is in profiling/contention.py

The same in float32, AVX2 emulated (ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 KD_CFLAGS=-march=haswell):
alone 1.32 -> 1.73 to 1.85, cohort 2.1 -> 2.73; on the same processor with AVX-512 1.42 -> 1.66 and 2.4 -> 2.55.

    Winograd's filtering in 3 x 3 convolutions                   teacher - 30 %, student's step - 20 %     kept
    norm, sum and ReLU in one pass                               student's step - 2 to 5 %                 kept
    teacher on one batch at once, not two                        its pass - 12 %                           kept

On a GPU nothing has been measured.  Expected there, and therefore written: whole steps replayed as CUDA graphs
(launching some hundred kernels from Python: 5 ms or more a step; replayed: 2 or less), lanes on streams of their own (a
kernel at batch 64 fills a part of the device), the teacher replayed and asked for four batches at once, evaluation in
large batches; in bf16, norm, sum and ReLU of students fused in Triton, bias, sum and ReLU of teachers in cuDNN.

N images in a batch
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.acceleration.cpu_kernels import batch_norm, winograd
from benchmark.acceleration.cuda_graphs import Recorder, empty_cache
from benchmark.acceleration.cuda_kernels import triton_norm
from benchmark.acceleration.device import (
    configure_cuda,
    keep_freed_memory,
    set_cuda_environment,
    supports_bf16,
    total_memory,
    warn_of_emulation,
)
from benchmark.acceleration.feed import BatchFeed, Forward
from benchmark.acceleration.frozen_net import FrozenNet, fold_if_exact, inference_copy
from benchmark.acceleration.output_cast import to_float32
from benchmark.errors import BadInput
from benchmark.experiment.run import Precision, Recipe
from methods.contract import Outputs


@dataclass(frozen=True, slots=True)
class Machine:
    """A device, and the type that networks compute in on it."""

    device: torch.device
    precision: str  # "fp32" or "bf16"
    graphs: bool = False  # whether steps are recorded and replayed

    def to_device(self, module: nn.Module) -> nn.Module:
        """Move a module here, its convolutions in this machine's memory format."""
        return module.to(device=self.device, memory_format=self.memory_format)

    @property
    def memory_format(self) -> torch.memory_format:
        """Of convolutions and images: channels last, as tensor cores and oneDNN read them; NCHW in float32 on CUDA.

        Float32 without TF32 uses no tensor cores, so NCHW is the safe choice there (not measured).
        """
        exact = (self.device.type, self.precision) == ("cuda", "fp32")
        return torch.contiguous_format if exact else torch.channels_last

    def facts(self) -> dict[str, Any]:
        """What was picked here: the precision, whether our own kernels serve, whether steps are replayed."""
        reason = self._why_no_kernels()
        missing = {"why_no_kernels": reason} if reason else {}
        return {"precision": self.precision, "kernels": not reason, "graphs": self.graphs} | missing

    def _why_no_kernels(self) -> str:
        """Why students are normalised by torch's operators here; "" where our own kernels serve."""
        if self.device.type == "cpu":
            return "" if batch_norm.kernels() is not None else "they could not be compiled"
        served = self.memory_format == torch.channels_last
        return triton_norm.why_unavailable() if served else "they read maps that are channels last"

    @property
    def eval_batch(self) -> int:
        """Images in a batch of an evaluation, if memory allows: as many as keep the device busy."""
        return 2500 if self.device.type == "cuda" else 500

    @property
    def teacher_batches(self) -> int:
        """Batches that a teacher is asked for at once: as many as keep the device busy and its caches whole."""
        if self.device.type == "cuda":
            return 4
        return 2 if self.precision == "bf16" else 1

    def feed(self, forward: Forward | None) -> BatchFeed:
        """Feeds batches, and the outputs of a teacher's `forward` for them, to the lanes of a cohort."""
        return BatchFeed(forward, self.teacher_batches, self.recorder if self.graphs else None)

    def recorder(self) -> Recorder:
        """A new recorder, with a CUDA stream of its own."""
        return Recorder(self.device)

    def free_memory(self) -> None:
        """Return the memory of everything that is no longer used to the device."""
        gc.collect()
        if self.device.type == "cuda":
            empty_cache()

    def prepare_student(self, net: nn.Module) -> nn.Module:
        """Move a network here to be trained, its layers on our kernels where those serve."""
        net = self.to_device(net)
        if self._why_no_kernels():
            return net
        if self.device.type == "cuda":
            return triton_norm.use_triton_norm(net)
        net = batch_norm.use_fused_norm(net)
        return winograd.use_winograd(net) if self.precision == "fp32" else net

    def forward(self, net: nn.Module, x: Tensor) -> Outputs:
        """A forward pass: (N, 3, H, W) float32 -> outputs as methods receive them."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return to_float32(net(x.contiguous(memory_format=self.memory_format)))

    def freeze(self, net: nn.Module, x: Tensor) -> FrozenNet:
        """A network that only teaches: batch norm folded where that is exact on the images `x`, weights cast."""
        folded = fold_if_exact(net.eval().requires_grad_(False), x)
        net, there = self.to_device(net), None if folded is None else self.to_device(folded)
        return FrozenNet(net, inference_copy(net, there, self.precision), folded is not None, self.memory_format)

    def optimiser(self, parameters: Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
        """The recipe's optimiser; SGD runs in one fused kernel.  `set_lr` must be called before each step."""
        shared = {"lr": recipe.lr, "momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
        if recipe.optimiser == "rmsprop":
            shared |= {"alpha": 0.9, "eps": 1e-6, "foreach": True, "capturable": self.capturable}
            return torch.optim.RMSprop(list(parameters), **shared)
        return torch.optim.SGD(list(parameters), nesterov=recipe.nesterov, fused=True, **shared)

    @property
    def capturable(self) -> bool:
        """Whether optimisers keep their step counts on the device and read a learning rate that is a tensor there."""
        return self.device.type == "cuda"

    def load_optimiser(self, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        """Restore an optimiser from its `state_dict`, which may come from another kind of device."""
        own = {"capturable": self.capturable} if "capturable" in optimiser.defaults else {}
        optimiser.load_state_dict(state | {"param_groups": [group | own for group in state["param_groups"]]})

    def set_lr(self, optimiser: torch.optim.Optimizer, rate: float) -> None:
        """Set the learning rate of the next step: a tensor where steps are replayed, which do not run Python.

        A capturable optimiser is given a tensor also where they are not, so that it computes the same in either case.
        """
        for group in optimiser.param_groups:
            if not (self.graphs or group.get("capturable")):
                group["lr"] = rate
            elif isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = torch.tensor(rate, device=self.device)


def machine(device: str = "auto", precision: Precision = "auto", graphs: bool = True) -> Machine:
    """The machine that the user's words mean here.  Raises BadInput for a device that is not there.

    "auto" picks CUDA where it is present, and bf16 where the processor multiplies in it.  graphs: whether steps may
    be recorded and replayed; a CPU has nothing to record them with.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise BadInput(f"--device is auto, cpu or cuda, not {device!r}")
    set_cuda_environment()
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise BadInput("--device cuda, but torch sees no CUDA device here; use --device cpu or mend the driver")
    chosen = torch.device("cuda" if cuda and device != "cpu" else "cpu")
    picked = precision if precision != "auto" else ("bf16" if supports_bf16(chosen) else "fp32")
    if chosen.type == "cpu":
        keep_freed_memory()
        if picked == "bf16" and not supports_bf16(chosen):
            warn_of_emulation()
    else:
        configure_cuda(exact=picked == "fp32", memory=total_memory(chosen))
    return Machine(chosen, picked, graphs and chosen.type == "cuda")
