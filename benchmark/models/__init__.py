"""Registry of networks: name -> factory.  Suites, records and the command line refer to a network by its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import nn

from benchmark.errors import BadInput
from benchmark.models import fitnet, mobilenet, preactivation, resnet, shufflenet, tap, vgg, wrn
from benchmark.models.unfilled import Unfilled
from methods.contract import Shape

TORCHVISION = "torchvision:"
NARROW, WIDE = (16, 16, 32, 64), (32, 64, 128, 256)

NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "resnet8": partial(resnet.cifar, 8, NARROW),
    "resnet14": partial(resnet.cifar, 14, NARROW),
    "resnet20": partial(resnet.cifar, 20, NARROW),
    "resnet32": partial(resnet.cifar, 32, NARROW),
    "resnet44": partial(resnet.cifar, 44, NARROW),
    "resnet56": partial(resnet.cifar, 56, NARROW),
    "resnet110": partial(resnet.cifar, 110, NARROW),
    "resnet8x4": partial(resnet.cifar, 8, WIDE),
    "resnet32x4": partial(resnet.cifar, 32, WIDE),
    "wrn_16_1": partial(wrn.wrn, 16, 1),
    "wrn_16_2": partial(wrn.wrn, 16, 2),
    "wrn_16_8": partial(wrn.wrn, 16, 8),
    "wrn_40_1": partial(wrn.wrn, 40, 1),
    "wrn_40_2": partial(wrn.wrn, 40, 2),
    "vgg8": partial(vgg.vgg, (1, 1, 1, 1, 1)),
    "vgg11": partial(vgg.vgg, (1, 1, 2, 2, 2)),
    "vgg13": partial(vgg.vgg, (2, 2, 2, 2, 2)),
    "vgg16": partial(vgg.vgg, (2, 2, 3, 3, 3)),
    "vgg19": partial(vgg.vgg, (2, 2, 4, 4, 4)),
    "ResNet18": partial(resnet.basic, (2, 2, 2, 2)),
    "resnet18x0.5": partial(resnet.basic, (2, 2, 2, 2), width=32),
    "ResNet34": partial(resnet.basic, (3, 4, 6, 3)),
    "ResNet50": partial(resnet.bottleneck, (3, 4, 6, 3)),
    "MobileNetV2": mobilenet.mobilenet_v2,
    "ShuffleV1": shufflenet.v1,
    "ShuffleV2": shufflenet.v2,
    "fitnet1": partial(fitnet.fitnet, 1),
    "fitnet2": partial(fitnet.fitnet, 2),
    "fitnet3": partial(fitnet.fitnet, 3),
    "fitnet4": partial(fitnet.fitnet, 4),
    "maxout": fitnet.teacher,
}


def names() -> list[str]:
    """The names of the networks defined here; others are named `torchvision:NAME`."""
    return list(NETWORKS)


def build(name: str, classes: int, preactivations: bool = False) -> nn.Module:
    """The network `name` with `classes` logits and initial weights drawn from torch's global generator.

    preactivations: whether its outputs have the maps before the last ReLU of each stage.
    Raises BadInput for an unknown network.  Under `torch.device("meta")` its tensors have shapes but no memory.
    """
    if name.startswith(TORCHVISION):
        return tap.torchvision(name.removeprefix(TORCHVISION), classes)
    if name not in NETWORKS:
        raise BadInput(_unknown(name))
    net = NETWORKS[name](classes)
    return preactivation.show(net) if preactivations else net


@cache
def shape(name: str, classes: int, size: tuple[int, int] = (32, 32)) -> Shape:
    """The shapes of the network's outputs for images of `size` (height, width) pixels.

    One image passes through the network on the CPU, without random values for its weights: on the meta device torch
    would first load its compiler, which takes longer.

    Raises BadInput for an unknown network and for images that are too small for it.
    """
    with torch.device("cpu"), torch.no_grad(), torch.random.fork_rng(devices=[]):
        with Unfilled():
            net = build(name, classes, preactivations=True).eval()
        try:
            return Shape.of(net(torch.zeros(1, 3, *size)))
        except RuntimeError as error:
            raise BadInput(
                f"{name} cannot read images of {size[0]} x {size[1]} pixels ({error}): choose another network"
            ) from error


def _unknown(name: str) -> str:
    known = {each.lower(): each for each in NETWORKS}
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {known[close[0]]}? " if close else ""
    return f"unknown network {name!r}: {hint}`python -m benchmark list models` shows all"
