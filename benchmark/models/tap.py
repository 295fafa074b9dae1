"""Networks from outside, dressed as ours: they show maps, embedding and logits, and have `embed` and `head`.

N images · K classes · D width of the embedding · C, H, W of a feature map
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import BadInput
from methods.contract import Outputs

Rule = tuple[tuple[str, ...], str]  # where the maps are, which Linear is the classifier
RULES: dict[str, Rule] = {
    "resnet": (("relu", "layer1", "layer2", "layer3", "layer4"), "fc"),
    "resnext": (("relu", "layer1", "layer2", "layer3", "layer4"), "fc"),
    "wide_resnet": (("relu", "layer1", "layer2", "layer3", "layer4"), "fc"),
    "densenet": (("features.relu0", *(f"features.denseblock{i}" for i in (1, 2, 3, 4))), "classifier"),
    "shufflenet_v2": (("conv1", "stage2", "stage3", "stage4"), "fc"),
}
Chain = tuple[str, int, str]  # a sequence of layers, how many at its end are no stage, which Linear is the classifier
CHAINS: dict[str, Chain] = {
    "vgg": ("features", 1, "classifier.6"),
    "mobilenet_v2": ("features", 1, "classifier.1"),
    "mobilenet_v3": ("features", 1, "classifier.3"),
    "efficientnet": ("features", 1, "classifier.1"),
    "mnasnet": ("layers", 3, "classifier.1"),
    "convnext": ("features", 0, "classifier.2"),
}


class Tap(nn.Module):
    """An outside network whose classifier has moved from its body to `head`."""

    def __init__(self, body: nn.Module, taps: Sequence[str], socket: str, head: nn.Linear):
        super().__init__()
        self.body = body
        self.taps = tuple(taps)
        self.socket = socket  # the identity in the body that stands where the classifier stood
        self.embed = nn.Identity()
        self.head = head

    def forward(self, x: Tensor) -> Outputs:
        """Images (N, 3, H, W) -> the outputs of the taps, embedding (N, D), logits (N, K)."""
        seen = watch(self.body, (*self.taps, self.socket), x)
        for name in self.taps:
            if seen[name].dim() != 4:
                raise BadInput(f"tap {name} shows {tuple(seen[name].shape)}, not a map (N, C, H, W): tap another layer")
        embedding = self.embed(seen[self.socket])  # (N, D)
        return Outputs(tuple(seen[name] for name in self.taps), embedding, self.head(embedding))


def dress(module: nn.Module, taps: Sequence[str], head: str) -> Tap:
    """`module` as one of ours: `taps` names the submodules that show its maps, `head` its classifier, an nn.Linear.

    Takes `module` over: its classifier moves to `.head`, and what the classifier read is what `.embed` is given.
    Raises BadInput if a name fits nothing or the head is not linear, and from forward if a tap shows no map.
    """
    if not taps:
        raise BadInput(f"{type(module).__name__} needs at least one tap: name the submodules that show its maps")
    known = dict(module.named_modules())
    for name in (*taps, head):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(dict(module.named_children()))}"
            raise BadInput(f"{type(module).__name__} has no submodule {name!r}: {hint}")
    if not isinstance(known[head], nn.Linear):
        kind = type(known[head]).__name__
        raise BadInput(f"{head} of {type(module).__name__} is a {kind}, not an nn.Linear: name its last linear layer")
    module.set_submodule(head, nn.Identity())
    return Tap(module, taps, head, known[head])


def watch(body: nn.Module, names: Sequence[str], x: Tensor) -> dict[str, Tensor]:
    """Run `body` on `x`; what its submodules `names` gave (the last time, if more than once).

    The hooks live as long as the call, so copies, threads and exceptions find a clean network.
    """
    seen: dict[str, tuple[Tensor, int]] = {}
    hooks = [body.get_submodule(name).register_forward_hook(partial(_note, seen, name)) for name in names]
    try:
        body(x)
    finally:
        for hook in hooks:
            hook.remove()
    for name in names:
        if name not in seen:
            raise BadInput(f"tap {name} is never reached by {type(body).__name__}: tap a layer that is")
        if _version(seen[name][0]) != seen[name][1]:
            raise BadInput(f"tap {name} is overwritten by a later layer (an in-place ReLU?): tap that layer instead")
    return {name: seen[name][0] for name in names}


def torchvision(name: str, classes: int) -> Tap:
    """The torchvision classifier `name` without pretrained weights, dressed.  Nothing is downloaded.

    Raises BadInput if torchvision is missing, has no such classifier, or nobody has said where its maps are.
    """
    try:
        models = import_module("torchvision.models")
    except (ImportError, RuntimeError, OSError) as error:
        raise BadInput(
            f"torchvision:{name} needs a torchvision that fits this torch ({error}): pip install torchvision"
        ) from error
    known = models.list_models(module=models)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "torchvision.models.list_models() shows its names"
        raise BadInput(f"torchvision has no classifier {name!r}: {hint}")
    make = partial(models.get_model, name, weights=None, num_classes=classes)
    taps, head = _rule(name, make)
    return dress(make(), taps, head)


def _rule(name: str, make: partial) -> Rule:
    """Where `name` shows its maps: as its family's rule says, or the last layer of a chain at each resolution."""
    for family, rule in RULES.items():
        if name.startswith(family):
            return rule
    for family, chain in CHAINS.items():
        if name.startswith(family):
            return _follow(make, *chain)
    families = ", ".join(sorted([*RULES, *CHAINS]))
    raise BadInput(
        f"torchvision:{name} cannot be tapped, for nobody has said where its maps are (known families: {families}): "
        "dress it in a plug-in with benchmark.models.tap.dress"
    )


def _follow(make: partial, path: str, after: int, head: str) -> Rule:
    with torch.device("meta"), torch.no_grad():
        probe = make().eval()
        layers = [f"{path}.{name}" for name, _ in probe.get_submodule(path).named_children()]
        layers = layers[: len(layers) - after]
        seen: dict[str, tuple[Tensor, int]] = {}
        for name in layers:
            probe.get_submodule(name).register_forward_hook(partial(_note, seen, name))
        probe(torch.empty(1, 3, 128, 128))
    last = {seen[name][0].shape[2]: name for name in layers}
    return tuple(last.values()), head


def _note(seen: dict[str, tuple[Tensor, int]], name: str, module: nn.Module, inputs: tuple, output: Any) -> None:
    """A forward hook."""
    if not isinstance(output, Tensor):
        raise BadInput(f"tap {name} shows a {type(output).__name__}, not a tensor: tap another layer")
    seen[name] = (output, _version(output))


def _version(x: Tensor) -> int:
    """How often `x` was changed in place; inference mode does not count."""
    return 0 if x.is_inference() else x._version
