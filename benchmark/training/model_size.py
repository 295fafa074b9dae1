"""Sizes of networks and methods, counted: parameters, frozen state, multiply-accumulates."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark import models
from methods.contract import Method

SHORTCUTS = ("shortcut", "downsample")  # ours, torchvision's


def count_parameters(module: nn.Module) -> int:
    """How many numbers of a module are trained."""
    return sum(p.numel() for p in module.parameters())


def count_layers(net: nn.Module) -> int:
    """How many layers with weights follow one another, as papers count depth: shortcuts beside them left out."""
    kinds = (nn.Conv2d, nn.Linear)
    found = (name for name, module in net.named_modules() if isinstance(module, kinds))
    return sum(not any(word in name for word in SHORTCUTS) for name in found)


def count_macs(net: nn.Module, height: int = 32, width: int = 32) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image; half of what torch counts as FLOPs."""
    twin = copy.deepcopy(net).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(torch.empty(1, 3, height, width, device="meta"))
    return counter.get_total_flops() // 2


def size_fields(
    student: nn.Module, name: str, method: Method, teacher: nn.Module | None, image: tuple[int, int]
) -> dict:
    """The `size` of a record: what is deployed, what a method added to it, what is thrown away after training."""
    classes = student.head.out_features
    with torch.device("meta"):
        plain = count_parameters(models.build(name, classes))
    return {
        "student": count_parameters(student),
        "added": count_parameters(student) - plain,
        "auxiliary": count_parameters(method),
        "buffers": sum(b.numel() for b in method.buffers()),
        "layers": count_layers(student),
        "macs": count_macs(student, *image),
        "teacher": count_parameters(teacher) if teacher else None,
        "teacher_layers": count_layers(teacher) if teacher else None,
        "teacher_macs": count_macs(teacher, *image) if teacher else None,
    }
