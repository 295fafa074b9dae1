"""Images on the device; an epoch as a pure function of (seed, epoch).

The dice of an epoch are thrown once, on the CPU, and shipped in one go; the device only gathers, mirrors and
normalises.  So a CPU test sees the very batches that a GPU run sees.

N images in the split · B in a batch · H, W pixels · P pixels of padding
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data.datasets import Dataset, Statistics
from benchmark.experiment.run import Judge, Recipe
from benchmark.experiment.seeds import generator
from methods.contract import Batch

HOLDOUT_SHARE = 0.1  # share of each class that the judge "holdout" takes from the training images


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What chance decides about one epoch, on the CPU."""

    order: Tensor  # (N,)  which image comes when
    down: Tensor  # (N,)  rows from the top of the padded image to the crop, 0 … 2P
    right: Tensor  # (N,)  columns likewise
    mirror: Tensor  # (N,)  bool

    @classmethod
    def draw(cls, seed: int, epoch: int, count: int, padding: int, flip: bool) -> Augmentation:
        """The dice of an epoch of `count` images; by image, not by place in the epoch."""
        stream = generator("epoch", seed, epoch)
        order = torch.randperm(count, generator=stream)
        down, right = torch.randint(0, 2 * padding + 1, (2, count), generator=stream)
        mirror = (torch.rand(count, generator=stream) < 0.5) & flip
        return cls(order, down, right, mirror)

    def to(self, device: torch.device) -> Augmentation:
        return Augmentation(*(getattr(self, field).to(device, non_blocking=True) for field in Augmentation.__slots__))


class Split:
    """Images of a data set on the device, ready to be walked."""

    def __init__(self, x: Tensor, y: Tensor, statistics: Statistics, device: torch.device):
        """x: (N, H, W, 3) uint8; y: (N,) int64."""
        self.x, self.y = x.to(device), y.to(device)
        mean, sd = (torch.tensor(part, device=device) * 255 for part in statistics)
        self.scale, self.shift = 1 / sd, -mean / sd  # (3,), (3,)
        self.device = device

    def __len__(self) -> int:
        return len(self.y)

    def epoch(self, seed: int, epoch: int, recipe: Recipe) -> Iterator[Batch]:
        """The batches of one epoch, augmented as the recipe says; the last, partial batch is kept."""
        padded = self._padded(recipe.crop, recipe.pad)
        dice = Augmentation.draw(seed, epoch, len(self), recipe.crop, recipe.flip).to(self.device)
        for index in dice.order.split(recipe.batch):
            images = self._crop(padded, index, dice)
            yield Batch(self._normal(images), self.y[index], index)

    def in_order(self, batch: int = 500) -> Iterator[Batch]:
        """All images in order, without augmentation."""
        for index in torch.arange(len(self), device=self.device).split(batch):
            yield Batch(self._normal(self.x[index]), self.y[index], index)

    def _padded(self, padding: int, how: str) -> Tensor:
        """All images with a border, uint8: padding an epoch's batches one by one would cost more than this once."""
        if padding == 0:
            return self.x
        if not hasattr(self, "_border") or self._border[0] != (padding, how):
            planes = self.x.permute(0, 3, 1, 2)  # (N, 3, H, W)
            if how == "zero":
                planes = F.pad(planes, [padding] * 4)  # (N, 3, H + 2P, W + 2P)
            else:
                parts = (F.pad(part.float(), [padding] * 4, mode="reflect").byte() for part in planes.split(1000))
                planes = torch.cat(list(parts))  # (N, 3, H + 2P, W + 2P)
            self._border = ((padding, how), planes.permute(0, 2, 3, 1).contiguous())  # (N, H + 2P, W + 2P, 3)
        return self._border[1]

    def _crop(self, padded: Tensor, index: Tensor, dice: Augmentation) -> Tensor:
        """Crops of the images `index`, mirrored where the dice say so: (B, H, W, 3) uint8, in one gather."""
        height, width = self.x.shape[1:3]
        across = torch.arange(width, device=self.device)
        across = torch.where(dice.mirror[index, None], width - 1 - across, across)  # (B, W)
        rows = dice.down[index, None] + torch.arange(height, device=self.device)  # (B, H)
        columns = dice.right[index, None] + across  # (B, W)
        return padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, 3)

    def _normal(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 of zero mean and unit spread, channels last in memory."""
        return (images.float() * self.scale + self.shift).permute(0, 3, 1, 2)


def make_splits(data: Dataset, judge: Judge, device: torch.device) -> tuple[Split, Split]:
    """The images to learn from and the images to be judged on."""
    if judge == "test":
        learn, judged = (data.train_x, data.train_y), (data.test_x, data.test_y)
    else:
        held = holdout_mask(data.train_y, data.name)
        learn, judged = ((data.train_x[mask], data.train_y[mask]) for mask in (~held, held))
    return tuple(Split(x, y, data.statistics, device) for x, y in (learn, judged))


def holdout_mask(y: Tensor, name: str) -> Tensor:
    """Which training images judge in place of the test set, (N,) bool: a tenth of each class, fixed by name."""
    held = torch.zeros(len(y), dtype=torch.bool)
    order = torch.randperm(len(y), generator=generator("holdout", name))
    for label in y.unique():
        own = order[y[order] == label]
        held[own[: max(1, round(HOLDOUT_SHARE * len(own)))]] = True
    return held
