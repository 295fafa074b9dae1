"""Each family against a second implementation of plain functions, with the weights taken in the published order.

This checks what counts and shapes do not: the places of ReLUs, the order of sums and concatenations, and where maps
are taken.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmark.experiment.seeds import scope
from benchmark.models import build
from benchmark.models.net import Norm


class Weights:
    """A network's tensors in order; each method consumes the next ones."""

    def __init__(self, net):
        self.tensors = iter([t.double() if t.is_floating_point() else t for t in net.state_dict().values()])

    def conv(self, x, stride=1, groups=1, bias=False):
        weight = next(self.tensors)
        return F.conv2d(x, weight, next(self.tensors) if bias else None, stride, weight.shape[2] // 2, 1, groups)

    def norm(self, x):
        weight, bias, mean, variance, _ = (next(self.tensors) for _ in range(5))
        return F.batch_norm(x, mean, variance, weight, bias)

    def conv_norm(self, x, *args, **kwargs):
        return self.norm(self.conv(x, *args, **kwargs))


def residual_block(w, x, stride, bottleneck):
    y = F.relu(w.conv_norm(x) if bottleneck else w.conv_norm(x, stride))
    if bottleneck:
        y = F.relu(w.conv_norm(y, stride))
    y = w.conv_norm(y)
    return F.relu(y + (w.conv_norm(x, stride) if stride == 2 or x.shape[1] != y.shape[1] else x))


def resnet(w, x, counts, bottleneck=False):
    maps = [F.relu(w.conv_norm(x))]
    for stage, count in enumerate(counts):
        x = maps[-1]
        for block in range(count):
            x = residual_block(w, x, 2 if block == 0 and stage else 1, bottleneck)
        maps.append(x)
    return maps, maps[-1]


def wrn(w, x, count):
    maps = [w.conv(x)]
    for stage in range(3):
        x = maps[-1]
        for block in range(count):
            stride = 2 if block == 0 and stage else 1
            a = F.relu(w.norm(x))
            y = w.conv(F.relu(w.conv_norm(a, stride)))
            x = y + (x if x.shape[1] == y.shape[1] else w.conv(a, stride))
        maps.append(x)
    return maps, F.relu(w.norm(maps[-1]))


def vgg(w, x, counts):
    maps, size = [], x.shape[2]
    for block, count in enumerate(counts):
        for _ in range(count):
            x = F.relu(w.conv_norm(x, bias=True))
        maps.append(x)
        if block < 3 or (block == 3 and size == 64):
            x = F.max_pool2d(x, 2)
    return maps, x


def mobilenet_v2(w, x):
    maps, x = [], F.relu(w.conv_norm(x, 2))
    maps.append(x)
    table = [(8, 1, 1), (12, 2, 1), (16, 3, 2), (32, 4, 2), (48, 3, 1), (80, 3, 2), (160, 1, 1)]
    for setting, (width, count, first) in enumerate(table):
        for block in range(count):
            stride = first if block == 0 else 1
            y = F.relu(w.conv_norm(x))
            y = w.conv_norm(F.relu(w.conv_norm(y, stride, groups=y.shape[1])))
            x = x + y if stride == 1 and x.shape[1] == width else y
        if setting in (1, 2, 4, 6):
            maps.append(x)
    return maps, F.relu(w.conv_norm(x))


def shuffle(x, groups):
    size = x.shape[1] // groups
    return torch.stack([x[:, (c % groups) * size + c // groups] for c in range(x.shape[1])], 1)


def shufflenet_v1(w, x):
    maps = [F.relu(w.conv_norm(x))]
    for count in (4, 8, 4):
        x = maps[-1]
        for unit in range(count):
            stride, groups = (2 if unit == 0 else 1), (1 if x.shape[1] == 24 else 3)
            y = shuffle(F.relu(w.conv_norm(x, groups=groups)), groups)
            y = w.conv_norm(F.relu(w.conv_norm(y, stride, groups=y.shape[1])), groups=3)
            x = F.relu(y + x if stride == 1 else torch.cat([y, F.avg_pool2d(x, 3, 2, padding=1)], 1))
        maps.append(x)
    return maps, x


def shufflenet_v2(w, x):
    maps = [F.relu(w.conv_norm(x))]
    for count in (3, 7, 3):
        x = maps[-1]
        left = F.relu(w.conv_norm(w.conv_norm(x, 2, groups=x.shape[1])))
        right = F.relu(w.conv_norm(x))
        right = F.relu(w.conv_norm(w.conv_norm(right, 2, groups=right.shape[1])))
        x = shuffle(torch.cat([left, right], 1), 2)
        for _ in range(count):
            left, right = x.chunk(2, 1)
            right = F.relu(w.conv_norm(right))
            right = F.relu(w.conv_norm(w.conv_norm(right, groups=right.shape[1])))
            x = shuffle(torch.cat([left, right], 1), 2)
        maps.append(x)
    return maps, F.relu(w.conv_norm(x))


IMPLEMENTATIONS = {
    "resnet14": lambda w, x: resnet(w, x, (2, 2, 2)),
    "resnet8x4": lambda w, x: resnet(w, x, (1, 1, 1)),
    "ResNet18": lambda w, x: resnet(w, x, (2, 2, 2, 2)),
    "ResNet50": lambda w, x: resnet(w, x, (3, 4, 6, 3), bottleneck=True),
    "wrn_16_1": lambda w, x: wrn(w, x, 2),
    "wrn_16_2": lambda w, x: wrn(w, x, 2),
    "vgg11": lambda w, x: vgg(w, x, (1, 1, 2, 2, 2)),
    "MobileNetV2": mobilenet_v2,
    "ShuffleV1": shufflenet_v1,
    "ShuffleV2": shufflenet_v2,
}


@pytest.mark.parametrize(("name", "size"), [*((name, 32) for name in IMPLEMENTATIONS), ("vgg11", 64)])
def test_a_network_gives_the_outputs_of_its_plain_implementation(name, size):
    with scope("test", name):
        net, x = build(name, 10).double().eval(), torch.randn(2, 3, size, size, dtype=torch.float64)
        for module in net.modules():
            if isinstance(module, Norm):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.2)
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2.0)
    weights = Weights(net)
    with torch.no_grad():
        out = net(x)
        maps, last = IMPLEMENTATIONS[name](weights, x)
        embedding = last.mean((2, 3))
        logits = F.linear(embedding, next(weights.tensors), next(weights.tensors))
    assert not list(weights.tensors)
    for found, expected in zip((*out.maps, out.embedding, out.logits), (*maps, embedding, logits), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
