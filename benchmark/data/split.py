"""Training and test images on the device, and their batches; an epoch is a pure function of (seed, epoch).

The augmentation of an epoch is drawn once on the CPU and copied to the device in one transfer; the device only gathers,
mirrors and normalises.  A test on a CPU therefore sees the same batches as a run on a GPU.

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
    """The random choices of one epoch, drawn on the CPU."""

    order: Tensor  # (N,)  indices of the images in the order of the epoch
    down: Tensor  # (N,)  rows from the top of the padded image to the crop, 0 … 2P
    right: Tensor  # (N,)  columns likewise
    mirror: Tensor  # (N,)  bool

    @classmethod
    def draw(cls, seed: int, epoch: int, count: int, padding: int, flip: bool) -> Augmentation:
        """Draw the choices for `count` images; `down`, `right` and `mirror` are indexed by image, not by position."""
        stream = generator("epoch", seed, epoch)
        order = torch.randperm(count, generator=stream)
        down, right = torch.randint(0, 2 * padding + 1, (2, count), generator=stream)
        mirror = (torch.rand(count, generator=stream) < 0.5) & flip
        return cls(order, down, right, mirror)

    def to(self, device: torch.device) -> Augmentation:
        return Augmentation(*(getattr(self, field).to(device, non_blocking=True) for field in Augmentation.__slots__))


class Split:
    """Images and labels on the device, and iterators over their batches."""

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
        augmentation = Augmentation.draw(seed, epoch, len(self), recipe.crop, recipe.flip).to(self.device)
        for index in augmentation.order.split(recipe.batch):
            images = self._crop(padded, index, augmentation)
            yield Batch(self._normalise(images), self.y[index], index)

    def in_order(self, batch: int = 500) -> Iterator[Batch]:
        """All images in order, without augmentation."""
        for index in torch.arange(len(self), device=self.device).split(batch):
            yield Batch(self._normalise(self.x[index]), self.y[index], index)

    def _padded(self, padding: int, mode: str) -> Tensor:
        """All images with padding, uint8; padded once and cached, because padding every batch would take longer."""
        if padding == 0:
            return self.x
        if not hasattr(self, "_padded_images") or self._padded_images[0] != (padding, mode):
            planes = self.x.permute(0, 3, 1, 2)  # (N, 3, H, W)
            if mode == "zero":
                planes = F.pad(planes, [padding] * 4)  # (N, 3, H + 2P, W + 2P)
            else:
                parts = (F.pad(part.float(), [padding] * 4, mode="reflect").byte() for part in planes.split(1000))
                planes = torch.cat(list(parts))  # (N, 3, H + 2P, W + 2P)
            self._padded_images = ((padding, mode), planes.permute(0, 2, 3, 1).contiguous())  # (N, H + 2P, W + 2P, 3)
        return self._padded_images[1]

    def _crop(self, padded: Tensor, index: Tensor, augmentation: Augmentation) -> Tensor:
        """Crops of the images `index`, mirrored where the augmentation says so: (B, H, W, 3) uint8, in one gather."""
        height, width = self.x.shape[1:3]
        across = torch.arange(width, device=self.device)
        across = torch.where(augmentation.mirror[index, None], width - 1 - across, across)  # (B, W)
        rows = augmentation.down[index, None] + torch.arange(height, device=self.device)  # (B, H)
        columns = augmentation.right[index, None] + across  # (B, W)
        return padded[index[:, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, 3)

    def _normalise(self, images: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 of zero mean and unit variance, channels last in memory."""
        return (images.float() * self.scale + self.shift).permute(0, 3, 1, 2)


def make_splits(data: Dataset, judge: Judge, device: torch.device) -> tuple[Split, Split]:
    """The training images, and the images that the score is computed on."""
    if judge == "test":
        train, judged = (data.train_x, data.train_y), (data.test_x, data.test_y)
    else:
        held_out = holdout_mask(data.train_y, data.name)
        train, judged = ((data.train_x[mask], data.train_y[mask]) for mask in (~held_out, held_out))
    return tuple(Split(x, y, data.statistics, device) for x, y in (train, judged))


def holdout_mask(y: Tensor, name: str) -> Tensor:
    """Mask (N,) bool of the training images that replace the test set: a tenth of each class, fixed by the name."""
    mask = torch.zeros(len(y), dtype=torch.bool)
    order = torch.randperm(len(y), generator=generator("holdout", name))
    for label in y.unique():
        own = order[y[order] == label]
        mask[own[: max(1, round(HOLDOUT_SHARE * len(own)))]] = True
    return mask
