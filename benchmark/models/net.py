"""The forward pass that all networks share, and the layers that several families use.

stem -> stages -> neck -> pool -> embed -> head

An architecture file only supplies these parts.  A part may change in place the tensors it has created, but never its
input, which may be a map that a method reads.

N images · K classes · D width of the embedding · C, H, W of a feature map · k kernel of a convolution
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.preactivation import capture, find_last_relus
from methods.contract import Outputs


class Norm(nn.BatchNorm2d):
    """Batch normalisation, then ReLU in place if `act`.  Ioffe & Szegedy, ICML 2015, arXiv:1502.03167.

    A forward pass does not increment `num_batches_tracked`, which is not used at a fixed momentum and would cost a
    kernel launch per layer on CUDA: `count_batches` does, once per epoch.
    """

    def __init__(self, width: int, act: bool = False):
        super().__init__(width)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        y = self._normalise(x)
        return y.relu_() if self.act else y  # in place, because backward of a normalisation reads only its input

    def join(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """ReLU of the normalised `x` plus `shortcut`, all (N, C, H, W): the end of a residual block."""
        return self._normalise(x).add_(shortcut).relu_()

    def _normalise(self, x: Tensor) -> Tensor:
        statistics = self.running_mean, self.running_var
        return F.batch_norm(x, *statistics, self.weight, self.bias, self.training, self.momentum, self.eps)

    def extra_repr(self) -> str:
        """That of BatchNorm2d, and whether a ReLU follows."""
        return f"{super().extra_repr()}, act={self.act}"


class ConvNorm(nn.Module):
    """A padded k x k convolution (same H and W, or half at stride 2), then normalisation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        act: bool = False,
    ):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.norm = Norm(out_channels, act)

    @property
    def act(self) -> bool:
        """Whether a ReLU follows the normalisation."""
        return self.norm.act

    @act.setter
    def act(self, act: bool) -> None:
        self.norm.act = act

    @property
    def last_norm(self) -> Norm:
        """The normalisation that its ReLU, or that of a residual block, follows."""
        return self.norm

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, H / stride, W / stride)."""
        return self.norm(self.conv(x))

    def join(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """The end of a residual block: ReLU of the sum of both, (N, out_channels, H / stride, W / stride)."""
        y = self.conv(x)
        return self.norm.join(y, shortcut) if isinstance(self.norm, Norm) else y.add_(shortcut).relu_()

    def add(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """As `join`, without its ReLU."""
        return self(x).add_(shortcut)

    @torch.no_grad()
    def fold(self) -> None:
        """Fold the normalisation of eval mode into the convolution; the ReLU stays."""
        conv, norm = self.conv, self.norm
        if not isinstance(norm, Norm):
            return  # already folded
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # (C,)
        old = 0.0 if conv.bias is None else conv.bias.double()
        bias = norm.bias.double() + (old - norm.running_mean.double()) * scale  # (C,)
        conv.weight.copy_(conv.weight.double() * scale[:, None, None, None])
        conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=conv.weight.requires_grad)
        self.norm = nn.ReLU(inplace=True) if norm.act else nn.Identity()


class Net(nn.Module):
    """A network whose forward pass returns maps, embedding and logits.

    `embed` is the identity until a method puts a layer there; the classifier `head` reads its output.
    last_relus: the submodules whose ReLU each stage ends in; by default the last layer of each, if it has one.
    """

    preactivations = False  # whether maps before the last ReLU are in the outputs; `preactivation.show` sets it

    def __init__(
        self,
        stem: nn.Module,
        stages: Iterable[nn.Module],
        head: nn.Linear,
        neck: nn.Module | None = None,
        last_relus: Sequence[str] = (),
    ):
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.neck = nn.Identity() if neck is None else neck
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.embed = nn.Identity()
        self.head = head
        self.last_relus = tuple(last_relus) or find_last_relus(self.stages)

    @property
    def last_norms(self) -> list[Norm]:
        """The normalisation before the last ReLU of each stage; none for stages that end in no ReLU."""
        ends = map(self.get_submodule, self.last_relus)
        return [end if isinstance(end, Norm) else end.last_norm for end in ends]

    def forward(self, x: Tensor) -> Outputs:
        """Images (N, 3, H, W), normalised -> maps (stem, stage 1, …, stage n), embedding (N, D), logits (N, K)."""
        return capture(self, self._outputs, x) if self.preactivations else self._outputs(x)

    def _outputs(self, x: Tensor) -> Outputs:
        x = self.stem(x)  # (N, C, H, W)
        maps = [x]
        for stage in self.stages:
            x = stage(x)  # (N, C, H, W)
            maps.append(x)
        embedding = self.embed(self.pool(self.neck(x)).flatten(1))  # (N, D)
        return Outputs(tuple(maps), embedding, self.head(embedding))


def fold(net: nn.Module) -> nn.Module:
    """A copy of `net` in eval mode whose `ConvNorm`s are convolutions with a bias.

    Computed in float64 and stored in the precision of the weights; outputs agree to about 1e-5.  Normalisations outside
    `ConvNorm` (in pre-activation networks and in networks wrapped by `tap`) are not folded.
    """
    net = copy.deepcopy(net).eval()
    for module in net.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    return net


def count_batches(net: nn.Module, batches: int) -> None:
    """Add the number of batches of an epoch to `num_batches_tracked` of each Norm, as torch's own layer would have."""
    for module in net.modules():
        if isinstance(module, Norm):
            module.num_batches_tracked += batches


def he_normal(net: Net) -> Net:
    """Initialise every convolution from N(0, 2 / (k·k·out_channels)), its bias with 0; other layers stay unchanged.

    He et al., ICCV 2015, arXiv:1502.01852, eq. 14 (fan-out).  Draws from torch's global generator.
    """
    for module in net.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return net


def small_head(net: Net) -> Net:
    """Initialise the classifier's weight from N(0, 0.01²) and its bias with 0.  Draws from torch's global generator."""
    nn.init.normal_(net.head.weight, std=0.01)
    nn.init.zeros_(net.head.bias)
    return net
