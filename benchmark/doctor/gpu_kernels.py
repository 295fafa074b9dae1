"""Whether the fused kernels are used on a GPU, or why not: Triton's by students, cuDNN's operators by teachers."""

from __future__ import annotations

import torch

from benchmark.acceleration.cuda_kernels import cudnn_conv
from benchmark.acceleration.frozen_net import FrozenNet
from benchmark.doctor.finding import Finding
from benchmark.doctor.workload import Workload

SLOWER = "training works, in bf16 more slowly"


def triton(work: Workload) -> Finding:
    """Whether students are normalised by the Triton kernels, which serve bf16; in fp32 maps are not channels last."""
    reasons = {each: work.machine(each, exact=False).facts().get("why_no_kernels") for each in ("bf16", "fp32")}
    value = "; ".join(f"{each}: {f'not used, {why}' if why else 'used'}" for each, why in reasons.items())
    if reasons["bf16"]:
        advice = f"{SLOWER}; mend what the reason names; Triton needs a C compiler, see the line `kernels`"
        return Finding("Triton kernels", value, False, advice)
    return Finding("Triton kernels", value)


@torch.no_grad()
def cudnn(work: Workload) -> Finding:
    """Whether a teacher uses cuDNN's fused operators in bf16, on as many images as in training."""
    here = work.machine("bf16", exact=False)
    net = work.context(here).teacher.net
    net(torch.randn(here.teacher_batches * work.batch, 3, work.pixels, work.pixels, device=here.device))
    layers = [module for module in net.modules() if isinstance(module, cudnn_conv.FusedConv) and module.agreed]
    fused = sum(list(layer.agreed.values())[-1] for layer in layers)  # for the last of the shapes
    value = f"bf16: {fused} of {len(layers)} convolutions of a teacher computed with what follows them"
    value += "; fp32: not used, there equal inputs must give equal bits"
    if fused:
        return Finding("cuDNN fusion", value)
    return Finding("cuDNN fusion", f"{value}; {why_not_fused(net)}", False, f"{SLOWER}, on torch's own operators")


def why_not_fused(net: FrozenNet) -> str:
    """Why no convolution of a teacher uses a fused operator."""
    if not net.folded:
        return "batch norm is not folded into the convolutions, which would change the outputs"
    if not cudnn_conv.can_fuse():
        return "torch has no such operators here, or cuDNN is switched off or asked for repeatable kernels"
    return "cuDNN has no such operator for these shapes, or one that is less exact than torch's"
