"""Wrap networks of other libraries so that they return maps, embedding and logits and have `embed` and `head`.

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

Rule = tuple[tuple[str, ...], str]  # submodules that output the maps; the Linear that is the classifier
RULES: dict[str, Rule] = {
    "resnet": (("relu", "layer1", "layer2", "layer3", "layer4"), "fc"),
    "resnext": (("relu", "layer1", "layer2", "layer3", "layer4"), "fc"),
    "wide_resnet": (("relu", "layer1", "layer2", "layer3", "layer4"), "fc"),
    "densenet": (("features.relu0", *(f"features.denseblock{i}" for i in (1, 2, 3, 4))), "classifier"),
    "shufflenet_v2": (("conv1", "stage2", "stage3", "stage4"), "fc"),
}
Chain = tuple[str, int, str]  # a sequence of layers; how many at its end belong to no stage; the classifier
CHAINS: dict[str, Chain] = {
    "vgg": ("features", 1, "classifier.6"),
    "mobilenet_v2": ("features", 1, "classifier.1"),
    "mobilenet_v3": ("features", 1, "classifier.3"),
    "efficientnet": ("features", 1, "classifier.1"),
    "mnasnet": ("layers", 3, "classifier.1"),
    "convnext": ("features", 0, "classifier.2"),
}


class Tap(nn.Module):
    """A wrapped network: its classifier is moved from `body` to `head`; `taps` name the submodules with its maps."""

    def __init__(self, body: nn.Module, taps: Sequence[str], classifier: str, head: nn.Linear):
        super().__init__()
        self.body = body
        self.taps = tuple(taps)
        self.classifier = classifier  # where the classifier was in the body; now an identity that outputs the embedding
        self.embed = nn.Identity()
        self.head = head

    def forward(self, x: Tensor) -> Outputs:
        """Images (N, 3, H, W) -> the outputs of the taps, embedding (N, D), logits (N, K)."""
        captured = capture_outputs(self.body, (*self.taps, self.classifier), x)
        for name in self.taps:
            if captured[name].dim() != 4:
                size = tuple(captured[name].shape)
                raise BadInput(f"tap {name} outputs {size}, not a map (N, C, H, W): tap another layer")
        embedding = self.embed(captured[self.classifier])  # (N, D)
        return Outputs(tuple(captured[name] for name in self.taps), embedding, self.head(embedding))


def wrap(module: nn.Module, taps: Sequence[str], head: str) -> Tap:
    """Wrap `module`: `taps` names the submodules that output its maps, `head` its classifier, an nn.Linear.

    Changes `module`: its classifier becomes `.head`, and the classifier's input becomes the input of `.embed`.
    Raises BadInput for an unknown submodule or a head that is not linear; forward raises it if a tap outputs no map.
    """
    if not taps:
        raise BadInput(f"{type(module).__name__} needs at least one tap: name the submodules that output its maps")
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


def capture_outputs(body: nn.Module, names: Sequence[str], x: Tensor) -> dict[str, Tensor]:
    """Run `body` on `x` and return the outputs of its submodules `names` (the last output of each).

    The hooks are removed at the end of the call, also after an exception, so that copies of the network have none.
    Raises BadInput if a submodule does not run, outputs no tensor, or a later layer changes its output in place.
    """
    captured: dict[str, tuple[Tensor, int]] = {}
    hooks = [body.get_submodule(name).register_forward_hook(partial(_capture_hook, captured, name)) for name in names]
    try:
        body(x)
    finally:
        for hook in hooks:
            hook.remove()
    for name in names:
        if name not in captured:
            raise BadInput(f"tap {name} is never called by {type(body).__name__}: tap a layer that is called")
        if _version(captured[name][0]) != captured[name][1]:
            raise BadInput(f"tap {name} is overwritten by a later layer (an in-place ReLU?): tap that layer instead")
    return {name: captured[name][0] for name in names}


def torchvision(name: str, classes: int) -> Tap:
    """The torchvision classifier `name`, wrapped, without pretrained weights.  Nothing is downloaded.

    Raises BadInput if torchvision is missing, has no such classifier, or the locations of its maps are not known.
    """
    try:
        models = import_module("torchvision.models")
    except (ImportError, RuntimeError, OSError) as error:
        raise BadInput(
            f"torchvision:{name} needs a torchvision that matches this torch ({error}): pip install torchvision"
        ) from error
    known = models.list_models(module=models)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else "torchvision.models.list_models() shows its names"
        raise BadInput(f"torchvision has no classifier {name!r}: {hint}")
    make = partial(models.get_model, name, weights=None, num_classes=classes)
    taps, head = _find_rule(name, make)
    return wrap(make(), taps, head)


def _find_rule(name: str, make: partial) -> Rule:
    """The taps and the classifier of `name`: by its family's rule, or the last layer of a chain at each resolution."""
    for family, rule in RULES.items():
        if name.startswith(family):
            return rule
    for family, chain in CHAINS.items():
        if name.startswith(family):
            return _chain_rule(make, *chain)
    families = ", ".join(sorted([*RULES, *CHAINS]))
    raise BadInput(
        f"the locations of the maps of torchvision:{name} are not known (known families: {families}): "
        "wrap it in a plug-in with benchmark.models.tap.wrap"
    )


def _chain_rule(make: partial, path: str, after: int, head: str) -> Rule:
    with torch.device("meta"), torch.no_grad():
        probe = make().eval()
        layers = [f"{path}.{name}" for name, _ in probe.get_submodule(path).named_children()]
        layers = layers[: len(layers) - after]
        captured: dict[str, tuple[Tensor, int]] = {}
        for name in layers:
            probe.get_submodule(name).register_forward_hook(partial(_capture_hook, captured, name))
        probe(torch.empty(1, 3, 128, 128))
    last = {captured[name][0].shape[2]: name for name in layers}
    return tuple(last.values()), head


def _capture_hook(
    captured: dict[str, tuple[Tensor, int]], name: str, module: nn.Module, inputs: tuple, output: Any
) -> None:
    """Forward hook: keeps the output and its version."""
    if not isinstance(output, Tensor):
        raise BadInput(f"tap {name} outputs a {type(output).__name__}, not a tensor: tap another layer")
    captured[name] = (output, _version(output))


def _version(x: Tensor) -> int:
    """How often `x` was changed in place; 0 for inference tensors, which do not count changes."""
    return 0 if x.is_inference() else x._version
