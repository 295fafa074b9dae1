"""Each family against a second, literal reading: weights taken one by one in the published order, plain functions.

What counts and shapes cannot see: where a ReLU stands, what is added or concatenated first, where a map is taken.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmark.experiment.seeds import scope
from benchmark.models import build
from benchmark.models.net import Norm


class Weights:
    """A network's tensors, in order; each call takes the next ones."""

    def __init__(self, net):
        self.left = iter([t.double() if t.is_floating_point() else t for t in net.state_dict().values()])

    def conv(self, x, stride=1, groups=1, bias=False):
        weight = next(self.left)
        return F.conv2d(x, weight, next(self.left) if bias else None, stride, weight.shape[2] // 2, 1, groups)

    def norm(self, x):
        weight, bias, mean, variance, _ = (next(self.left) for _ in range(5))
        return F.batch_norm(x, mean, variance, weight, bias)

    def both(self, x, *args, **kwargs):
        return self.norm(self.conv(x, *args, **kwargs))


def residual(w, x, stride, bottleneck):
    y = F.relu(w.both(x) if bottleneck else w.both(x, stride))
    if bottleneck:
        y = F.relu(w.both(y, stride))
    y = w.both(y)
    return F.relu(y + (w.both(x, stride) if stride == 2 or x.shape[1] != y.shape[1] else x))


def resnet(w, x, counts, bottleneck=False):
    maps = [F.relu(w.both(x))]
    for stage, count in enumerate(counts):
        x = maps[-1]
        for block in range(count):
            x = residual(w, x, 2 if block == 0 and stage else 1, bottleneck)
        maps.append(x)
    return maps, maps[-1]


def wrn(w, x, count):
    maps = [w.conv(x)]
    for stage in range(3):
        x = maps[-1]
        for block in range(count):
            stride = 2 if block == 0 and stage else 1
            a = F.relu(w.norm(x))
            y = w.conv(F.relu(w.both(a, stride)))
            x = y + (x if x.shape[1] == y.shape[1] else w.conv(a, stride))
        maps.append(x)
    return maps, F.relu(w.norm(maps[-1]))


def vgg(w, x, counts):
    maps, size = [], x.shape[2]
    for block, count in enumerate(counts):
        for _ in range(count):
            x = F.relu(w.both(x, bias=True))
        maps.append(x)
        if block < 3 or (block == 3 and size == 64):
            x = F.max_pool2d(x, 2)
    return maps, x


def mobilenet_v2(w, x):
    maps, x = [], F.relu(w.both(x, 2))
    maps.append(x)
    table = [(8, 1, 1), (12, 2, 1), (16, 3, 2), (32, 4, 2), (48, 3, 1), (80, 3, 2), (160, 1, 1)]
    for context, (width, count, first) in enumerate(table):
        for block in range(count):
            stride = first if block == 0 else 1
            y = F.relu(w.both(x))
            y = w.both(F.relu(w.both(y, stride, groups=y.shape[1])))
            x = x + y if stride == 1 and x.shape[1] == width else y
        if context in (1, 2, 4, 6):
            maps.append(x)
    return maps, F.relu(w.both(x))


def shuffled(x, groups):
    each = x.shape[1] // groups
    return torch.stack([x[:, (c % groups) * each + c // groups] for c in range(x.shape[1])], 1)


def shufflenet_v1(w, x):
    maps = [F.relu(w.both(x))]
    for count in (4, 8, 4):
        x = maps[-1]
        for unit in range(count):
            stride, groups = (2 if unit == 0 else 1), (1 if x.shape[1] == 24 else 3)
            y = shuffled(F.relu(w.both(x, groups=groups)), groups)
            y = w.both(F.relu(w.both(y, stride, groups=y.shape[1])), groups=3)
            x = F.relu(y + x if stride == 1 else torch.cat([y, F.avg_pool2d(x, 3, 2, padding=1)], 1))
        maps.append(x)
    return maps, x


def shufflenet_v2(w, x):
    maps = [F.relu(w.both(x))]
    for count in (3, 7, 3):
        x = maps[-1]
        left = F.relu(w.both(w.both(x, 2, groups=x.shape[1])))
        right = F.relu(w.both(x))
        right = F.relu(w.both(w.both(right, 2, groups=right.shape[1])))
        x = shuffled(torch.cat([left, right], 1), 2)
        for _ in range(count):
            left, right = x.chunk(2, 1)
            right = F.relu(w.both(right))
            right = F.relu(w.both(w.both(right, groups=right.shape[1])))
            x = shuffled(torch.cat([left, right], 1), 2)
        maps.append(x)
    return maps, F.relu(w.both(x))


READINGS = {
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


@pytest.mark.parametrize(("name", "size"), [*((name, 32) for name in READINGS), ("vgg11", 64)])
def test_a_network_answers_as_its_literal_reading_does(name, size):
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
        maps, last = READINGS[name](weights, x)
        embedding = last.mean((2, 3))
        logits = F.linear(embedding, next(weights.left), next(weights.left))
    assert not list(weights.left)
    for ours, theirs in zip((*out.maps, out.embedding, out.logits), (*maps, embedding, logits), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
