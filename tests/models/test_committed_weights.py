"""The committed weights of teachers score what their records say, in plain torch operations and fp32.

Nothing of `benchmark/` is used: torchvision reads the images, the network is written out below from its paper
(He, Zhang, Ren & Sun, arXiv:1512.03385).  Needs the official CIFAR-100 in KD_DATA.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torchvision.datasets import CIFAR100

RESULTS = Path(__file__).parents[2] / "results"
MEAN, SD = torch.tensor([0.5071, 0.4867, 0.4408]), torch.tensor([0.2675, 0.2565, 0.2761])  # as RepDistiller has them
RECORDS = [json.loads(path.read_text()) for path in sorted((RESULTS / "teachers").glob("*.json"))]
TEACHERS = [r for r in RECORDS if (r["run"]["dataset"], r["run"]["judge"]) == ("cifar100", "test")]


@cache
def images(root):
    """Normalised test images (10000, 3, 32, 32) and their labels (10000,)."""
    if not (root / CIFAR100.base_folder).is_dir():
        pytest.skip("KD_DATA holds no unpacked CIFAR-100")
    data = CIFAR100(root, train=False)
    x = torch.from_numpy(data.data).float() / 255  # (N, H, W, 3)
    return ((x - MEAN) / SD).permute(0, 3, 1, 2), torch.tensor(data.targets)


def convolved(weights, name, x, stride=1):
    """3 x 3 or 1 x 1 convolution without bias, then batch normalisation by running statistics."""
    kernel = weights[f"{name}.conv.weight"]
    x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
    norm = (weights[f"{name}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *norm, eps=1e-5)


def logits(weights, depth, x):
    """The CIFAR residual network of 6n + 2 layers: (N, 3, 32, 32) -> (N, K)."""
    x = F.relu(convolved(weights, "stem", x))
    for stage in range(3):
        for block in range((depth - 2) // 6):
            name, stride = f"stages.{stage}.{block}", 2 if stage and not block else 1
            y = convolved(weights, f"{name}.conv2", F.relu(convolved(weights, f"{name}.conv1", x, stride)))
            projected = f"{name}.shortcut.conv.weight" in weights
            x = F.relu(y + (convolved(weights, f"{name}.shortcut", x, stride) if projected else x))
    return F.linear(x.mean((2, 3)), weights["head.weight"], weights["head.bias"])


@pytest.mark.parametrize("record", TEACHERS, ids=[r["run"]["student"] for r in TEACHERS])
def test_a_teachers_committed_weights_have_the_recorded_accuracy_and_predictions(record, data_root):
    x, y = images(data_root)
    weights = load_file(RESULTS / "teachers" / f"{record['id']}.safetensors")
    weights = {name: value.float() for name, value in weights.items()}
    depth = int(record["run"]["student"].removeprefix("resnet"))
    with torch.no_grad():
        found = torch.cat([logits(weights, depth, part).argmax(1) for part in x.split(500)])
    accuracy = 100 * (found == y).double().mean().item()
    recorded = 100 * record["score"]["top1"]
    print(f"{accuracy:.2f} here, {recorded:.2f} recorded")
    assert accuracy == pytest.approx(recorded, abs=0.1)  # bf16 moves single images across the border
    with np.load(RESULTS / "predictions" / f"{record['id']}.npz") as kept:
        same = (found.numpy() == kept["top1"]).mean()
    assert same > 0.985, f"{same:.2%} of the predictions are the recorded ones"
