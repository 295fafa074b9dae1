"""Sizes of networks and methods: parameters, buffers, layers and multiply-accumulates."""

from __future__ import annotations

import copy
from functools import cache
from typing import NamedTuple

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


class Size(NamedTuple):
    """What is counted of a network."""

    parameters: int
    layers: int
    macs: int  # of one image


def size_of(net: nn.Module, image: tuple[int, int]) -> Size:
    """The size of a network for images of height and width in pixels."""
    return Size(count_parameters(net), count_layers(net), count_macs(net, *image))


@cache
def plain_size(name: str, classes: int, image: tuple[int, int]) -> Size:
    """The size of the network `name` as it is built, without a layer that a method may leave in it."""
    with torch.device("meta"):
        return size_of(models.build(name, classes), image)


def size_fields(
    student: nn.Module, name: str, method: Method, teacher: tuple[str, nn.Module] | None, image: tuple[int, int]
) -> dict:
    """The `size` of a record: the student as deployed, what the method added to it, what only training needs.

    name: of the student's network; teacher: name and network; image: height and width in pixels.
    """
    classes, own, taught_by = student.head.out_features, size_of(student, image), None
    if teacher:
        taught_by = plain_size(teacher[0], classes, image)
        if count_parameters(teacher[1]) != taught_by.parameters:
            taught_by = size_of(teacher[1], image)
    return {
        "student": own.parameters,
        "added": own.parameters - plain_size(name, classes, image).parameters,
        "auxiliary": count_parameters(method),
        "buffers": count_buffers(method),
        "layers": own.layers,
        "macs": own.macs,
        "teacher": taught_by and taught_by.parameters,
        "teacher_layers": taught_by and taught_by.layers,
        "teacher_macs": taught_by and taught_by.macs,
    }
