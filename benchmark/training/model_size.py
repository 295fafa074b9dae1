"""Sizes of networks and methods: parameters, buffers, layers and multiply-accumulates."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark import models
from methods.contract import Method

SHORTCUTS = ("shortcut", "downsample")  # names of shortcut layers here and in torchvision


def count_parameters(module: nn.Module) -> int:
    """Number of parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def count_buffers(method: nn.Module) -> int:
    """Number of values in the buffers of a method and of its parts, except those that they declare as `derived`."""
    count = 0
    for module in method.modules():
        derived = getattr(module, "derived", ())
        count += sum(b.numel() for name, b in module.named_buffers(recurse=False) if name not in derived)
    return count


def count_layers(net: nn.Module) -> int:
    """Depth as papers count it: the number of convolutions and linear layers, without those in shortcuts."""
    weighted = (nn.Conv2d, nn.Linear)
    layers = (name for name, module in net.named_modules() if isinstance(module, weighted))
    return sum(not any(word in name for word in SHORTCUTS) for name in layers)


def count_macs(net: nn.Module, height: int = 32, width: int = 32) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image: half of the FLOPs that torch counts."""
    meta_net = copy.deepcopy(net).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        meta_net(torch.empty(1, 3, height, width, device="meta"))
    return counter.get_total_flops() // 2


def size_fields(
    student: nn.Module, name: str, method: Method, teacher: nn.Module | None, image: tuple[int, int]
) -> dict:
    """The `size` of a record: the student as deployed, what the method added to it, what only training needs.

    image: height and width in pixels.
    """
    classes = student.head.out_features
    with torch.device("meta"):
        before = count_parameters(models.build(name, classes))
    return {
        "student": count_parameters(student),
        "added": count_parameters(student) - before,
        "auxiliary": count_parameters(method),
        "buffers": count_buffers(method),
        "layers": count_layers(student),
        "macs": count_macs(student, *image),
        "teacher": count_parameters(teacher) if teacher else None,
        "teacher_layers": count_layers(teacher) if teacher else None,
        "teacher_macs": count_macs(teacher, *image) if teacher else None,
    }
